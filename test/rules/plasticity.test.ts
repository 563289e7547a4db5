// Rules with plastic synapses: STPN against its equations, episodes of ABCD, Hopfield networks, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

type Named = Record<string, fw.Tensor>;

const [B, D, I] = [3, 7, 5];
const small = (shape: number[], where: Target): fw.Tensor => fw.randn(shape, { ...where, std: 0.4 });

function stpnInputs(options: fw.StpnOptions, T: number, where: Target): Named {
  const { recurrent: loops = true, plastic: which = 'all', scalarRates = false } = options;
  const columns = loops ? I + D : I;
  const P = { all: columns, hidden: D, input: I }[which];
  const rates = scalarRates ? [1] : [D, P];
  return {
    x: small([B, T, I], where),
    weight: small([D, columns], where),
    bias: small([D], where),
    lambda: fw.rand(rates, { ...where, high: 0.9 }),
    gamma: small(rates, where).mul(0.3),
    ...(loops && { initialHidden: small([B, D], where) }),
    initialState: small([B, D, P], where),
  };
}

/** The equations of STPN, one number at a time, for one sequence. */
function stpnLoop(
  options: fw.StpnOptions,
  inputs: Record<string, number[]>,
  T: number,
): { output: number[]; F: number[] } {
  const { recurrent: loops = true, plastic: which = 'all', weightNorm, rule, activation, scalarRates } = options;
  const columns = loops ? I + D : I;
  const first = which === 'hidden' ? I : 0;
  const P = which === 'all' ? columns : which === 'hidden' ? D : I;
  const rate = (name: string, k: number): number => inputs[name][scalarRates ? 0 : k];
  const F = [...inputs.initialState];
  let h = loops ? [...inputs.initialHidden] : [];
  const output: number[] = [];
  for (let t = 0; t < T; t++) {
    const z = [...inputs.x.slice(t * I, (t + 1) * I), ...h];
    const next: number[] = [];
    for (let d = 0; d < D; d++) {
      const G = z.map((_, c) => {
        const plasticPart = c >= first && c < first + P ? F[d * P + c - first] : 0;
        return inputs.weight[d * columns + c] + plasticPart;
      });
      const norm = weightNorm ? Math.hypot(...G) : 1;
      for (let p = 0; p < P; p++) F[d * P + p] /= norm;
      const sum = G.reduce((a, g, c) => a + (g / norm) * z[c], inputs.bias[d]);
      next.push(activation === 'relu' ? Math.max(0, sum) : activation === 'none' ? sum : Math.tanh(sum));
    }
    const before = [...F];
    for (let d = 0; d < D; d++) {
      for (let p = 0; p < P; p++) {
        const back = rule === 'oja' ? next.reduce((a, y, e) => a + y * before[e * P + p], 0) : 0;
        const k = d * P + p;
        F[k] = rate('lambda', k) * before[k] + rate('gamma', k) * next[d] * (z[first + p] - back);
      }
    }
    if (loops) h = next;
    output.push(...next);
  }
  return { output, F };
}

for (const where of targets()) {
  it(`stpn equals its equations in every combination on ${where.device}, ${where.dtype}`, () => {
    const T = 4;
    const tolerance = toleranceOf(where.dtype).forward;
    for (const recurrent of [true, false]) {
      for (const plastic of recurrent ? (['all', 'hidden', 'input'] as const) : (['all', 'input'] as const)) {
        for (const weightNorm of [false, true]) {
          for (const [rule, activation, scalarRates] of [
            ['hebb', 'none', true],
            ['oja', 'tanh', false],
          ] as const) {
            const options = { recurrent, plastic, weightNorm, rule, activation, scalarRates };
            fw.scope(() => {
              const inputs = fw.withSeed(3, () => stpnInputs(options, T, where));
              const { output, finalState } = fw.stpn(inputs as never, { ...options, outputFinalState: true });
              const member = (t: fw.Tensor): number[] =>
                Array.from(t.ndim === 3 ? t.select(0, 1).contiguous().dataSync() : t.dataSync());
              const one = Object.fromEntries(Object.entries(inputs).map(([name, t]) => [name, member(t)]));
              if (recurrent) one.initialHidden = Array.from(inputs.initialHidden.select(0, 1).contiguous().dataSync());
              const expected = stpnLoop(options, one, T);
              expectClose(JSON.stringify(options), member(output), expected.output, tolerance);
              expectClose(`F of ${JSON.stringify(options)}`, member(finalState!), expected.F, tolerance);
            });
          }
        }
      }
    }
  });
}

