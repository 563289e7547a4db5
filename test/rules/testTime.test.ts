// Rules that learn at test time: vectors of the authors' programs, and of every rule that chunks walked at once are tokens read
// one by one, wherever a text stops inside a chunk; packed, empty, in bfloat16, and given what does not fit.
import { expect } from 'chai';
import fc from 'fast-check';
import * as fw from '../../lib';
import { describeLong } from '../golden/table';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { Draw, type HostInputs, rounded, toDevice } from '../support/ruleInputs';
import { expectClose, rms, toleranceOf } from '../support/tolerance';

describeLong('tttLinear', 'tttMlp', 'tttLayer', 'tttLinearFla', 'titans', 'titansMlp', 'titansFla', 'omega', 'miras');

const [B, H] = [2, 2];
type Tensors = Record<string, fw.Tensor>;
type Drawn = (T: number, draw: Draw) => HostInputs;
type AnyRule = ((q: unknown, k: unknown, v: unknown, options: object) => Tensors) & {
  step: (q: unknown, k: unknown, v: unknown, options: object) => fw.Tensor;
};

interface TestTimeCase {
  name: 'tttLinear' | 'tttMlp' | 'tttLinearFla' | 'titans' | 'titansMlp' | 'titansFla' | 'inPlaceTtt';
  options: { miniBatchSize?: number; chunkSize?: number; depth?: number; rate?: number };
  /** Tokens of a chunk. */
  size: number;
  /** Per token, then of every sequence alike. */
  tokens: Drawn;
  shared: HostInputs;
  /** Names of the states of a step and what follows 'initial' and 'final', shapes behind [B, H], and those given at first. */
  states: Record<string, [ending: string, shape: number[], given: boolean]>;
}

const draws = new Draw(2);
const scalars = (T: number, draw: Draw, low: number, high: number) => draw.uniform([B, T, H], low, high);
const qkv = (T: number, draw: Draw, K: number, V: number): HostInputs => ({
  q: draw.uniform([B, T, H, K], -1, 1),
  k: draw.uniform([B, T, H, K], -1, 1),
  v: draw.uniform([B, T, H, V], -1, 1),
});
const norms = (D: number): HostInputs => ({
  normWeight: draws.uniform([H, D], 0.5, 1.5),
  normBias: draws.uniform([H, D], -0.5, 0.5),
});
const ttt: Drawn = (T, draw) => ({ ...qkv(T, draw, 6, 6), learningRate: scalars(T, draw, 0, 0.3) });
const rates = (T: number, draw: Draw, most = 0.1): HostInputs => ({
  theta: scalars(T, draw, 0, most),
  alpha: scalars(T, draw, 0, 0.3),
  eta: scalars(T, draw, 0.3, 1),
});
const layer = (name: string, shape: number[]): TestTimeCase['states'] => ({ [name]: [name, shape, true] });
const waiting = (name: string, shape: number[]): TestTimeCase['states'] => ({
  [`${name}Gradient`]: [`${name}Gradient`, shape, false],
});
const moving = (weight: string, suffix: string, shape: number[]): TestTimeCase['states'] => ({
  [weight]: [weight[0].toUpperCase() + weight.slice(1), shape, true],
  [`momentum${suffix}`]: [`Momentum${suffix}`, shape, true],
  [`anchor${suffix}`]: [`Anchor${suffix}`, shape, false],
});

const tttCase = (size: number, D = 6): TestTimeCase => ({
  name: 'tttLinear',
  options: {},
  size,
  tokens: (T, draw) => ({ ...qkv(T, draw, D, D), learningRate: scalars(T, draw, 0, 1.8 / D) }),
  shared: { ...norms(D), tokenScale: draws.uniform([size], 0.2, 1) },
  states: {
    ...layer('W1', [D, D]),
    ...layer('b1', [1, D]),
    ...(size > 1 && { ...waiting('W1', [D, D]), ...waiting('b1', [1, D]) }),
  },
});
const titansCase = (size: number, K = 6, V = 4): TestTimeCase => ({
  name: 'titans',
  options: { chunkSize: size },
  size,
  tokens: (T, draw) => ({ ...qkv(T, draw, K, V), ...rates(T, draw, 3 / (K * size)) }),
  shared: {},
  states: moving('state', '', [K, V]),
});

