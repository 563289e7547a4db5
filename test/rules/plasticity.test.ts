// Rules with plastic synapses: parts and steps, odd sizes, what they refuse, and the token that left the finite numbers.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectSameInParts, type SequentialCase } from '../support/sequentialRuns';
import { expectClose, toleranceOf } from '../support/tolerance';

type Named = Record<string, fw.Tensor>;

const [B, D, I] = [3, 7, 5];
const small = (shape: number[], where: Target): fw.Tensor => fw.randn(shape, { ...where, std: 0.4 });

const recurrent = (where: Target): Named => ({
  weight: small([D, D], where),
  alpha: small([D, D], where),
  initialHidden: small([B, D], where).tanh(),
  initialState: small([B, D, D], where),
});
const eta = (where: Target): Named => ({ eta: fw.full([1], 0.2, where) });
const modulator = (where: Target): Named => ({
  modulatorWeight: small([D], where),
  modulatorBias: small([1], where),
});
const fanout = (where: Target): Named => ({ fanoutWeight: small([D], where), fanoutBias: small([D], where) });

const plastic = (options: fw.PlasticityOptions, others: (where: Target) => Named): SequentialCase => ({
  title: `plasticity ${JSON.stringify(options)}`,
  rule: fw.plasticity as never,
  step: fw.plasticity.step as never,
  inputs: (T, where) => ({
    input: small([B, T, D], where),
    ...recurrent(where),
    ...(options.rule === 'retroactive' && { initialTrace: small([B, D, D], where) }),
    ...others(where),
  }),
  tokens: ['input'],
  states: {
    hidden: 'initialHidden',
    state: 'initialState',
    ...(options.rule === 'retroactive' && { trace: 'initialTrace' }),
  },
  options,
});

const layer = (options: fw.PlasticLayerOptions): SequentialCase => ({
  title: `plasticLayer ${JSON.stringify(options)}`,
  rule: fw.plasticLayer as never,
  step: fw.plasticLayer.step as never,
  inputs: (T, where) => ({
    x: small([B, T, I], where),
    label: small([B, T, D], where),
    weight: small([I, D], where),
    alpha: small([I, D], where),
    initialState: small([B, I, D], where),
    ...eta(where),
  }),
  tokens: ['x', 'label'],
  states: { state: 'initialState' },
  options: { labelGain: 2, ...options },
});

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

const stpn = (options: fw.StpnOptions): SequentialCase => ({
  title: `stpn ${JSON.stringify(options)}`,
  rule: fw.stpn as never,
  step: fw.stpn.step as never,
  inputs: (T, where) => stpnInputs(options, T, where),
  tokens: ['x'],
  states: { ...(options.recurrent !== false && { hidden: 'initialHidden' }), state: 'initialState' },
  options,
});

const SIZES = [I, D, 4, 2];
const abcd = (options: fw.AbcdOptions, batch: number | null, population = false): SequentialCase => ({
  title: `abcd ${JSON.stringify(options)}, ${batch === null ? 'one episode' : 'episodes'}`,
  rule: fw.abcd as never,
  step: fw.abcd.step as never,
  inputs: (T, where) => {
    const lead = batch === null ? [] : [batch];
    const terms = fw.abcdTerms(options.rule ?? 'ABCD_lr');
    const layers = SIZES.slice(1).flatMap((size, i) => {
      const shape = [SIZES[i], size];
      const own = [...(population ? lead : []), ...shape, ...(terms === 1 ? [] : [terms])];
      return [
        [`weight${i + 1}`, small([...lead, ...shape], where)],
        [`coefficients${i + 1}`, small(own, where)],
      ];
    });
    return { x: small([...lead, T, I], where), ...(Object.fromEntries(layers) as Named) };
  },
  tokens: ['x'],
  states: { weight1: 'weight1', weight2: 'weight2', weight3: 'weight3' },
  options: { normalise: true, ...options },
  time: batch === null ? 0 : 1,
});

const CASES: SequentialCase[] = [
  {
    title: 'fastRnn',
    rule: fw.fastRnn as never,
    step: fw.fastRnn.step as never,
    inputs: (T, where) => {
      const { weight, initialHidden, initialState } = recurrent(where);
      return {
        x: small([B, T, I], where),
        weightIh: small([D, I], where),
        weightHh: weight,
        initialHidden,
        initialState,
      };
    },
    tokens: ['x'],
    states: { hidden: 'initialHidden', state: 'initialState' },
    options: { innerSteps: 2 },
  },
  plastic({}, eta),
  plastic({ rule: 'oja' }, eta),
  plastic({ rule: 'hebbClipped', clip: 0.5 }, eta),
  plastic({ rule: 'modulated', modulator: 'sigmoid' }, modulator),
  plastic({ rule: 'modulated', fanout: true }, (where) => ({ ...modulator(where), ...fanout(where) })),
  plastic({ rule: 'retroactive', modulator: 'linear' }, (where) => ({ ...modulator(where), ...eta(where) })),
  layer({}),
  layer({ rule: 'oja', activation: 'tanh' }),
  stpn({}),
  stpn({ plastic: 'hidden', weightNorm: true, scalarRates: true }),
  stpn({ plastic: 'input', rule: 'oja', activation: 'relu' }),
  stpn({ recurrent: false, weightNorm: true }),
  abcd({}, null),
  abcd({ rule: 'A' }, 2),
  abcd({ rule: 'ABCD_lr_D_in_and_out' }, 2, true),
];

// The last runs over the end of a segment of tokens that a recorded loop keeps.
const LENGTHS = [1, 2, 19];

