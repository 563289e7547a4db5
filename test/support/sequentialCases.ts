// One description of every sequential rule for the tests: its inputs and states as shapes in letters, with their ranges.
import * as fw from '../../lib';
import { Draw, type HostTensor } from './ruleInputs';
import type { Target } from './golden';
import { MEMORIES } from './memoryCases';
import { PLASTIC } from './plasticCases';
import { SCANS } from './scanCases';
import { SLOTS } from './slotCases';
import { SOLVED } from './solvedCases';

/** A shape in letters, and the bound of uniform values around 0 (1 by default) or their range. */
export type Drawn = string | [form: string, bound: number] | [form: string, low: number, high: number];

export interface SequentialCase {
  name: keyof typeof fw;
  title: string;
  inputs: Record<string, Drawn>;
  /** Under the names that the inputs have for initial states. */
  states: Record<string, Drawn>;
  /** Names of the same states in `step`. */
  stepNames: Record<string, string>;
  /** States whose matrices are symmetric. */
  symmetric?: string[];
  options?: Record<string, unknown>;
  /** Its states have a row for each token so far, and packed sequences have none. */
  grows?: boolean;
  /** Further tests at these sizes; B 2, T 33, H 2, D 8, I 4, V 6, S 3 otherwise. */
  sizes: Record<string, number>[];
}

const MATRIX = { wY: 'H D D', wQ: 'H D D', wK: 'H D D', wB: 'H D 4' } as const;
const SHIFTS = { shiftY: 'B H D D', shiftQ: 'B H D D', shiftK: 'B H D D', shiftB: 'B H D 4' } as const;
const bounded = (forms: Record<string, string>, bound: number): Record<string, Drawn> =>
  Object.fromEntries(Object.entries(forms).map(([name, form]) => [name, [form, bound]]));
const same = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, name]));

const KEYED = { initialState: 'B 1 I V' } as const;
/** k is the first: what is lost in it is lost in the state. */
const KEYED_TOKENS: Record<string, Drawn> = {
  k: 'B T H I',
  q: 'B T H I',
  v: 'B T H V',
  keep: ['B T H', 0.7, 1],
};
const FEW: Record<string, number>[] = [
  { B: 1, T: 1 },
  { T: 2, V: 3 },
  { T: 65, I: 5 },
];

/** Lengths and widths that are odd for lanes, segments and blocks. */
const WIDE = [
  ...[1, 2, 65, 200].map((T) => ({ B: 1, T })),
  ...[0, 1, 5, 16, 24, 32].map((D) => ({ D })),
  { B: 1, T: 40, H: 1, D: 64 },
  { B: 1, T: 9, H: 1, D: 128 },
];