const CASES: TestTimeCase[] = [
  tttCase(5),
  tttCase(1),
  {
    name: 'tttMlp',
    options: { miniBatchSize: 4 },
    size: 4,
    tokens: ttt,
    shared: { ...norms(6), tokenScale: draws.uniform([4], 0.2, 1) },
    states: Object.assign(
      {},
      ...[
        ['W1', [6, 7]],
        ['b1', [1, 7]],
        ['W2', [7, 6]],
        ['b2', [1, 6]],
      ].map(([name, shape]) => ({
        ...layer(name as string, shape as number[]),
        ...waiting(name as string, shape as number[]),
      })),
    ) as TestTimeCase['states'],
  },
  {
    name: 'tttLinearFla',
    options: { miniBatchSize: 3 },
    size: 3,
    tokens: ttt,
    shared: norms(6),
    states: {
      state: ['State', [6, 6], true],
      bias: ['Bias', [1, 6], true],
      stateGradient: ['StateGradient', [6, 6], false],
      biasGradient: ['BiasGradient', [1, 6], false],
    },
  },
  titansCase(5),
  {
    name: 'titansMlp',
    options: { chunkSize: 4, depth: 3 },
    size: 4,
    tokens: (T, draw) => ({ ...qkv(T, draw, 6, 3), ...rates(T, draw) }),
    shared: {},
    states: { ...moving('W1', '1', [6, 5]), ...moving('W2', '2', [5, 5]), ...moving('W3', '3', [5, 3]) },
  },
  {
    name: 'titansFla',
    options: { chunkSize: 2 },
    size: 2,
    tokens: (T, draw) => ({ ...qkv(T, draw, 4, 4), ...rates(T, draw) }),
    shared: norms(4),
    states: moving('state', '', [4, 4]),
  },
  {
    name: 'inPlaceTtt',
    options: { chunkSize: 3, rate: 0.5 },
    size: 3,
    tokens: (T, draw) => qkv(T, draw, 5, 4),
    shared: {},
    states: { state: ['State', [5, 4], true], pending: ['Pending', [5, 4], false] },
  },
];

const PER_TOKEN = ['q', 'k', 'v', 'learningRate', 'theta', 'alpha', 'eta'];
const ruleOf = ({ name }: TestTimeCase): AnyRule => fw[name] as unknown as AnyRule;

function drawn(rule: TestTimeCase, T: number, batch = B, seed = 7): HostInputs {
  const draw = new Draw(seed);
  const states = Object.values(rule.states).filter(([, , given]) => given);
  return {
    ...rule.tokens(T, draw),
    ...rule.shared,
    ...Object.fromEntries(
      states.map(([end, shape]) => [`initial${end}`, draw.uniform([batch, H, ...shape], -0.5, 0.5)]),
    ),
  };
}

function run(rule: TestTimeCase, { q, k, v, ...rest }: Tensors, more: object = {}): Tensors {
  return ruleOf(rule)(q, k, v, { ...rest, ...rule.options, outputFinalState: true, ...more });
}

const part = (inputs: Tensors, from: number, to: number): Tensors =>
  Object.fromEntries(
    Object.entries(inputs).map(([name, t]) => [name, PER_TOKEN.includes(name) ? t.slice(1, from, to) : t]),
  );

/** What comes after, under the names of what comes before. */
const carried = (rule: TestTimeCase, results: Tensors): Tensors =>
  Object.fromEntries(Object.values(rule.states).map(([end]) => [`initial${end}`, results[`final${end}`]]));

function outcome(rule: TestTimeCase, T: number, where: Target): Record<string, Float64Array> {
  return fw.scope(() => {
    const inputs = toDevice(drawn(rule, T), where, { requiresGrad: true });
    const results = run(rule, inputs);
    const draw = new Draw(9);
    const parts = Object.values(results).map((t) => {
      const { data, shape } = draw.uniform([...t.shape], -1, 1);
      return t.mul(fw.tensor(data, { shape, ...where })).sum();
    });
    parts.reduce((a, b) => a.add(b)).backward();
    return Object.fromEntries([
      ...Object.entries(results).map(([name, t]) => [name, Float64Array.from(t.dataSync())]),
      ...Object.entries(inputs).map(([name, t]) => [`grad.${name}`, Float64Array.from(t.grad!.dataSync())]),
    ]) as Record<string, Float64Array>;
  });
}

/** Without the sites of allocations, which take longer to record than a small operator does to run. */
const unchecked = (test: () => void) => (): void => fw.withChecks(false, test);
const EXACT: Target = { device: 'js', dtype: 'float64' };