describe('plastic rules refuse', () => {
  const at: Target = { device: 'js', dtype: 'float64' };
  const input = fw.zeros([2, 3, D], at);
  const square = fw.zeros([D, D], at);
  const one = fw.zeros([1], at);
  const row = fw.zeros([D], at);
  const given = { input, weight: square, alpha: square };
  const modulated = { ...given, modulatorWeight: row, modulatorBias: one };
  const refused = (argument: string, fn: () => unknown): void => {
    expect(expectError('INVALID_ARGUMENT', /must be/, fn).argument).to.equal(argument);
  };

  it('inputs and options that a rule of plasticity has no use for, or needs', () => {
    const trace = fw.zeros([2, D, D], at);
    refused('eta', () => fw.plasticity(given));
    refused('modulatorWeight', () => fw.plasticity({ ...modulated, eta: one }));
    refused('modulatorWeight', () => fw.plasticity(given, { rule: 'modulated' }));
    refused('eta', () => fw.plasticity({ ...modulated, eta: one }, { rule: 'modulated' }));
    refused('fanoutWeight', () => fw.plasticity({ ...modulated, fanoutWeight: row }, { rule: 'modulated' }));
    refused('fanoutWeight', () => fw.plasticity(modulated, { rule: 'modulated', fanout: true }));
    refused('fanoutBias', () =>
      fw.plasticity({ ...modulated, fanoutWeight: row }, { rule: 'modulated', fanout: true }),
    );
    refused('fanout', () => fw.plasticity({ ...modulated, eta: one }, { rule: 'retroactive', fanout: true }));
    refused('modulator', () => fw.plasticity({ ...given, eta: one }, { modulator: 'tanh' }));
    refused('clip', () => fw.plasticity({ ...given, eta: one }, { rule: 'oja', clip: 1 }));
    refused('clip', () => fw.plasticity({ ...given, eta: one }, { rule: 'hebbClipped', clip: -1 }));
    refused('rule', () => fw.plasticity({ ...given, eta: one }, { rule: 'Oja' as never }));
    refused('initialTrace', () => fw.plasticity({ ...given, eta: one, initialTrace: trace }));
    fw.noGrad(() => {
      const token = { ...given, input: fw.zeros([2, D], at), eta: one };
      const state = { hidden: fw.zeros([2, D], at), state: trace };
      expectError('INVALID_ARGUMENT', /trace/, () => fw.plasticity.step(token, { state: { ...state, trace } }));
      refused('trace', () =>
        fw.plasticity.step({ ...token, ...modulated, input: token.input }, { rule: 'retroactive', state }),
      );
    });
  });

  it('layers of STPN that there are not', () => {
    const x = fw.zeros([2, 3, I], at);
    const wide = { x, weight: fw.zeros([D, I + D], at), lambda: fw.zeros([D, D], at), gamma: fw.zeros([D, D], at) };
    refused('plastic', () => fw.stpn(wide, { recurrent: false, plastic: 'hidden' }));
    const narrow = { x, weight: fw.zeros([D, I], at), lambda: one, gamma: one };
    refused('initialHidden', () =>
      fw.stpn({ ...narrow, initialHidden: fw.zeros([2, D], at) }, { recurrent: false, scalarRates: true }),
    );
    for (const [argument, options] of [
      ['lambda', {}],
      ['weight', { recurrent: false, plastic: 'input' }],
      ['lambda', { plastic: 'hidden', scalarRates: true }],
    ] as const) {
      expect(expectError('SHAPE', /stpn/, () => fw.stpn(wide, options)).argument).to.equal(argument);
    }
  });

  it('episodes of ABCD without their parts', () => {
    const x = fw.zeros([3, I], at);
    const full = { x, weight1: fw.zeros([I, 2], at), coefficients1: fw.zeros([I, 2, 5], at) };
    refused('weight1', () => fw.abcd({ x, coefficients1: full.coefficients1 }));
    refused('coefficients1', () => fw.abcd({ x, weight1: full.weight1 }));
    refused('coefficients1', () => fw.abcd({ ...full, coefficients1: null } as never));
    refused('rule', () => fw.abcd(full, { rule: 'ABCDE' as never }));
    expectError('INVALID_ARGUMENT', /weight2/, () => fw.abcd({ ...full, weight2: full.weight1 }));
    expectError('SHAPE', /coefficients1/, () => fw.abcd(full, { rule: 'ABC' }));
    expectError('SHAPE', /weight1/, () => fw.abcd({ ...full, weight1: fw.zeros([2, I], at) }));
    expectError('INVALID_ARGUMENT', /inputs/, () => fw.abcd(undefined as never));
  });

  it('memories of another kind', () => {
    const patterns = fw.ones([2, 4], at);
    refused('sweeps', () => fw.hopfield({ patterns, state: patterns }, { sweeps: 1 }));
    refused('beta', () => fw.hopfield({ patterns, state: patterns }, { kind: 'classical', beta: 1 }));
    refused('steps', () =>
      fw.hopfield({ patterns: patterns.unsqueeze(0), state: patterns.unsqueeze(0) }, { steps: 0 }),
    );
    expectError('SHAPE', /patterns/, () => fw.hopfield({ patterns, state: patterns }));
    expectError('SHAPE', /state/, () => fw.hopfield({ patterns, state: fw.ones([2, 5], at) }, { kind: 'classical' }));
  });
});