export const SEQUENTIAL: SequentialCase[] = [
  {
    name: 'hgrn',
    title: 'a decay per channel',
    inputs: { x: 'B T D', gate: ['B T D', 0.2] },
    states: { initialState: 'B D' },
    stepNames: { initialState: 'state' },
    sizes: [
      { B: 1, T: 1 },
      { T: 2, D: 3 },
      { T: 65, D: 32 },
    ],
  },
  {
    name: 'rwkv4',
    title: 'numerator over denominator',
    inputs: { k: 'B T D', v: 'B T D', timeDecay: 'D', timeFirst: 'D' },
    // A denominator near 0 would make any result of the rounding.
    states: { initialNumerator: ['B D', 0.1], initialDenominator: ['B D', 0.01], initialMax: 'B D' },
    stepNames: { initialNumerator: 'numerator', initialDenominator: 'denominator', initialMax: 'max' },
    sizes: [
      { B: 1, T: 1 },
      { T: 2, D: 3 },
      { T: 31, D: 1 },
      { T: 33, D: 5 },
      { T: 65, D: 32 },
      { T: 1100, D: 2 },
    ],
  },
  {
    name: 'elstm',
    title: 'with its output gate',
    inputs: {
      x: 'B T I',
      weightZ: 'D I',
      weightF: 'D I',
      peepholeZ: 'D',
      peepholeF: 'D',
      biasZ: 'D',
      biasF: 'D',
      gateWeight: 'D I+D',
      gateBias: 'D',
    },
    states: { initialCell: 'B D' },
    stepNames: { initialCell: 'cell' },
    sizes: [
      { B: 1, T: 1 },
      { T: 2, D: 3 },
      { T: 65, D: 32 },
    ],
  },
  {
    name: 'outerProduct1991',
    title: 'sums',
    inputs: { x: 'B T I', Wa: 'V I', Wb: 'I I' },
    states: KEYED,
    stepNames: { initialState: 'state' },
    sizes: FEW,
  },
  {
    name: 'outerProduct1991',
    title: 'squashed, read before the write',
    inputs: { x: 'B T I', Wa: 'V I', Wb: 'I I' },
    states: KEYED,
    stepNames: { initialState: 'state' },
    options: { activation: 'tanh', readAfterWrite: false, scale: 0.5 },
    sizes: FEW,
  },
  {
    name: 'fromTo1992',
    title: 'sums',
    inputs: { from: 'B T I', x: 'B T I', to: 'B T V' },
    states: KEYED,
    stepNames: { initialState: 'state' },
    sizes: FEW,
  },
  {
    name: 'fromTo1992',
    title: 'direct, squashed',
    inputs: { delta: 'B T I V', x: 'B T I' },
    states: KEYED,
    stepNames: { initialState: 'state' },
    options: { interface: 'direct', activation: 'relu' },
    sizes: FEW,
  },
  {
    name: 'slowFastComposition',
    title: 'delta rule on dpfp features',
    inputs: { x: 'B T I', Ws: ['12 I', 0.5], bs: '12' },
    states: { initialState: 'B 1 16 3' },
    stepNames: { initialState: 'state' },
    options: { featureMap: 'dpfp', nu: 2, sumNorm: true, sumNormEps: 1, fastActivation: 'sigmoid' },
    sizes: FEW,
  },
  {
    name: 'slowFastComposition',
    title: 'sum',
    inputs: { x: 'B T I', Ws: '11 I' },
    states: { initialState: 'B 1 3 5' },
    stepNames: { initialState: 'state' },
    options: { updateRule: 'sum', split: ['v', 'k', 'q'], scale: 0.5 },
    sizes: FEW,
  },
  {
    name: 'selfReferential',
    title: 'SRWM',
    inputs: { x: 'B T H D', ...bounded(MATRIX, 0.5) },
    states: bounded(SHIFTS, 0.2),
    stepNames: same('shiftY', 'shiftQ', 'shiftK', 'shiftB'),
    sizes: WIDE,
  },
  {
    name: 'selfReferential',
    title: 'an input of its own for y',
    inputs: { x: 'B T H D', inputY: 'B T H D', ...bounded(MATRIX, 0.5) },
    states: bounded(SHIFTS, 0.2),
    stepNames: same('shiftY', 'shiftQ', 'shiftK', 'shiftB'),
    options: { variant: 'separateY', inputSoftmax: true },
    sizes: [{ B: 1, T: 1 }, { T: 2 }, { D: 13 }],
  },
  {
    name: 'selfReferential',
    title: 'SR-Delta',
    inputs: { x: 'B T H D', ...bounded({ ...MATRIX, wY: 'H D 3D+1' }, 0.5) },
    states: { ...bounded({ ...SHIFTS, shiftY: 'B H D 3D+1' }, 0.2), initialState: ['B H D D', 0.2] },
    stepNames: { ...same('shiftY', 'shiftQ', 'shiftK', 'shiftB'), initialState: 'state' },
    options: { variant: 'smfwp', deltaMemory: true },
    sizes: [{ B: 1, T: 1 }, { D: 11 }],
  },
  {
    name: 'selfModifyingTitans',
    title: 'from its own keys, values and rates',
    inputs: {
      x: 'B T H D',
      q: 'B T H D',
      ...bounded({ wM: 'H D D', wV: 'H D D', wK: 'H D D', wEta: 'H D 1', wAlpha: 'H D 1' }, 0.5),
    },
    states: bounded(
      { shiftM: 'B H D D', shiftV: 'B H D D', shiftK: 'B H D D', shiftEta: 'B H D 1', shiftAlpha: 'B H D 1' },
      0.2,
    ),
    stepNames: same('shiftM', 'shiftV', 'shiftK', 'shiftEta', 'shiftAlpha'),
    options: { alphaBias: 2 },
    sizes: [
      { B: 1, T: 1 },
      { T: 3, D: 0 },
      { T: 17, D: 13 },
    ],
  },
  {
    name: 'recurrentDelta',
    title: 'Recurrent Delta Net',
    inputs: {
      q: 'B T H D',
      k: 'B T H D',
      v: 'B T H D',
      beta: 'B T H',
      recurrentQ: ['H D D', 0.5],
      recurrentK: ['H D D', 0.5],
      recurrentV: ['H D D', 0.5],
      recurrentBeta: ['H D', 0.5],
    },
    states: { initialState: ['B H D D', 0.3], initialOutput: 'B H D' },
    stepNames: { initialState: 'state', initialOutput: 'output' },
    options: { scale: 1 },
    sizes: WIDE,
  },
  ...([1, 2] as const).map((version): SequentialCase => ({
    name: 'deltaRnn',
    title: `version ${version}`,
    inputs: {
      q: 'B T H D',
      k: 'B T H D',
      v: 'B T H D',
      beta: 'B T H',
      recurrentK: 'B T H D',
      recurrentV: 'B T H D',
      recurrentBeta: 'B T H',
    },
    states: { initialState: ['B H D D', 0.3], initialRecurrentState: ['B H D D', 0.3], initialOutput: 'B H D' },
    stepNames: { initialState: 'state', initialRecurrentState: 'recurrentState', initialOutput: 'output' },
    options: { version, ...(version === 2 && { scale: 0.5 }) },
    sizes: version === 2 ? WIDE : [{ D: 11 }],
  })),
  ...([1, 2, 3, 4] as const).map((version): SequentialCase => {
    const parts = { q: 'B T H D', k: 'B T H D', v: 'B T H D', recurrentK: 'B T H D', recurrentV: 'B T H D' };
    const gates = ['I', 'U', 'O'];
    const suffixed = (forms: Record<string, Drawn>): Record<string, Drawn> =>
      Object.fromEntries(gates.flatMap((g) => Object.entries(forms).map(([name, form]) => [name + g, form])));
    const matrices = suffixed({ initialState: ['B H D D', 0.3], initialRecurrentState: ['B H D D', 0.3] });
    return {
      name: 'deltaLstm',
      title: `version ${version}`,
      inputs: suffixed({ ...parts, beta: 'B T H', recurrentBeta: 'B T H' }),
      states: { ...matrices, initialCell: 'B H D', initialOutput: 'B H D' },
      stepNames: Object.fromEntries(
        [...Object.keys(matrices), 'initialCell', 'initialOutput'].map((name) => [
          name,
          name[7].toLowerCase() + name.slice(8),
        ]),
      ),
      options: { version, scale: 1 },
      sizes: version === 4 ? WIDE : [{ D: 11 }],
    };
  }),
  ...PLASTIC,
  ...SCANS,
  ...SLOTS,
  ...SOLVED,
  ...MEMORIES,
  ...(['gradient', 'newtonSchulz'] as const).map((optimiser): SequentialCase => {
    const atlas = optimiser === 'newtonSchulz';
    return {
      name: 'omega',
      title: optimiser,
      inputs: {
        ...KEYED_TOKENS,
        windowGate: ['B T H 3', 0, 0.3],
        ...(atlas && { momentum: ['B T H', 0.3, 0.9], learningRate: ['B T H', 0, 0.2] }),
      },
      states: {
        initialState: ['B H I V', 0.3],
        initialKeys: 'B H 2 I',
        initialValues: 'B H 2 V',
        ...(atlas && { initialMomentum: ['B H I V', 0.3] }),
      },
      stepNames: {
        initialState: 'state',
        initialKeys: 'keys',
        initialValues: 'values',
        ...(atlas && { initialMomentum: 'momentum' }),
      },
      options: { optimiser },
      sizes: [
        { B: 1, T: 1 },
        { T: 17, I: 7 },
      ],
    };
  }),
  ...(['moneta', 'yaad', 'memora'] as const).map((variant): SequentialCase => ({
    name: 'miras',
    title: variant,
    inputs: {
      ...KEYED_TOKENS,
      learningRate: ['B T H', 0, 0.1],
      // Divided by its norm a matrix that has faded grows, and rounding with it.
      ...(variant === 'moneta' && { keep: ['B T H', 0.99, 1], learningRate: ['B T H', 0, 0.01] }),
      ...(variant === 'yaad' && { threshold: ['B T H', 0.5, 2] }),
    },
    states: { initialState: variant === 'memora' ? ['B H I V', 0.1, 1] : ['B H I V', 0.5] },
    stepNames: { initialState: 'state' },
    options: { variant, ...(variant === 'moneta' && { smooth: true }) },
    sizes: [
      { B: 1, T: 1 },
      { T: 17, I: 7 },
    ],
  })),
  {
    name: 'slstm',
    title: 'with its bias',
    inputs: { gates: ['B T 4 H D', 4], recurrent: ['H 4 D D', 0.5], bias: '4 H D' },
    states: { initialHidden: 'B H D', initialCell: 'B H D', initialNormalizer: ['B H D', 0.5, 2], initialMax: 'B H D' },
    stepNames: Object.fromEntries(
      ['Hidden', 'Cell', 'Normalizer', 'Max'].map((name) => [`initial${name}`, name.toLowerCase()]),
    ),
    sizes: [
      { B: 1, T: 1 },
      { T: 2, D: 1 },
      { T: 17, D: 13 },
    ],
  },
  {
    name: 'fastWeightMemory',
    title: 'three hops',
    inputs: { write: 'B T 3D+1', read: 'B T 4D' },
    states: { initialState: ['B D D D', 0.3] },
    stepNames: { initialState: 'state' },
    sizes: [
      { B: 1, T: 1, D: 5 },
      { T: 17, D: 1 },
      { T: 3, D: 16 },
    ],
  },
  {
    name: 'fastWeightMemory',
    title: 'one hop, uneven',
    inputs: { write: 'B T 6D+1', read: 'B T 3D' },
    states: { initialState: ['B D 2D 3D', 0.3] },
    stepNames: { initialState: 'state' },
    options: { hops: 1, readTanh: 'all', writeScale: 1, normCap: 2 },
    sizes: [{ T: 4, D: 3 }],
  },
  {
    name: 'gatedFastWeights2017',
    title: 'highway, affine',
    inputs: { h1: 'B T D', h2: 'B T 2D', t1: 'B T D', t2: 'B T 2D', x: 'B T D', normWeight: '2D', normBias: '2D' },
    states: { initialState: 'B 1 D 2D' },
    stepNames: { initialState: 'state' },
    sizes: [
      { B: 1, T: 1 },
      { T: 9, D: 3 },
    ],
  },
  {
    name: 'gatedFastWeights2017',
    title: 'two products',
    inputs: { h1: 'B T D', h2: 'B T D', t1: 'B T D', t2: 'B T D', x: 'B T D' },
    states: { initialState: 'B 1 D D' },
    stepNames: { initialState: 'state' },
    options: { form: 'twoProducts' },
    sizes: [{ T: 2, D: 5 }],
  },
  {
    name: 'dctRnn',
    title: 'low frequencies',
    // Of weights [4, 3] on diagonal 1 three entries, of [4, 4] on diagonal -1 thirteen.
    inputs: { x: 'B T 3', coefficients: 'B T 16', bias: '4' },
    states: { initialHidden: 'B 4' },
    stepNames: { initialHidden: 'hidden' },
    options: { inputDiagonal: 1, hiddenDiagonal: -1 },
    sizes: [{ B: 1, T: 1 }],
  },
];

