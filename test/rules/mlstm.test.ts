// mLSTM against vectors of its published programs and a loop over its equations: grouped heads, packed, split, step by step.
import { expect } from 'chai';
import fc from 'fast-check';
import * as fw from '../../lib';
import { describeLong } from '../golden/table';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { Draw, type HostInputs, rounded, toDevice } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

describeLong('mlstm');

type Sizes = { B: number; T: number; H: number; HV: number; K: number; V: number };
const SIZES: Sizes = { B: 2, T: 21, H: 2, HV: 4, K: 5, V: 3 };

function drawn({ B, T, H, HV, K, V }: Sizes, seed = 3): HostInputs {
  const draw = new Draw(seed);
  return {
    q: draw.uniform([B, T, H, K], -1, 1),
    k: draw.uniform([B, T, H, K], -1, 1),
    v: draw.uniform([B, T, HV, V], -1, 1),
    inputGate: draw.uniform([B, T, HV], -9, 9),
    forgetGate: draw.uniform([B, T, HV], -3, 6),
    initialState: draw.uniform([B, HV, K, V], -1, 1),
    initialNormalizer: draw.uniform([B, HV, K], -1, 1),
    initialMax: draw.uniform([B, HV], -2, 2),
  };
}

type Tensors = Record<string, fw.Tensor>;

function run({ q, k, v, ...rest }: Tensors, options: object = {}): Required<fw.MlstmResult> {
  const given = { ...rest, outputFinalState: true, ...options } as unknown as fw.MlstmOptions<true>;
  return fw.mlstm(q, k, v, given) as Required<fw.MlstmResult>;
}

/** The equations, token by token, in operators on the tape. */
function loop({ q, k, v, inputGate, forgetGate, ...initial }: Tensors, eps: number): Tensors {
  const [, T, HV] = inputGate.shape;
  const scale = q.shape[3] ** -0.5;
  let [C, n, m] = [initial.initialState, initial.initialNormalizer, initial.initialMax];
  const outputs: fw.Tensor[] = [];
  for (let t = 0; t < T; t++) {
    const at = (x: fw.Tensor): fw.Tensor => x.slice(1, t, t + 1).squeeze(1);
    const [tq, tk] = [at(q), at(k)].map((x) => x.repeatInterleave(HV / x.shape[1], 1));
    const kept = at(forgetGate).logSigmoid().add(m);
    const next = fw.maximum(kept, at(inputGate));
    const [f, i] = [kept.sub(next).exp().unsqueeze(2), at(inputGate).sub(next).exp().unsqueeze(2)];
    m = next;
    n = n.mul(f).add(tk.mul(i));
    C = C.mul(f.unsqueeze(3)).add(tk.mul(i).unsqueeze(3).mul(at(v).unsqueeze(2)));
    const read = tq.mul(scale).unsqueeze(3).mul(C).sum(2);
    const sum = tq.mul(scale).mul(n).sum(2).abs();
    outputs.push(read.div(fw.maximum(sum, m.neg().exp()).add(eps).unsqueeze(2)));
  }
  return { output: fw.stack(outputs, 1), finalState: C, finalNormalizer: n, finalMax: m };
}

/** Results, and the gradients of all inputs under a fixed cotangent of every result. */
function outcome(host: HostInputs, where: Target, f: (inputs: Tensors) => object): Record<string, ArrayLike<number>> {
  return fw.scope(() => {
    const inputs = toDevice(host, where, { requiresGrad: true });
    const results = Object.entries(f(inputs)) as [string, fw.Tensor][];
    const draw = new Draw(5);
    const parts = results.map(([, t]) => {
      const { data, shape } = draw.uniform([...t.shape], -1, 1);
      return t.mul(fw.tensor(data, { shape, device: t.device, dtype: t.dtype })).sum();
    });
    parts.reduce((a, b) => a.add(b)).backward();
    const gradients = Object.entries(inputs).map(([name, t]) => [
      `grad.${name}`,
      Float64Array.from(t.grad!.dataSync()),
    ]);
    const values = results.map(([name, t]) => [name, Float64Array.from(t.dataSync())]);
    return Object.fromEntries([...values, ...gradients]) as Record<string, ArrayLike<number>>;
  });
}