describe('episodes of ABCD', () => {
  for (const where of targets()) {
    it(`one alone is what it is among others, at once and step by step, on ${where.device}, ${where.dtype}`, () => {
      fw.noGrad(() =>
        fw.scope(() => {
          const [P, T] = [3, 4];
          const x = small([P, T, I], where);
          const weights = { weight1: small([P, I, D], where), weight2: small([P, D, 2], where) };
          const shared = { coefficients1: small([I, D, 6], where), coefficients2: small([D, 2, 6], where) };
          const own = { coefficients1: small([P, I, D, 6], where), coefficients2: small([P, D, 2, 6], where) };
          const options = { rule: 'ABCD_lr_D_in_and_out', normalise: true, outputFinalState: true } as const;
          for (const coefficients of [shared, own]) {
            const all = fw.abcd({ x, ...weights, ...coefficients }, options);
            for (let p = 0; p < P; p++) {
              const pick = (given: Named, dims: number): Named =>
                Object.fromEntries(
                  Object.entries(given).map(([name, t]) => [name, t.ndim > dims ? t.select(0, p).contiguous() : t]),
                );
              const given = { ...pick(weights, 2), ...pick(coefficients, 3) } as never;
              const one = fw.abcd({ x: x.select(0, p), ...(given as object) }, options);
              const values = (t: fw.Tensor): number[] => Array.from(t.contiguous().dataSync());
              const tolerance = toleranceOf(where.dtype).forward;
              expect(one.output.shape).to.eql([T, 2]);
              expectClose('output', values(one.output), values(all.output.select(0, p)), tolerance);
              expectClose('weights', values(one.finalWeight2), values(all.finalWeight2.select(0, p)), tolerance);
              const state = Object.fromEntries(Object.entries(pick(weights, 2)).map(([name, t]) => [name, t.clone()]));
              const { rule, normalise } = options;
              const tokens = Array.from({ length: T }, (_, t) =>
                fw.abcd.step(
                  { x: x.select(0, p).select(0, t), ...pick(coefficients, 3) },
                  {
                    rule,
                    normalise,
                    state,
                  },
                ),
              );
              expectClose('steps', values(fw.stack(tokens, 0)), values(one.output), tolerance);
              expectClose('weights after the steps', values(state.weight1), values(one.finalWeight1), tolerance);
            }
          }
          const start = fw.abcd(
            { x, ...shared, weight1: weights.weight1.select(0, 1), weight2: weights.weight2 },
            options,
          );
          expect(start.finalWeight1.shape).to.eql([P, I, D]);
        }),
      );
    });
  }
});

describe('classical Hopfield networks', () => {
  it('restore stored patterns, and energies never rise one unit after the other', () => {
    for (const where of targets()) {
      fw.scope(() => {
        const patterns = fw.withSeed(5, () => fw.randn([3, 45], where).sign());
        const state = patterns.clone();
        fw.noGrad(() => state.slice(1, 3, 7).mul_(-1));
        const { output, energy } = fw.hopfield({ patterns, state }, { kind: 'classical', sweeps: 3 });
        expect(output.dataSync()).to.eql(patterns.dataSync());
        const rows = energy!.tolist() as number[][];
        for (const row of rows) row.slice(1).forEach((e, i) => expect(e).to.be.at.most(row[i] + 1e-6));
        expect(rows.every((row) => row[3] < row[0])).to.equal(true);
      });
    }
  });
});

describe('weights of ABCD that are all 0', () => {
  it('stay 0 where they are divided by the largest of them', () => {
    const js = { device: 'js', dtype: 'float64' } as const;
    const [weight1, x] = [fw.zeros([3, 2], { ...js, requiresGrad: true }), fw.ones([4, 3], js)];
    const coefficients1 = fw.zeros([3, 2, fw.abcdTerms('ABCD_lr')], js);
    const options = { normalise: true, outputFinalState: true } as const;
    const { output, finalWeight1 } = fw.abcd({ x, weight1, coefficients1 }, options);
    expect([...finalWeight1.dataSync(), ...output.dataSync()].every((w) => w === 0)).to.equal(true);
    output.sum().backward();
    expect(weight1.grad!.dataSync().every((g) => Number.isFinite(g))).to.equal(true);
  });
});
