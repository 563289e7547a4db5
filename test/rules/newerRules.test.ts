// Newer rules against vectors of their authors' programs, and what they refuse.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeFolders } from '../golden/table';
import { expectError } from '../support/errors';
import { expectClose, TOLERANCE } from '../support/tolerance';

describeFolders('preconditionedDeltaRule', 'longhorn', 'based', 'rebased');
describeFolders('forgettingAttention', 'pathAttention', 'deltaFormer');

const on = { device: 'js', dtype: 'float32' } as const;
const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, on);

describe('newer rules', () => {
  it('preconditionedDeltaRule: lengths of queries and keys as asked for', () => {
    const random = (...shape: number[]): fw.Tensor => fw.randn(shape, { ...on, std: 1e-3 });
    const [q, k, v] = [random(1, 3, 2, 4), random(1, 3, 2, 4), random(1, 3, 2, 5)];
    const gates = { preconditionerGate: z(1, 3, 2), preconditionerBeta: fw.ones([1, 3, 2], on) };
    const of = (queries: fw.Tensor, keys: fw.Tensor, channels: boolean, qkL2Norm?: boolean): number[] => {
      const gate = channels ? z(1, 3, 2, 4) : z(1, 3, 2);
      return [...fw.preconditionedDeltaRule(queries, keys, v, { ...gates, gate, qkL2Norm }).output.dataSync()];
    };
    const length = (x: fw.Tensor): fw.Tensor => x.square().sum(-1, true);
    const [unitQ, unitK] = [q, k].map((x) => x.div(length(x).sqrt()));
    const [shortQ, shortK] = [q, k].map((x) => x.div(length(x).add(1e-6).sqrt()));
    expectClose('unit', of(q, k, false), of(unitQ, unitK, true), 1e-5);
    for (const channels of [true, false]) {
      expectClose('short', of(q, k, channels, true), of(shortQ, shortK, true), 1e-5);
    }
    expect(of(q, k, false)).to.not.deep.equal(of(q, k, false, true));
  });
});

