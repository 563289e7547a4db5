// Classifiers of irregularly sampled sequences by fast weights in continuous time (Irie, Faccio and Schmidhuber 2022;
// spec 2.6.3).
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  type OptionNames,
  scope,
  Tensor,
} from '../../core';
import { Linear } from '../../nn';
import { checkFloat, tensor, type TensorOptions, toFloat32 } from '../../ops';
import {
  evaluateSpline,
  type FieldOptions,
  naturalCubicSpline,
  type NaturalCubicSpline,
  odeParts,
  type SolverOptions,
} from '../../rules';
import { checkHeads, QueriedFastWeights, VectorField } from './vectorField';

const { checkField, checkSolver, checkTimes, controlAt, FIELD, integrate, packSpline, SOLVER, solverOf } = odeParts;

/** Sizes of a model that reads an answer from its fast weights, and what its parts do. */
export interface ContinuousSizes {
  /** Channels of the control. */
  inputChannels: number;
  /** The width of all heads together. */
  hiddenSize: number;
  /** Values of an answer. */
  outputSize: number;
  /** The width between the two layers of the feed-forward block, 4 hiddenSize by default. */
  ffDim?: number;
  /** Probability while training, 0 by default. */
  dropout?: number;
}

/** @internal */
export const SIZES: OptionNames<ContinuousSizes> = {
  inputChannels: true,
  hiddenSize: true,
  outputSize: true,
  ffDim: true,
  dropout: true,
};

/** @internal Checks sizes and the options of the solver, and puts defaults of the sizes in. */
export function checkSizes(where: string, options: ContinuousSizes & SolverOptions): Required<ContinuousSizes> {
  checkSolver(where, options, 1, null);
  const { inputChannels, hiddenSize, outputSize } = options;
  return {
    inputChannels: checkInteger(where, 'inputChannels', inputChannels, 1),
    hiddenSize: checkInteger(where, 'hiddenSize', hiddenSize, 1),
    outputSize: checkInteger(where, 'outputSize', outputSize, 1),
    ffDim: checkInteger(where, 'ffDim', options.ffDim ?? 4 * hiddenSize, 1),
    dropout: checkNumber(where, 'dropout', options.dropout ?? 0, 0, 1),
  };
}

/**
 * 'ode', 'cde1', 'cde2' and 'dxOnly' as in `cdeFastWeights`; 'cde3' is 'cde2' with the state transposed before it is read,
 * an ablation.
 */
export type OdeModelFamily = 'ode' | 'cde1' | 'cde2' | 'cde3' | 'dxOnly';

const FAMILIES = ['cde2', 'ode', 'cde1', 'cde3', 'dxOnly'] as const satisfies readonly OdeModelFamily[];

/** The configuration of an `OdeModel`: sizes, field ('cde2', 'delta', 8 heads by default) and solver ('rk4' by default). */
export interface OdeModelOptions extends ContinuousSizes, FieldOptions<OdeModelFamily>, SolverOptions {}

const OPTIONS: OptionNames<OdeModelOptions> = { ...SIZES, ...FIELD, ...SOLVER };

/** What `forward` of a model of sequences takes beside them. */
export interface OdeForwardOptions {
  /** The position of each sequence's last observation, [B] int32 or a list; the last one of all by default. */
  finalIndex?: Tensor | readonly number[] | null;
  /** 0 where x is missing, [B, L, C]; so is what is NaN. */
  observed?: Tensor | null;
  /** The state [B, H, K, V] at the first time; by default the field there without a state. */
  initialState?: Tensor | null;
}

const FORWARD: OptionNames<OdeForwardOptions> = { finalIndex: true, observed: true, initialState: true };

/** The control of a sequence, when it ends, and how it is solved. */
export interface DrivenSequence {
  times: readonly number[];
  spline: NaturalCubicSpline;
  /** For every member its last observation. */
  ends: readonly number[];
  solver: SolverOptions;
}

/** @internal Checks sequences and puts a spline through them; fixed steps are as long as the shortest gap by default. */
export function driven(
  where: string,
  x: Tensor,
  times: Tensor | readonly number[],
  { finalIndex, observed }: OdeForwardOptions,
  options: SolverOptions,
): DrivenSequence {
  checkFloat(where, 'x', x);
  const knots = checkTimes(where, 'times', times, 2);
  const spline = naturalCubicSpline(knots, toFloat32(x), { observed });
  const [B, L] = x.shape;
  const given: unknown = finalIndex instanceof Tensor ? [...finalIndex.dataSync()] : (finalIndex ?? null);
  const ends = given === null ? new Array<number>(B).fill(L - 1) : given;
  const fits = (end: unknown): boolean => Number.isInteger(end) && (end as number) >= 0 && (end as number) < L;
  if (!Array.isArray(ends) || ends.length !== B || !ends.every(fits)) {
    const expected = `${B} positions from 0 to ${L - 1}`;
    throw argumentError('INVALID_ARGUMENT', where, 'finalIndex', expected, describe(ends));
  }
  const solver = solverOf(options, spline.a);
  const shortest = Math.min(...knots.slice(1).map((t, i) => t - knots[i]));
  const stepSize = solver.stepSize ?? (solver.method === 'dopri5' ? null : shortest);
  return { times: knots, spline, ends: ends as number[], solver: { ...solver, stepSize } };
}