/** Without the sites of allocations, which take longer to record than a small operator does to run. */
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);

const references = new Map<Sizes, Record<string, ArrayLike<number>>>();
const VARIANTS = [
  SIZES,
  { ...SIZES, B: 1, T: 1 },
  { ...SIZES, T: 67, HV: 2, K: 9 },
  { B: 1, T: 40, H: 1, HV: 1, K: 16, V: 48 },
  { B: 1, T: 130, H: 1, HV: 2, K: 9, V: 32 },
];

for (const where of targets()) {
  const { forward, gradient } = toleranceOf(where.dtype);
  describe(`mlstm on ${where.device}, ${where.dtype}`, () => {
    for (const [sizes, mode] of [
      ...VARIANTS.map((each) => [each, 'auto'] as const),
      ...VARIANTS.map((each) => [each, 'recurrent'] as const),
    ]) {
      it(
        `equals its equations at T ${sizes.T}, V ${sizes.V}, with all gradients, ${mode}`,
        unchecked(() => {
          const host = drawn(sizes);
          const exact = { device: 'js', dtype: 'float64' } as const;
          const expected = references.get(sizes) ?? outcome(host, exact, (inputs) => loop(inputs, 0.01));
          references.set(sizes, expected);
          const found = outcome(host, where, (inputs) => run(inputs, { eps: 0.01, mode }));
          const floor =
            1e-3 * Math.max(...Object.entries(expected).map(([name, x]) => (name.startsWith('grad') ? rms(x) : 0)));
          for (const [name, values] of Object.entries(expected)) {
            const isGradient = name.startsWith('grad');
            expectClose(name, found[name], values, isGradient ? gradient : forward, isGradient ? floor : 0);
          }
        }),
      );
    }

    it(
      'split anywhere, then token by token',
      unchecked(() => {
        fc.assert(
          fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(), (T, cut) => {
            fw.noGrad(() =>
              fw.scope(() => {
                const inputs = toDevice(drawn({ ...SIZES, T }, T), where);
                const whole = run(inputs);
                const c = cut % (T + 1);
                const tokens = ['q', 'k', 'v', 'inputGate', 'forgetGate'];
                const part = (from: number, to: number): Tensors =>
                  Object.fromEntries(tokens.map((name) => [name, inputs[name].slice(1, from, to)]));
                const { initialState, initialNormalizer, initialMax } = inputs;
                const first = run({ ...part(0, c), initialState, initialNormalizer, initialMax });
                const [state, normalizer, max] = [first.finalState, first.finalNormalizer, first.finalMax].map((t) =>
                  t.clone(),
                );
                const outputs = [first.output];
                for (let t = c; t < T; t++) {
                  const { q, k, v, inputGate, forgetGate } = part(t, t + 1);
                  const [tq, tk, tv, ti, tf] = [q, k, v, inputGate, forgetGate].map((x) => x.squeeze(1));
                  const options = { inputGate: ti, forgetGate: tf, state, normalizer, max };
                  outputs.push(fw.mlstm.step(tq, tk, tv, options).unsqueeze(1));
                }
                expectClose('output', fw.cat(outputs, 1).dataSync(), whole.output.dataSync(), forward);
                expectClose('state', state.dataSync(), whole.finalState.dataSync(), forward);
                expectClose('normalizer', normalizer.dataSync(), whole.finalNormalizer.dataSync(), forward);
                expectClose('max', max.dataSync(), whole.finalMax.dataSync(), forward);
              }),
            );
          }),
          { numRuns: 10 },
        );
      }),
    );

    it('packed sequences, empty ones among them, do not see each other', () => {
      fw.noGrad(() =>
        fw.scope(() => {
          const cuSeqlens = [0, 0, 5, 6, 6, 17, 17];
          const members = cuSeqlens.length - 1;
          const inputs = toDevice(drawn({ ...SIZES, B: 1, T: 17 }), where);
          const states = toDevice(drawn({ ...SIZES, B: members, T: 1 }), where);
          const { initialState, initialNormalizer, initialMax } = states;
          const packed = run({ ...inputs, initialState, initialNormalizer, initialMax }, { cuSeqlens });
          for (let n = 0; n < members; n++) {
            const own = Object.entries({ ...inputs, initialState, initialNormalizer, initialMax }).map(([name, t]) => [
              name,
              name.startsWith('initial') ? t.slice(0, n, n + 1) : t.slice(1, cuSeqlens[n], cuSeqlens[n + 1]),
            ]);
            const alone = run(Object.fromEntries(own) as Tensors);
            const output = packed.output.slice(1, cuSeqlens[n], cuSeqlens[n + 1]);
            expectClose('output', output.dataSync(), alone.output.dataSync(), forward);
            for (const name of ['finalState', 'finalNormalizer', 'finalMax'] as const) {
              expectClose(name, packed[name].slice(0, n, n + 1).dataSync(), alone[name].dataSync(), forward);
            }
          }
        }),
      );
    });
  });
}