describe('newer rules, given what they do not take', () => {
  it('preconditionedDeltaRule', () => {
    const [k, v] = [z(1, 3, 2, 4), z(1, 3, 4, 5)];
    const gates = { gate: z(1, 3, 4), preconditionerGate: z(1, 3, 2), preconditionerBeta: z(1, 3, 2) };
    const run = (more: object) => () => fw.preconditionedDeltaRule(k, k, v, { ...gates, ...more });
    expectError('SHAPE', /gate must be \[1, 3, 4\] or \[1, 3, 4, 4\]/, run({ gate: z(1, 3, 2) }));
    expectError('SHAPE', /preconditionerBeta must be \[1, 3, 2\]/, run({ preconditionerBeta: z(1, 3, 4) }));
    expectError('SHAPE', /preconditionerCenter must be \[2\]/, run({ preconditionerCenter: z(4) }));
    expectError('SHAPE', /initialPreconditioner must be \[1, 2, 4\]/, run({ initialPreconditioner: z(1, 4, 4) }));
    expectError('INVALID_ARGUMENT', /gate must be <= 0/, run({ gate: fw.ones([1, 3, 4], on) }));
    expectError(
      'INVALID_ARGUMENT',
      /preconditionerGate must be <= 0/,
      run({ preconditionerGate: fw.ones([1, 3, 2], on) }),
    );
    expectError('INVALID_ARGUMENT', /preconditionerGate must be a Tensor/, run({ preconditionerGate: null }));
    expectError('INVALID_ARGUMENT', /base must be/, run({ base: 0 }));
    for (const eps of [-1, 0, 1e-45]) expectError('INVALID_ARGUMENT', /eps must be/, run({ eps }));
    expect([...run({ eps: 2 ** -126 })().output.dataSync()].every(Number.isFinite)).to.equal(true);
    expectError('INVALID_ARGUMENT', /unknown option bse/, run({ bse: 2 }));
    expectError('SHAPE', /v must be/, () =>
      fw.preconditionedDeltaRule(k, k, z(1, 3, 3, 5), { ...gates, gate: z(1, 3, 3) }),
    );
  });

  it('longhorn', () => {
    const inputs = { x: z(1, 3, 4), betaLogit: z(1, 3, 4), q: z(1, 3, 2), k: z(1, 3, 2) };
    const run =
      (more: object, options = {}) =>
      () =>
        fw.longhorn({ ...inputs, ...more }, options);
    expectError('SHAPE', /z must be \[1, 3, 4\]/, run({ z: z(1, 3, 2) }));
    expectError('SHAPE', /initialState must be \[1, 4, 2\]/, run({ initialState: z(1, 2, 4) }));
    expectError('INVALID_ARGUMENT', /diagonal must be/, run({}, { diagonal: 'no' }));
  });

  it('gates of delta rules', () => {
    const [q, v] = [z(1, 3, 2, 4), z(1, 3, 4, 5)];
    expectError('SHAPE', /efla: beta must be \[1, 3, 4\]/, () => fw.efla(q, q, v, { beta: z(1, 3, 2) }));
    expectError('INVALID_ARGUMENT', /efla: beta must be a Tensor/, () => fw.efla(q, q, v, {} as never));
    const queryShare = z(1, 3, 4);
    expectError('SHAPE', /queryShare must be \[1, 3, 2\]/, () => fw.qDeltaRule(q, q, v, { queryShare }));
    const kaczmarz = (more: object) => () => fw.kaczmarzAttention(q, q, v, { eta: z(1, 3, 4), ...more });
    expectError('SHAPE', /eta must be \[1, 3, 4\] \(batch, time, heads\)/, kaczmarz({ eta: z(1, 3, 2) }));
    expectError('INVALID_ARGUMENT', /eps must be/, kaczmarz({ eps: -1 }));
    const temperatureLogit = q;
    const rodimus = () => fw.rodimus(q, q, v, { gateLogit: v, temperatureLogit });
    expectError('SHAPE', /gateLogit must be \[1, 3, 2, 4\]/, rodimus);
    const four = z(1, 3, 4);
    const momentum = (more: object) => () =>
      fw.momentumDeltaRule(q, q, v, { gate: four, momentumGate: four, beta: four, eta: four, ...more });
    expectError('INVALID_ARGUMENT', /momentumGate must be <= 0/, momentum({ momentumGate: fw.ones([1, 3, 4], on) }));
    expectError('SHAPE', /eta must be \[1, 3, 4\]/, momentum({ eta: z(1, 3, 2) }));
    expectError('SHAPE', /initialMomentum must be \[1, 4, 4, 5\]/, momentum({ initialMomentum: z(1, 2, 4, 5) }));
    expectError('SHAPE', /v must be \[..., a multiple of 4, 5\]/, () =>
      fw.momentumDeltaRule(z(1, 3, 4, 4), z(1, 3, 4, 4), z(1, 3, 2, 5), {
        gate: z(1, 3, 2),
        momentumGate: z(1, 3, 2),
        beta: z(1, 3, 2),
        eta: z(1, 3, 2),
      }),
    );
  });

  it('mixtureOfMemories, lightNet', () => {
    const [q, v, rate] = [z(1, 3, 2, 4), z(1, 3, 2, 5), z(1, 3, 2)];
    const mix = (more: object) => () =>
      fw.mixtureOfMemories(q, q, v, { beta: rate, gate: rate, router: z(1, 3, 6), ...more });
    expectError('INVALID_ARGUMENT', /topK must be/, mix({ topK: 7 }));
    expectError('SHAPE', /beta must be \[1, 3, 2\] or \[1, 3, M, 2\]/, mix({ beta: z(1, 3) }));
    expectError('SHAPE', /router must be \[1, 3, 6\]/, mix({ gate: z(1, 3, 6, 2), router: z(1, 3, 5) }));
    expectError('INVALID_ARGUMENT', /sharedBeta must be given with sharedK/, mix({ sharedK: q, sharedV: v }));
    expectError('INVALID_ARGUMENT', /sharedV must be absent with sharedK/, mix({ sharedV: v }));
    expectError('INVALID_ARGUMENT', /initialSharedState must be left out/, mix({ initialSharedState: z(1, 2, 4, 5) }));
    expectError('SHAPE', /initialLogSum must be \[1, 2, 4\]/, () => fw.lightNet(q, q, v, { initialLogSum: z(1, 2) }));
  });

  it('lact', () => {
    const [q, rate] = [z(1, 3, 2, 4), z(1, 3, 2)];
    const w0 = z(2, 6, 4);
    const run = (more: object) => () =>
      fw.lact(q, q, z(1, 3, 2, 5), { rate0: rate, rate1: rate, rate2: rate, w0, w1: z(2, 5, 6), w2: w0, ...more });
    expectError('SHAPE', /w1 must be \[2, 5, 6\]/, run({ w1: z(2, 6, 5) }));
    expectError('INVALID_ARGUMENT', /chunkSize must be/, run({ chunkSize: 0 }));
    expectError('SHAPE', /initialShift must be \[1, 2, 6, 13\]/, run({ initialShift: z(1, 2, 6, 4) }));
    const full = fw.full([1, 2, 2], 3, on);
    expectError(
      'INVALID_ARGUMENT',
      /tally must be one number of tokens from 0 to 2/,
      run({ initialTally: full, chunkSize: 3 }),
    );
    expectError('INVALID_ARGUMENT', /initialDirection must be left out/, run({ initialDirection: z(1, 2, 6, 13) }));
  });

  it('attention whose states grow', () => {
    const [q, k, v] = [z(1, 3, 4, 4), z(1, 3, 2, 4), z(1, 3, 2, 5)];
    const forget = (more: object) => () => fw.forgettingAttention(q, k, v, { gate: z(1, 3, 4), ...more });
    expectError('SHAPE', /gate must be \[1, 3, 4\]/, forget({ gate: z(1, 3, 2) }));
    expectError('INVALID_ARGUMENT', /gate must be <= 0/, forget({ gate: fw.ones([1, 3, 4], on) }));
    expectError('INVALID_ARGUMENT', /windowSize must be/, forget({ windowSize: 0 }));
    expectError(
      'UNSUPPORTED',
      /packed sequences have no states, given outputFinalState/,
      forget({ cuSeqlens: [0, 3], outputFinalState: true }),
    );
    expectError('UNSUPPORTED', /given initialKeys/, forget({ cuSeqlens: [0, 3], initialKeys: z(1, 0, 2, 4) }));
    expectError(
      'INVALID_ARGUMENT',
      /initialValues must be given with initialKeys/,
      forget({ initialKeys: z(1, 2, 2, 4) }),
    );
    const three = z(1, 3, 3, 4);
    const uneven = () => fw.forgettingAttention(three, k, v, { gate: z(1, 3, 3) });
    expectError('SHAPE', /k must be \[..., a divisor of 3, 4\].* got \[..., 2, 4\]/, uneven);
    const path = (more: object) => () => fw.pathAttention(q, k, v, { w: k, beta: z(1, 3, 2), ...more });
    expectError('SHAPE', /w must be \[1, 3, 2, 4\]/, path({ w: q }));
    expectError('INVALID_ARGUMENT', /initialDecays must be left out/, path({ initialDecays: z(1, 0, 4) }));
    expectError('SHAPE', /k must be \[1, 3, 4, 4\]/, () => fw.deltaFormer(q, k, v, {}));
    expectError('INVALID_ARGUMENT', /scale must be/, () => fw.deltaFormer(k, k, v, { scale: NaN }));
  });

  it('forgettingAttention keeps what its window sees, and a step frees what the step before it made', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const here = { device: 'js', dtype: 'float64' } as const;
        const [q, k, v] = [3, 3, 2].map((width) => fw.randn([1, 9, 2, width], here));
        const gate = fw.rand([1, 9, 2], { ...here, low: -1, high: 0 });
        const options = { windowSize: 4, outputFinalState: true } as const;
        const whole = fw.forgettingAttention(q, k, v, { gate, ...options });
        const head = [q, k, v].map((x) => x.slice(1, 0, 5)) as [fw.Tensor, fw.Tensor, fw.Tensor];
        const { finalKeys, finalValues, finalDecays } = fw.forgettingAttention(...head, {
          gate: gate.slice(1, 0, 5),
          ...options,
        });
        expect(finalKeys.shape).to.deep.equal([1, 3, 2, 3]);
        const state = { keys: finalKeys, values: finalValues, decays: finalDecays };
        let made: fw.Tensor | null = null;
        for (let t = 5; t < 9; t++) {
          const [tq, tk, tv, tg] = [q, k, v, gate].map((x) => x.slice(1, t, t + 1).squeeze(1));
          const token = fw.forgettingAttention.step(tq, tk, tv, { gate: tg, windowSize: 4, state });
          expect(
            token
              .sub(whole.output.slice(1, t, t + 1).squeeze(1))
              .abs()
              .max()
              .item(),
          ).to.be.below(1e-12);
          if (made) expect(() => made!.dataSync()).to.throw(/disposed/);
          made = state.keys;
        }
        expect(finalKeys.dataSync()).to.have.length(18);
        expect(state.decays.sub(whole.finalDecays).abs().max().item()).to.be.below(1e-12);
      }),
    ));

  const GROWING: [title: string, name: 'forgettingAttention' | 'pathAttention' | 'deltaFormer', options: object][] = [
    ['forgettingAttention', 'forgettingAttention', {}],
    ['forgettingAttention with a window', 'forgettingAttention', { windowSize: 30 }],
    ['forgettingAttention with a window wider than a tile', 'forgettingAttention', { windowSize: 100 }],
    ['pathAttention', 'pathAttention', {}],
    ['deltaFormer', 'deltaFormer', {}],
  ];
  for (const [title, name, options] of GROWING) {
    it(`${title}: several tiles, behind a past, are the same tokens one by one`, () =>
      fw.withChecks(false, () =>
        fw.noGrad(() =>
          fw.scope(() => {
            const here = { device: 'js', dtype: 'float64' } as const;
            const T = 160;
            const heads = name === 'deltaFormer' ? 1 : 2;
            const [q, k, v, w] = [heads, 1, 1, 1].map((H) => fw.randn([1, T, H, 3], here));
            const beta = fw.rand([1, T, 1], here);
            const gate = fw.rand([1, T, 2], { ...here, low: -0.2, high: 0 });
            const further: Record<string, fw.Tensor> =
              name === 'deltaFormer' ? { beta } : name === 'pathAttention' ? { w: fw.l2Norm(w), beta, gate } : { gate };
            const rule = fw[name] as unknown as {
              (q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object): Record<string, fw.Tensor>;
              step(q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object): fw.Tensor;
            };
            const between = (
              from: number,
              to: number,
            ): [[fw.Tensor, fw.Tensor, fw.Tensor], Record<string, fw.Tensor>] => {
              const cut = (x: fw.Tensor): fw.Tensor => x.slice(1, from, to);
              const all = Object.entries(further).map(([key, x]) => [key, cut(x)] as const);
              return [[cut(q), cut(k), cut(v)], Object.fromEntries(all)];
            };
            const names = ['keys', 'values', ...(name === 'deltaFormer' ? [] : ['decays'])];
            const finalOf = (one: string): string => `final${one[0].toUpperCase()}${one.slice(1)}`;
            const initialOf = (one: string): string => `initial${one[0].toUpperCase()}${one.slice(1)}`;
            const state: Record<string, fw.Tensor> = {
              keys: fw.zeros([1, 0, 1, 3], here),
              values: fw.zeros([1, 0, 1, 3], here),
              ...(name !== 'deltaFormer' && { decays: fw.zeros([1, 0, 2], here) }),
            };
            const tokens = Array.from({ length: T }, (_, t) => {
              const [inputs, more] = between(t, t + 1);
              const token = inputs.map((x) => x.squeeze(1)) as typeof inputs;
              const own = Object.entries(more).map(([key, x]) => [key, x.squeeze(1)]);
              return rule
                .step(...token, { ...options, ...Object.fromEntries<fw.Tensor>(own as never), state })
                .unsqueeze(1);
            });
            const [head, headMore] = between(0, 9);
            const begin = rule(...head, { ...options, ...headMore, outputFinalState: true });
            const [rest, restMore] = between(9, T);
            const past = Object.fromEntries(names.map((one) => [initialOf(one), begin[finalOf(one)]]));
            const end = rule(...rest, { ...options, ...restMore, ...past, outputFinalState: true });
            expectClose(
              'output',
              fw.cat([begin.output, end.output], 1).dataSync(),
              fw.cat(tokens, 1).dataSync(),
              1e-10,
            );
            for (const one of names) expectClose(one, end[finalOf(one)].dataSync(), state[one].dataSync(), 1e-10);
          }),
        ),
      ));
  }

  for (const name of ['based', 'rebased'] as const) {
    it(name, () => {
      const rule = fw[name];
      const [q, v] = [z(1, 3, 2, 4), z(1, 3, 2, 5)];
      const run = (options: object) => () => rule(q, q, v, options);
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: scale must be`), run({ scale: NaN }));
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: normalizeEps must be`), run({ normalizeEps: -1 }));
      expectError('INVALID_ARGUMENT', /unknown option featureMap/, run({ featureMap: 'elu1' }));
      expectError('SHAPE', new RegExp(`${name}: k must be`), () => rule(q, z(1, 3, 2, 3), v));
      expectError('INVALID_ARGUMENT', new RegExp(`${name}: q must be a Tensor`), () => rule(null as never, q, v));
    });

    it(`${name}: a state of all monomials, token by token`, () =>
      fw.noGrad(() =>
        fw.scope(() => {
          const here = { device: 'js', dtype: 'float64' } as const;
          const [q, k, v] = [3, 3, 2].map((width) => fw.randn([1, 5, 2, width], here));
          const { output, finalState, finalNormalizer } = fw[name](q, k, v, { outputFinalState: true });
          const P = name === 'based' ? 10 : 6;
          expect([finalState.shape, finalNormalizer!.shape]).to.deep.equal([
            [1, 2, P, 2],
            [1, 2, P],
          ]);
          const [state, normalizer] = [fw.zeros([1, 2, P, 2], here), fw.zeros([1, 2, P], here)];
          for (let t = 0; t < 5; t++) {
            const [tq, tk, tv] = [q, k, v].map((x) => x.slice(1, t, t + 1).squeeze(1));
            const token = fw[name].step(tq, tk, tv, { state, normalizer });
            expect(
              token
                .sub(output.slice(1, t, t + 1).squeeze(1))
                .abs()
                .max()
                .item(),
            ).to.be.below(1e-9);
          }
          expect(state.sub(finalState).abs().max().item()).to.be.below(1e-12);
        }),
      ));

    it(`${name}: no state without its sum of features`, () =>
      fw.noGrad(() => {
        const here = { device: 'js' } as const;
        const [q, k, v] = [3, 3, 2].map((width) => fw.randn([1, 2, 2, width], here));
        const state = fw[name](q, k, v, { outputFinalState: true }).finalState.contiguous();
        const [tq, tk, tv] = [q, k, v].map((x) => x.slice(1, 0, 1).squeeze(1));
        expectError('INVALID_ARGUMENT', new RegExp(`${name}: initialNormalizer must be`), () =>
          fw[name](q, k, v, { initialState: state }),
        );
        expectError('INVALID_ARGUMENT', new RegExp(`${name}.step: normalizer must be`), () =>
          fw[name].step(tq, tk, tv, { state }),
        );
        fw[name](q, k, v, { normalize: false, initialState: state });
        fw[name].step(tq, tk, tv, { normalize: false, state });
      }));
  }
});

