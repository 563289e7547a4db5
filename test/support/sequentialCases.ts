// One description of every sequential rule for the tests: its inputs and states as shapes in letters, with their ranges.
import * as fw from '../../lib';
import { Draw, type HostTensor } from './ruleInputs';
import type { Target } from './golden';

/** A shape in letters, and the bound of uniform values around 0 (1 by default). */
type Drawn = string | [form: string, bound: number];

export interface SequentialCase {
  name: keyof typeof fw;
  title: string;
  inputs: Record<string, Drawn>;
  /** Under the names that the inputs have for initial states. */
  states: Record<string, Drawn>;
  /** Names of the same states in `step`. */
  stepNames: Record<string, string>;
  options?: Record<string, unknown>;
  /** Further tests at these sizes; B 2, T 33, H 2, D 8, I 4, V 6 otherwise. */
  sizes: Record<string, number>[];
}

const MATRIX = { wY: 'H D D', wQ: 'H D D', wK: 'H D D', wB: 'H D 4' } as const;
const SHIFTS = { shiftY: 'B H D D', shiftQ: 'B H D D', shiftK: 'B H D D', shiftB: 'B H D 4' } as const;
const bounded = (forms: Record<string, string>, bound: number): Record<string, Drawn> =>
  Object.fromEntries(Object.entries(forms).map(([name, form]) => [name, [form, bound]]));
const same = (...names: string[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, name]));

const KEYED = { initialState: 'B 1 I V' } as const;
const FEW: Record<string, number>[] = [
  { B: 1, T: 1 },
  { T: 2, V: 3 },
  { T: 65, I: 5 },
];

export const SEQUENTIAL: SequentialCase[] = [
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
    sizes: [
      ...[1, 2, 65, 200].map((T) => ({ B: 1, T })),
      ...[1, 5, 16, 24, 32].map((D) => ({ D })),
      { B: 1, T: 40, H: 1, D: 64 },
      { B: 1, T: 9, H: 1, D: 128 },
    ],
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
];

export const SIZES = { B: 2, T: 33, H: 2, D: 8, I: 4, V: 6 };

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

/** Random inputs and states at some sizes. */
export function drawCase(rule: SequentialCase, sizes: Record<string, number>, seed = 7): Record<string, HostTensor> {
  const draw = new Draw(seed);
  const all = { ...rule.inputs, ...rule.states };
  return Object.fromEntries(
    Object.entries(all).map(([name, drawn]) => {
      const [form, bound] = typeof drawn === 'string' ? [drawn, 1] : drawn;
      return [name, draw.uniform(shapeOf(form, sizes), -bound, bound)];
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

export const ruleOf = (rule: SequentialCase): AnyRule => (fw as unknown as Record<string, AnyRule>)[rule.name];