for (const where of targets().filter(({ device, dtype }) => device !== 'js' || dtype === 'float64')) {
  describe(`plastic rules on ${where.device}, ${where.dtype}`, () => {
    for (const [i, c] of CASES.entries()) {
      it(`${c.title}: the same in parts and step by step`, () => {
        for (const T of LENGTHS) {
          const at = fw.withSeed(1000 + i, () => fw.randint(Math.max(0, T - 6), T + 1, [1]).item());
          fw.withSeed(i, () => expectSameInParts(c, where, T, at));
        }
      });
    }
  });
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

describe('gradients of plastic rules', () => {
  const where = { device: 'js', dtype: 'float64' } as const;

  for (const c of [
    stpn({ plastic: 'hidden', weightNorm: true }),
    stpn({ plastic: 'input', rule: 'oja', scalarRates: true }),
    layer({ activation: 'none' }),
    abcd({ rule: 'ABCD_lr_D_in_and_out' }, 2, true),
  ]) {
    it(`${c.title}: the slope of central differences`, () => {
      const inputs = fw.withSeed(7, () => c.inputs(3, where));
      const names = Object.keys(inputs);
      const along = fw.withSeed(8, () => Object.values(inputs).map((t) => fw.randn(t.shape, where)));
      const lossAt = (step: number, requiresGrad = false): [fw.Tensor, fw.Tensor[]] => {
        const leaves = Object.values(inputs).map((t, i) => {
          const data = t.add(along[i].mul(step)).dataSync();
          return fw.tensor(data, { ...where, shape: t.shape, requiresGrad });
        });
        const given = Object.fromEntries(leaves.map((t, i) => [names[i], t]));
        const results = Object.values(c.rule(given, { ...c.options, outputFinalState: true }) as Named);
        return [results.map((t) => t.mul(t).mul(t).sum()).reduce((x, y) => x.add(y)), leaves];
      };
      const [loss, leaves] = lossAt(0, true);
      loss.backward();
      const slope = leaves.map((t, i) => t.grad!.mul(along[i]).sum().item()).reduce((x, y) => x + y, 0);
      const difference = (lossAt(1e-5)[0].item() - lossAt(-1e-5)[0].item()) / 2e-5;
      expect(Math.abs(slope / difference - 1)).to.be.at.most(1e-6);
    });
  }
});

describe('packed sequences of plastic rules', () => {
  it('give the bits that each gives alone', () => {
    const where = targets().find(({ dtype }) => dtype === 'float32')!;
    fw.scope(() => {
      const { weight, alpha } = recurrent(where);
      const given = { weight, alpha, ...eta(where) };
      const input = small([1, 9, D], where);
      const cuSeqlens = [0, 4, 4, 5, 9];
      const packed = fw.plasticity({ ...given, input }, { cuSeqlens, outputFinalState: true });
      expect(packed.finalState!.shape).to.eql([4, D, D]);
      for (let n = 0; n < 4; n++) {
        const alone = fw.plasticity(
          { ...given, input: input.slice(1, cuSeqlens[n], cuSeqlens[n + 1]) },
          { outputFinalState: true },
        );
        const part = packed.output.slice(1, cuSeqlens[n], cuSeqlens[n + 1]);
        expect(part.contiguous().dataSync()).to.eql(alone.output.dataSync());
        expect(
          packed
            .finalState!.slice(0, n, n + 1)
            .contiguous()
            .dataSync(),
        ).to.eql(alone.finalState!.dataSync());
      }
    });
  });
});

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
    refused('weight1', () => fw.abcd({ x, coefficients1: full.coefficients1 } as never));
    refused('coefficients1', () => fw.abcd({ x, weight1: full.weight1 } as never));
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

describe('plastic rules with checks of values', () => {
  const where = targets().find(({ dtype }) => dtype === 'float32')!;

  it('name the first token that left the finite numbers', () => {
    fw.withChecks(true, () =>
      fw.scope(() => {
        const spoiled = (shape: number[]): fw.Tensor => {
          const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1);
          values[21 * shape[2]] = NaN;
          return fw.tensor(values, { shape, device: where.device });
        };
        const { weight, alpha } = recurrent(where);
        const rates = { lambda: fw.full([1], 0.5, where), gamma: fw.full([1], 0.5, where) };
        const coefficients1 = fw.ones([I, 2], where);
        const runs: [string, () => unknown][] = [
          ['plasticity', () => fw.plasticity({ input: spoiled([1, 40, D]), weight, alpha, ...eta(where) })],
          [
            'plasticity',
            () =>
              fw.plasticity({ input: spoiled([1, 40, D]), weight, alpha, ...modulator(where) }, { rule: 'modulated' }),
          ],
          [
            'plasticLayer',
            () => fw.plasticLayer({ x: spoiled([1, 40, D]), weight, alpha, eta: fw.full([1], 0.2, where) }),
          ],
          [
            'stpn',
            () =>
              fw.stpn({ x: spoiled([1, 40, D]), weight: fw.cat([weight, alpha], 1), ...rates }, { scalarRates: true }),
          ],
          [
            'abcd',
            () =>
              fw.abcd(
                { x: spoiled([1, 40, I]).squeeze(0), weight1: fw.ones([I, 2], where), coefficients1 },
                { rule: 'A' },
              ),
          ],
          ['fastRnn', () => fw.fastRnn({ x: spoiled([1, 40, D]), weightIh: weight, weightHh: alpha })],
        ];
        for (const [name, run] of runs) {
          expectError(
            'INVALID_ARGUMENT',
            new RegExp(`^${name}: final\\w+ must be finite, got not finite after token 21 `),
            run,
          );
        }
      }),
    );
  });
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