describe('rebased where queries are nearly orthogonal to keys', () => {
  const js64 = { device: 'js', dtype: 'float64' } as const;
  for (const device of ['cpu', 'js'] as const) {
    it(`on ${device}: products of channels do not drown a token's own score`, () => {
      for (let seed = 0; seed < 6; seed++) {
        fw.manualSeed(seed);
        const inputs = [4, 4, 5].map((width) => fw.randn([4, 16, 3, width]));
        const [found, wanted] = [{ device, dtype: 'float32' } as const, js64].map((where) => {
          const own = inputs.map((x) => x.to(where.device).to(where.dtype).detach());
          own.forEach((x) => (x.requiresGrad = true));
          const { output } = fw.rebased(own[0], own[1], own[2]);
          output.square().sum().backward();
          return [output, ...own.map((x) => x.grad!)].map((x) => x.dataSync());
        });
        const { forward, gradient } = TOLERANCE.float32;
        ['output', 'q', 'k', 'v'].forEach((name, i) =>
          expectClose(name, found[i], wanted[i], name === 'output' ? forward : gradient),
        );
      }
    });

    it(`on ${device}: a first token is read as it was written, by a step, too`, () =>
      fw.noGrad(() => {
        fw.manualSeed(45);
        const [q, k] = [16, 16].map((width) => fw.randn([1, 1, width]).to(device));
        const v = fw.ones([1, 1, 1], { device });
        const states = { state: fw.zeros([1, 1, 136, 1], { device }), normalizer: fw.zeros([1, 1, 136], { device }) };
        const x = q.mul(k).sum().item() / 4;
        const read = x ** 2 / (x ** 2 + 1e-6);
        expect(fw.rebased.step(q, k, v, states).item()).to.be.closeTo(read, 1e-4);
        const sequence = fw.rebased(...([q, k, v].map((t) => t.unsqueeze(1)) as [fw.Tensor, fw.Tensor, fw.Tensor]));
        expect(sequence.output.item()).to.be.closeTo(read, 1e-4);
      }));
  }
});