describe('mlstm', () => {
  const ownsThreads = fw.devices().some((d) => d.device === 'cpu' && d.available);
  for (const V of ownsThreads ? [64, 63] : []) {
    it(`has the same gradients on any number of threads, ${V} values of one head`, () => {
      const host = drawn({ B: 1, T: 345, H: 1, HV: 1, K: 60, V });
      const withThreads = (threads: number): Record<string, ArrayLike<number>> => {
        fw.setNumThreads(threads);
        return outcome(host, { device: 'cpu', dtype: 'float32' }, run);
      };
      try {
        const alone = withThreads(1);
        for (const threads of [2, 5]) expect(withThreads(threads), `${threads} threads`).to.deep.equal(alone);
      } finally {
        fw.setNumThreads(2);
      }
    });
  }

  it('takes no tokens, and hands its states on', () => {
    const found = outcome(drawn({ ...SIZES, T: 0 }), { device: 'js', dtype: 'float64' }, run);
    expect(found.output).to.have.length(0);
    for (const name of ['State', 'Normalizer', 'Max']) {
      expect([...Array.from(found[`final${name}`])]).to.deep.equal([
        ...drawn({ ...SIZES, T: 0 })[`initial${name}`].data,
      ]);
    }
  });

  it('takes exponential forget gates, and gates far out of the range of exp', () => {
    const where = { device: 'js', dtype: 'float64' } as const;
    const inputs = toDevice(drawn(SIZES), where);
    const { forgetGate } = inputs;
    const exp = run({ ...inputs, forgetGate: forgetGate.logSigmoid() }, { forgetActivation: 'exp' });
    expectClose('exp', exp.output.dataSync(), run(inputs).output.dataSync(), 1e-12);
    const far = outcome(drawn(SIZES), { device: 'js', dtype: 'float32' }, (given) =>
      run({ ...given, inputGate: given.inputGate.mul(60).sub(200), forgetGate: given.forgetGate.mul(100) }),
    );
    for (const [name, values] of Object.entries(far))
      expect(Array.from(values).every(Number.isFinite), name).to.equal(true);
  });

  it('loses no digits in steps whose running maximum is far from 0', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const [T, K] = [64, 8];
        fw.manualSeed(1);
        const [q, k, v] = [K, K, K].map((width) => fw.randn([1, T, 1, width]));
        const gates = { inputGate: fw.full([1, T, 1], 1000), forgetGate: fw.full([1, T, 1], 3) };
        const whole = fw.mlstm(q, k, v, { ...gates, outputFinalState: true });
        const state = fw.zeros([1, 1, K, K]);
        const states = { state, normalizer: fw.zeros([1, 1, K]), max: fw.zeros([1, 1]) };
        for (let t = 0; t < T; t++) {
          const [tq, tk, tv] = [q, k, v].map((x) => x.select(1, t));
          const [inputGate, forgetGate] = [gates.inputGate, gates.forgetGate].map((x) => x.select(1, t));
          fw.mlstm.step(tq, tk, tv, { inputGate, forgetGate, ...states });
        }
        expectClose('state', state.dataSync(), whole.finalState.dataSync(), 1e-5);
      }),
    ));

  it('keeps states and what it divides by in float32 beside bfloat16', () => {
    const host = rounded(drawn(SIZES));
    for (const { device, dtype } of targets({ bfloat16: true })) {
      if (dtype !== 'bfloat16') continue;
      const exact = run(toDevice(host, { device: 'js', dtype: 'float64' }));
      const found = run(toDevice(host, { device, dtype }));
      expect([found.output.dtype, found.finalState.dtype, found.finalMax.dtype]).to.deep.equal([
        dtype,
        'float32',
        'float32',
      ]);
      expectClose('output', found.output.dataSync(), exact.output.dataSync(), toleranceOf(dtype).forward);
    }
  });

  it('tells which memory it is', () => {
    const seen: fw.MemoryCall[] = [];
    fw.observeMemories(
      (call) => seen.push(call),
      () => run(toDevice(drawn(SIZES), { device: 'js', dtype: 'float64' })),
    );
    expect(seen.map(({ rule, matrix }) => [rule, matrix])).to.deep.equal([['mlstm', 'C']]);
  });

  it('refuses what does not fit', () => {
    const inputs = toDevice(drawn(SIZES), { device: 'js', dtype: 'float32' });
    const { inputGate, initialMax } = inputs;
    const call = (more: object) => (): unknown => run({ ...inputs, ...more });
    expectError('SHAPE', /mlstm: inputGate must be \[2, 21, 4\]/, call({ inputGate: inputGate.slice(2, 1) }));
    expectError('INVALID_ARGUMENT', /mlstm: forgetGate must be a Tensor/, call({ forgetGate: undefined }));
    expectError('SHAPE', /mlstm: initialMax must be \[2, 4\]/, call({ initialMax: initialMax.slice(0, 1) }));
    expectError('INVALID_ARGUMENT', /forgetActivation must be/, call({ forgetActivation: 'tanh' }));
    expectError('INVALID_ARGUMENT', /eps must be/, call({ eps: -1 }));
    expectError('INVALID_ARGUMENT', /unknown option initialMaximum/, call({ initialMaximum: initialMax }));
    expectError('SHAPE', /mlstm: q must be \[B, T, heads, width\]/, call({ q: inputs.q.slice(1, 0, 1).squeeze(1) }));
    const token = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, t.slice(1, 0, 1).squeeze(1)]));
    const { q, k, v } = token;
    const states = { state: inputs.initialState, normalizer: inputs.initialNormalizer, max: initialMax };
    const step = (more: object) => (): unknown =>
      fw.mlstm.step(q, k, v, { inputGate: token.inputGate, forgetGate: token.forgetGate, ...states, ...more });
    expectError('GRAPH', /only inside noGrad/, step({}));
    fw.noGrad(() => {
      expectError('SHAPE', /normalizer must be \[2, 4, 5\]/, step({ normalizer: initialMax }));
      expectError('INVALID_ARGUMENT', /max must be a Tensor/, step({ max: null }));
      const shared = states.state.slice(2, 0, 1).slice(3, 0, 1).squeeze(3).squeeze(2);
      expectError('INVALID_ARGUMENT', /max must be apart from the state/, step({ max: shared }));
    });
  });
});