function expectOutcome(rule: TestTimeCase, T: number, where: Target, expected: Record<string, Float64Array>): void {
  const { forward, gradient } = toleranceOf(where.dtype);
  const found = outcome(rule, T, where);
  const floor = 1e-3 * Math.max(...Object.entries(expected).map(([key, x]) => (key.startsWith('grad') ? rms(x) : 0)));
  for (const [key, values] of Object.entries(expected)) {
    const isGradient = key.startsWith('grad');
    expectClose(key, found[key], values, isGradient ? gradient : forward, isGradient ? floor : 0.01);
  }
}

for (const rule of CASES) {
  const { name, size, options } = rule;
  const references = new Map<number, Record<string, Float64Array>>();
  describe(`test-time rules: ${name}, ${size} tokens a chunk`, () => {
    for (const where of targets()) {
      const { forward } = toleranceOf(where.dtype);
      // The last has more chunks than are computed without a checkpoint.
      if (where.dtype === 'float32') {
        for (const T of [1, 2 * size, 18 * size + 1]) {
          it(
            `T ${T} on ${where.device}: results and all gradients`,
            unchecked(() => {
              const expected = references.get(T) ?? outcome(rule, T, EXACT);
              references.set(T, expected);
              expectOutcome(rule, T, where, expected);
            }),
          );
        }
      }

      it(
        `stops anywhere and goes on, in pieces and token by token, on ${where.device}, ${where.dtype}`,
        unchecked(() => {
          fc.assert(
            fc.property(fc.integer({ min: 1, max: 13 }), fc.nat(), fc.nat(), (T, ...cuts) => {
              fw.noGrad(() =>
                fw.scope(() => {
                  const inputs = toDevice(drawn(rule, T, B, T), where);
                  const whole = run(rule, inputs);
                  const [first, second] = cuts.map((cut) => cut % (T + 1)).sort((a, b) => a - b);
                  const begin = run(rule, part(inputs, 0, first));
                  const middle = run(
                    rule,
                    { ...part(inputs, first, second), ...carried(rule, begin) },
                    { position: first % size },
                  );
                  const after = carried(rule, middle);
                  const state = Object.fromEntries(
                    Object.entries(rule.states).map(([key, [end]]) => [key, after[`initial${end}`].clone()]),
                  );
                  const pieces = [begin.output, middle.output];
                  for (let t = second; t < T; t++) {
                    const all = Object.entries(part(inputs, t, t + 1)).filter(([key]) => !key.startsWith('initial'));
                    const { q, k, v, ...rest } = Object.fromEntries<fw.Tensor>(
                      all.map(([key, x]) => [key, PER_TOKEN.includes(key) ? x.squeeze(1) : x]),
                    );
                    pieces.push(
                      ruleOf(rule)
                        .step(q, k, v, { ...rest, ...options, state, position: t % size })
                        .unsqueeze(1),
                    );
                  }
                  expectClose('output', fw.cat(pieces, 1).dataSync(), whole.output.dataSync(), 10 * forward);
                  for (const [key, [end]] of Object.entries(rule.states)) {
                    expectClose(key, state[key].dataSync(), whole[`final${end}`].dataSync(), 10 * forward, 0.01);
                  }
                }),
              );
            }),
            { numRuns: 12 },
          );
        }),
      );
    }

    it(
      'packed as each alone, each from its own place in a chunk',
      unchecked(() => {
        fw.noGrad(() =>
          fw.scope(() => {
            const cuSeqlens = [0, 0, 6, 7, 7, 19];
            const members = cuSeqlens.length - 1;
            const tokens = part(toDevice(drawn(rule, 19), EXACT), 0, 19);
            const inputs = Object.fromEntries(
              Object.entries(tokens)
                .filter(([key]) => !key.startsWith('initial'))
                .map(([key, t]) => [key, PER_TOKEN.includes(key) ? t.slice(0, 0, 1) : t]),
            );
            const draw = new Draw(4);
            const initial = toDevice(
              Object.fromEntries(
                Object.values(rule.states).map(([end, shape]) => [
                  `initial${end}`,
                  draw.uniform([members, H, ...shape], -0.5, 0.5),
                ]),
              ),
              EXACT,
            );
            const position = Array.from({ length: members }, (_, n) => (3 * n) % size);
            const packed = run(rule, { ...inputs, ...initial }, { cuSeqlens, position });
            for (let n = 0; n < members; n++) {
              const [from, to] = [cuSeqlens[n], cuSeqlens[n + 1]];
              const own = Object.fromEntries(Object.entries(initial).map(([key, t]) => [key, t.slice(0, n, n + 1)]));
              const alone = run(rule, { ...part(inputs, from, to), ...own }, { position: position[n] });
              expectClose('output', packed.output.slice(1, from, to).dataSync(), alone.output.dataSync(), 1e-12);
              for (const [end] of Object.values(rule.states)) {
                expectClose(
                  end,
                  packed[`final${end}`].slice(0, n, n + 1).dataSync(),
                  alone[`final${end}`].dataSync(),
                  1e-12,
                );
              }
            }
            if (size === 1) return;
            expectError('INVALID_ARGUMENT', /position must be 5 numbers/, () =>
              run(rule, { ...inputs, ...initial }, { cuSeqlens, position: [0] }),
            );
          }),
        );
      }),
    );

    it(
      'takes T = 0, where every leaf has a gradient and states stay',
      unchecked(() => {
        const found = outcome(rule, 0, EXACT);
        expect(found.output).to.have.length(0);
        for (const [end, , given] of Object.values(rule.states)) {
          if (given) expectClose(end, found[`final${end}`], drawn(rule, 0)[`initial${end}`].data, 1e-12);
        }
      }),
    );

    it(
      'computes in float32 beside bfloat16',
      unchecked(() => {
        const host = rounded(drawn(rule, 9));
        const exact = run(rule, toDevice(host, EXACT));
        for (const { device, dtype } of targets({ bfloat16: true })) {
          if (dtype !== 'bfloat16') continue;
          const found = run(rule, toDevice(host, { device, dtype }));
          expect(found.output.dtype).to.equal(dtype);
          expectClose('output', found.output.dataSync(), exact.output.dataSync(), toleranceOf(dtype).forward);
          const [[end]] = Object.values(rule.states);
          expect(found[`final${end}`].dtype).to.equal('float32');
        }
      }),
    );

    it('refuses what does not fit', () => {
      const inputs = toDevice(drawn(rule, 4), EXACT);
      const [[end]] = Object.values(rule.states);
      const call = (more: object) => (): unknown => run(rule, { ...inputs, ...more });
      expectError('SHAPE', new RegExp(`${name}: k must be \\[2, 4, 2, \\d\\]`), call({ k: inputs.k.slice(1, 1) }));
      expectError(
        'SHAPE',
        new RegExp(`${name}: initial${end} must be`),
        call({ [`initial${end}`]: inputs[`initial${end}`].slice(0, 1) }),
      );
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: position must be`), call({ position: size }));
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: position must be`), call({ position: 'first' }));
      expectError('INVALID_ARGUMENT', /(chunkSize|miniBatchSize) must be/, () =>
        run(rule, inputs, { [name.startsWith('ttt') ? 'miniBatchSize' : 'chunkSize']: 0 }),
      );
      expectError('INVALID_ARGUMENT', /unknown option learningrate/, call({ learningrate: inputs.q }));
      const step = (more: object): unknown => {
        const states = Object.entries(rule.states).map(([key, [, shape]]) => [key, fw.zeros([B, H, ...shape], EXACT)]);
        const token = Object.entries(part(inputs, 0, 1)).filter(([key]) => !key.startsWith('initial'));
        const { q, k, v, ...rest } = Object.fromEntries<fw.Tensor>(
          token.map(([key, t]) => [key, PER_TOKEN.includes(key) ? t.squeeze(1) : t]),
        );
        return ruleOf(rule).step(q, k, v, {
          ...rest,
          ...options,
          state: Object.fromEntries(states) as Tensors,
          ...more,
        });
      };
      expectError('GRAPH', /only inside noGrad/, () => step({ position: 0 }));
      if (size === 1) return;
      const begun = run(rule, part(inputs, 0, 1));
      const lost = `${name}: position must be the number of tokens of the chunk before`;
      expectError('INVALID_ARGUMENT', new RegExp(lost), call(carried(rule, begun)));
      expectError('INVALID_ARGUMENT', new RegExp(lost.replace(':', '.step:')), () => fw.noGrad(() => step({})));
    });
  });
}