describe('logarithms of -Infinity', () => {
  type Tensors = Record<string, fw.Tensor>;

  /** The output, and the gradients of what is given. */
  function found(inputs: Tensors, run: (own: Tensors) => fw.Tensor): Record<string, ArrayLike<number>> {
    const own = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, x.clone().detach()]));
    for (const x of Object.values(own)) x.requiresGrad = true;
    const output = run(own);
    output.square().sum().backward();
    return Object.fromEntries(
      Object.entries({ output, ...own }).map(([name, x]) => [name, (name === 'output' ? x : x.grad!).dataSync()]),
    );
  }

  for (const device of ['cpu', 'js'] as const) {
    const RULES = {
      forgettingAttention: ({ q, k, v, gate }: Tensors) => fw.forgettingAttention(q, k, v, { gate }).output,
      'forgettingAttention with a window': ({ q, k, v, gate }: Tensors) =>
        fw.forgettingAttention(q, k, v, { gate, windowSize: 5 }).output,
      pathAttention: ({ q, k, v, w, beta, gate }: Tensors) => fw.pathAttention(q, k, v, { w, beta, gate }).output,
    };
    for (const [title, run] of Object.entries(RULES)) {
      it(`${title} on ${device}: a gate forgets all, and nothing else`, () => {
        const T = 70;
        fw.manualSeed(2);
        const [q, k, v] = [4, 4, 3].map((width) => fw.randn([1, T, 2, width]).to(device));
        const w = fw.normalize(fw.randn([1, T, 2, 4]), { dim: -1 }).to(device);
        const beta = fw.rand([1, T, 2]).to(device);
        const gates = Float32Array.from({ length: 2 * T }, (_, i) =>
          [0, 6, 7, 40, 135].includes(i) ? -Infinity : -0.1,
        );
        const gate = fw.tensor(gates, { shape: [1, T, 2], device });
        const inputs = { q, k, v, gate, ...(title === 'pathAttention' && { w, beta }) };
        const wanted = found({ ...inputs, gate: gate.maximum(-1e4) }, run);
        for (const [name, values] of Object.entries(found(inputs, run))) expectClose(name, values, wanted[name], 1e-6);
      });
    }

    const WEIGHED = {
      abc: ({ q, k, v, logs }: Tensors) => fw.abc(q, k, v, { slots: logs }).output,
      lightNet: ({ q, v, logs }: Tensors) => fw.lightNet(q, logs, v, {}).output,
    };
    for (const [name, run] of Object.entries(WEIGHED)) {
      it(`${name} on ${device}: a weight of nothing writes nothing, at the first tokens, too`, () => {
        fw.manualSeed(2);
        const [q, k, logs, v] = [4, 4, 4, 3].map((width) => fw.randn([1, 5, 1, width]).to(device));
        const never = fw.tensor([1, 1, 0, 0, 0], { shape: [1, 5, 1, 1], device }).gt(0);
        const inputs = { q, v, ...(name === 'abc' && { k }), logs: fw.where(never, -Infinity, logs) };
        const all = found(inputs, run);
        const later = found(Object.fromEntries(Object.entries(inputs).map(([n, x]) => [n, x.slice(1, 2)])), run);
        for (const [n, values] of Object.entries(all)) {
          expectClose(
            n,
            Array.from(values).slice(-later[n].length),
            later[n],
            TOLERANCE.float32[n === 'output' ? 'forward' : 'gradient'],
          );
          expect(Array.from(values).every(Number.isFinite), n).to.equal(true);
          if (n !== 'q')
            for (const x of Array.from(values).slice(0, -later[n].length)) expect(x).to.be.closeTo(0, 1e-12);
        }
      });
    }

    it(`rodimus on ${device}: a gate that writes and forgets nothing has gradients`, () => {
      fw.manualSeed(2);
      const [q, k, v, temperatureLogit] = [4, 4, 3, 4].map((width) => fw.randn([1, 3, 1, width]).to(device));
      const gateLogit = fw.full([1, 3, 1, 4], -Infinity, { device });
      const values = found({ q, k, v, gateLogit, temperatureLogit }, (own) => {
        const { gateLogit, temperatureLogit } = own;
        return fw.rodimus(own.q, own.k, own.v, { gateLogit, temperatureLogit }).output;
      });
      for (const [name, each] of Object.entries(values)) expectClose(name, each, new Float32Array(each.length), 0);
    });
  }
});