export const SIZES = { B: 2, T: 33, H: 2, D: 8, I: 4, V: 6, S: 3 };

/** 'B H D 3D+1' in numbers. */
export function shapeOf(form: string, sizes: Record<string, number>): number[] {
  const term = (text: string): number => {
    const [, count, letter] = /^(\d*)([A-Z]?)$/.exec(text)!;
    return (count === '' ? 1 : Number(count)) * (letter === '' ? 1 : sizes[letter]);
  };
  return form.split(' ').map((dimension) => dimension.split('+').reduce((sum, text) => sum + term(text), 0));
}

/** Whether an input comes token by token. */
export function isPerToken({ inputs }: SequentialCase, name: string): boolean {
  const drawn = inputs[name];
  return drawn !== undefined && (typeof drawn === 'string' ? drawn : drawn[0]).split(' ')[1] === 'T';
}

/** Matrices [..., D, D] with the upper triangle below the diagonal, too. */
function mirrored({ shape, data }: HostTensor): HostTensor {
  const D = shape[shape.length - 1];
  const entry = (i: number): number => {
    const [row, column] = [Math.floor(i / D) % D, i % D];
    return row > column ? i + (column - row) * D + (row - column) : i;
  };
  return { shape, data: data.map((_, i) => data[entry(i)]) };
}