/** @internal Of states [times, B, ...] at the ends of all members, each member's own. */
export function ownStates(
  where: string,
  { times, ends, solver }: DrivenSequence,
  field: (t: number, y: Tensor, args: readonly Tensor[]) => Tensor,
  start: Tensor,
  args: readonly Tensor[],
): Tensor {
  const positions = [...new Set([0, ...ends, times.length - 1])].sort((a, b) => a - b);
  const outputTimes = positions.map((at) => times[at]);
  const states = integrate(where, field, start, outputTimes, { ...solver, args }, 'initialState');
  const B = ends.length;
  const rows = Int32Array.from(ends, (end, b) => positions.indexOf(end) * B + b);
  const index = tensor(rows, { device: start.device, dtype: 'int32', shape: [B] });
  return states.flatten(0, 1).indexSelect(0, index);
}

/**
 * Sequences x [B, L, C] observed at `times` to answers [B, outputSize]: a natural cubic spline through x drives the fast
 * weights from the field at the first time to each sequence's last observation; a query reads them once. By the program
 * (`as` 'code') the query is of the control at the last of all times, by the paper at the sequence's own last one. With
 * 'cde1' and 'cde3' the state is transposed before it is read. Published state dictionaries also hold an
 * `initial_network`, which nothing reads: `loadStateDict` with `strict: false`.
 */
export class OdeModel extends QueriedFastWeights {
  /** [outputSize, hiddenSize] */
  linear: Linear;
  /** The options, complete but for those of the solver. */
  readonly config: Readonly<OdeModelOptions>;

  constructor(options: OdeModelOptions, place: TensorOptions = {}) {
    const where = 'OdeModel';
    checkOptions<object>(where, options, OPTIONS);
    const sizes = checkSizes(where, options);
    const family = checkChoice(where, 'family', options.family ?? 'cde2', FAMILIES);
    const fields = ['ode', 'cde1', 'cde2', 'dxOnly'] as const;
    const own = { heads: 8, ...options, family: family === 'cde3' ? 'cde2' : family };
    const settings = checkField(where, own, fields);
    checkHeads(where, sizes.hiddenSize, settings.heads);
    const { inputChannels, hiddenSize } = sizes;
    super(new VectorField(settings, inputChannels, hiddenSize, place), sizes, place);
    this.linear = new Linear(hiddenSize, sizes.outputSize, place);
    this.config = { ...options, ...settings, ...sizes, family };
  }

  /** x [B, L, C] with NaN where it is missing, L times that increase: [B, outputSize]. */
  forward(x: Tensor, times: Tensor | readonly number[], options: OdeForwardOptions = {}): Tensor {
    checkOptions('OdeModel', options, FORWARD);
    return scope(() => {
      const sequence = driven('OdeModel', x, times, options, this.config);
      const { times: knots, spline, ends } = sequence;
      const packed = packSpline(spline);
      const field = this.update_net;
      const at = (t: number, coefficients: Tensor, state: Tensor | null): Tensor => {
        const control = controlAt(knots, coefficients, t);
        return field.forward(control.x, control.dx, state);
      };
      const start = toFloat32(options.initialState) ?? at(knots[0], packed, null);
      const args = [packed, ...field.parameters()];
      const state = ownStates('OdeModel', sequence, (t, y, [own]) => at(t, own, y), start, args);
      const { family, as } = this.config;
      const transposed = family === 'cde1' || family === 'cde3' ? state.transpose(2, 3) : state;
      const last = ends.map((end) => knots[as === 'paper' ? end : knots.length - 1]);
      const { values, derivatives } = ownControls(spline, last);
      const input = family === 'ode' || family === 'cde1' ? values : derivatives;
      return this.linear.forward(this.read(transposed, input));
    });
  }
}

/** @internal Value and derivative [B, C] of each member's control at its own time. */
export function ownControls(
  spline: NaturalCubicSpline,
  times: readonly number[],
): { values: Tensor; derivatives: Tensor } {
  const distinct = [...new Set(times)];
  const found = evaluateSpline(spline, distinct);
  const rows = Int32Array.from(times, (t, b) => b * distinct.length + distinct.indexOf(t));
  const index = tensor(rows, { device: spline.a.device, dtype: 'int32', shape: [times.length] });
  const pick = (all: Tensor): Tensor => all.flatten(0, 1).indexSelect(0, index);
  return { values: pick(found.values), derivatives: pick(found.derivatives) };
}