/** What the kernel of whole chunks meets at other sizes: vectors that end anywhere, wide chunks, narrow states. */
const SIZES: [TestTimeCase, T: number][] = [
  [tttCase(16, 24), 65],
  [tttCase(3, 33), 33],
  [tttCase(16, 64), 200],
  [tttCase(33, 128), 67],
  [titansCase(1, 1, 1), 2],
  [titansCase(16, 33, 17), 65],
  [titansCase(64, 64, 64), 200],
  [titansCase(5, 130, 24), 33],
  [titansCase(33, 8, 128), 67],
];

describe('test-time rules at other sizes', () => {
  for (const [rule, T] of SIZES) {
    const [width] = Object.values(rule.states)[0][1];
    let reference: Record<string, Float64Array> | undefined;
    for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
      it(
        `${rule.name}, ${width} wide, ${rule.size} tokens a chunk, T ${T} on ${where.device}`,
        unchecked(() => {
          reference ??= outcome(rule, T, EXACT);
          expectOutcome(rule, T, where, reference);
        }),
      ).timeout(60_000);
    }
  }
});

describe('test-time rules', () => {
  it(
    'forget and carry on with factors that are 0 or 1, with their gradients',
    unchecked(() => {
      const { titans } = fw;
      const rule = CASES.find((one) => one.name === 'titans')!;
      const { q, k, v, theta, initialState, initialMomentum } = toDevice(drawn(rule, 12), EXACT);
      const factors = (values: number[]): fw.Tensor =>
        fw.tensor(
          Array.from({ length: B * 12 * H }, (_, i) => values[i % values.length]),
          { shape: [B, 12, H], ...EXACT },
        );
      const [alpha, eta] = [factors([0, 1, 0.5, 0, 1]), factors([1, 0, 0.25])];
      const states = { initialState, initialMomentum, outputFinalState: true } as const;
      fw.gradcheck(
        (a: fw.Tensor, e: fw.Tensor) =>
          titans(q, k, v, { theta, alpha: a, eta: e, chunkSize: 6, ...states })
            .finalState.square()
            .sum(),
        [alpha, eta],
      );
    }),
  );

  it('take a memory of zeros where a rule divides by it or takes its logarithm', () => {
    const draw = new Draw(3);
    const { q, k, v } = toDevice(qkv(5, draw, 4, 3), EXACT, { requiresGrad: true });
    const [keep, learningRate] = [0.9, 0.1].map((x) => fw.full([B, 5, H], x, EXACT));
    for (const variant of ['moneta', 'memora'] as const) {
      fw.miras(q, k, v, { keep, learningRate, variant }).output.sum().backward();
      for (const t of [q, k, v]) expect(t.grad!.dataSync().every(Number.isFinite), variant).to.equal(true);
    }
    const gates = { windowGate: fw.full([B, 5, H, 2], 0.1, EXACT), momentum: keep, learningRate, keep };
    fw.omega(q, k, v.detach().mul(0), { ...gates, optimiser: 'newtonSchulz' })
      .output.sum()
      .backward();
    expect(k.grad!.dataSync().every(Number.isFinite)).to.equal(true);
  });

  it('say which of their inputs and options belong together', () => {
    const { q, k, v } = toDevice(qkv(5, new Draw(3), 4, 3), EXACT);
    const keep = fw.full([B, 5, H], 0.9, EXACT);
    const windowGate = fw.full([B, 5, H, 2], 0.1, EXACT);
    const yaad = (): unknown => fw.miras(q, k, v, { keep, learningRate: keep, variant: 'yaad' });
    expectError('INVALID_ARGUMENT', /threshold must be given with variant yaad/, yaad);
    const atlas = (): unknown => fw.omega(q, k, v, { keep, windowGate, optimiser: 'newtonSchulz' });
    expectError('INVALID_ARGUMENT', /momentum must be given with optimiser newtonSchulz/, atlas);
    expectError('SHAPE', /windowGate must be of 3 tokens/, () => fw.omega(q, k, v, { keep, windowGate, window: 3 }));
    const coefficients = [1, 2] as never;
    expectError('INVALID_ARGUMENT', /coefficients must be/, () =>
      fw.omega(q, k, v, { keep, windowGate, coefficients }),
    );
  });

  it('have a token scale for each place of a mini-batch', () => {
    const rule = CASES[0];
    const inputs = toDevice(drawn(rule, 4), EXACT);
    expectError('SHAPE', /tokenScale must be \[4\] \(miniBatchSize\)/, () => run(rule, inputs, { miniBatchSize: 4 }));
  });
});