/** Random inputs and states at some sizes. */
export function drawCase(rule: SequentialCase, sizes: Record<string, number>, seed = 7): Record<string, HostTensor> {
  const draw = new Draw(seed);
  const all = { ...rule.inputs, ...rule.states };
  return Object.fromEntries(
    Object.entries(all).map(([name, drawn]) => {
      const [form, low, high] = typeof drawn === 'string' ? [drawn, 1] : drawn;
      const host = draw.uniform(shapeOf(form, sizes), high === undefined ? -low : low, high ?? low);
      return [name, rule.symmetric?.includes(name) ? mirrored(host) : host];
    }),
  );
}

export function toTensors(
  host: Record<string, HostTensor>,
  where: Target,
  requiresGrad = false,
): Record<string, fw.Tensor> {
  return Object.fromEntries(
    Object.entries(host).map(([name, { data, shape }]) => [name, fw.tensor(data, { shape, requiresGrad, ...where })]),
  );
}

export type Results = Record<string, fw.Tensor>;
type AnyRule = ((inputs: object, options: object) => Results) & {
  step: (inputs: object, options: object) => fw.Tensor;
};

/** The rule of a case, in the form that takes one object of inputs; q, k and v go first where the case has them. */
export function ruleOf({ name, inputs }: SequentialCase): AnyRule {
  const rule = (fw as unknown as Record<string, AnyRule>)[name];
  if (!('q' in inputs && 'v' in inputs)) return rule;
  const apart =
    (f: (...all: unknown[]) => unknown) =>
    (given: object, options: object): unknown => {
      const { q, k, v, ...rest } = given as Record<string, unknown>;
      return f(q, k, v, { ...rest, ...options });
    };
  const [whole, step] = [rule, rule.step].map((f) => apart(f as unknown as (...all: unknown[]) => unknown));
  return Object.assign(whole, { step }) as AnyRule;
}
