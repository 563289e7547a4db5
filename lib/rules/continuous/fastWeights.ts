// Fast weights in continuous time: a learning rule that a control drives (Irie, Faccio and Schmidhuber 2022; spec 2.6).
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkObject,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
  scoped,
  type Tensor,
} from '../../core';
import { checkFloat, layerNorm, linear, toFloat32 } from '../../ops';
import { checkShapes, type Sizes } from '../sequential/shapes';
import { controlAt, packSpline } from './control';
import {
  checkPostTanh,
  type FieldFamily,
  type FieldSettings,
  fieldWeights,
  type Layers,
  LEARNING_RULES,
  learningField,
  type LearningRule,
} from './field';
import { checkSolver, checkTimes, finestTolerance, integrate, SOLVER, type SolverOptions } from './odeint';
import { naturalCubicSpline } from './spline';

/** What field drives fast weights. */
export interface FieldOptions<F extends string = FieldFamily> {
  /** Where keys and values come from; 'ode' alone in `odeFastWeights`, else 'cde2' by default. */
  family?: F;
  /** 'delta' by default. */
  learningRule?: LearningRule;
  /** The number of heads, 1 by default. */
  heads?: number;
  /** Of the delta rule: tanh after the subtraction and not of the values, refused of others; false by default. */
  postTanh?: boolean;
  /** A norm and another layer behind that of the values, not in 'ode'; false by default. */
  valueLayerNorm?: boolean;
  /** Which form of the rules, where the paper and its program differ: 'code', of the program, by default. */
  as?: 'code' | 'paper';
}

/** Options of `odeFastWeights` and `cdeFastWeights`; those of the solver are for sequences, by default 'rk4'. */
export interface ContinuousOptions<F extends FieldFamily = FieldFamily> extends FieldOptions<F>, SolverOptions {
  /** The field without a state, which is not given then: false by default. */
  initialValue?: boolean;
  /** Whether the state at the first time is the field there without a state; by default where `initialState` is not given. */
  initialFromControl?: boolean;
  /** Also return the state at the last time. */
  outputFinalState?: boolean;
}

/** @internal The names of `FieldOptions`. */
export const FIELD: OptionNames<FieldOptions> = {
  family: true,
  learningRule: true,
  heads: true,
  postTanh: 'flag',
  valueLayerNorm: 'flag',
  as: true,
};

const OPTIONS: OptionNames<ContinuousOptions> = {
  ...SOLVER,
  ...FIELD,
  initialValue: 'flag',
  initialFromControl: 'flag',
  outputFinalState: 'flag',
};

/**
 * The control, and the weights of the slow net under their published names (`input_proj.weight`, ...). One evaluation of the
 * field: `x` and, but in 'ode', `dx` [B, C], and a `state` [B, H, K, V] unless `initialValue`. A sequence: x [B, L, C] at
 * `times`, with NaN where it is missing, the `outputTimes`, by default `times`, and an `initialState`.
 */
export interface ContinuousInputs {
  /** [B, C], or [B, L, C] beside `times`. */
  x: Tensor;
  /** The derivative of the control, [B, C]. */
  dx?: Tensor | null;
  /** [B, H, K, V] */
  state?: Tensor | null;
  /** Of the observations, L that increase. */
  times?: Tensor | readonly number[] | null;
  /** At which the state is returned; the first one is where it starts. Before and after `times` the ends of the spline go on. */
  outputTimes?: Tensor | readonly number[] | null;
  /** At the first of the output times. */
  initialState?: Tensor | null;
  /** 0 where x is missing, [B, L, C]. */
  observed?: Tensor | null;
  /** The weights. */
  [weight: string]: Tensor | readonly number[] | null | undefined;
}

/** What `odeFastWeights` and `cdeFastWeights` return. */
export interface ContinuousResult {
  /** The field [B, H, K, V], or for a sequence the state at the output times, [B, times, H, K, V]. */
  output: Tensor;
  /** The state at the last time, with `outputFinalState`. */
  finalState?: Tensor;
}

/** Layers whose weights are in a record; what is called a norm is one. */
export function layersOf(weights: Readonly<Record<string, Tensor>>): Layers {
  return (name, x) => {
    const [weight, bias] = [weights[`${name}.weight`], weights[`${name}.bias`]];
    return name.includes('norm') ? layerNorm(x, weight, bias) : linear(x, weight, bias);
  };
}

/** @internal Checks the options of a field. */
export function checkField<F extends FieldFamily>(
  where: string,
  options: FieldOptions<F>,
  families: readonly F[],
): FieldSettings {
  const learningRule = checkChoice(where, 'learningRule', options.learningRule ?? 'delta', LEARNING_RULES);
  checkPostTanh(where, learningRule, options.postTanh);
  return {
    family: checkChoice(where, 'family', options.family ?? families[0], families),
    learningRule,
    heads: checkInteger(where, 'heads', options.heads ?? 1, 1),
    postTanh: options.postTanh ?? false,
    valueLayerNorm: options.valueLayerNorm ?? false,
    as: checkChoice(where, 'as', options.as ?? 'code', ['code', 'paper']),
  };
}

/** @internal Options of a solver, with 'rk4' by default and a tolerance that the dtype has. */
export function solverOf(options: SolverOptions, like: Tensor): SolverOptions {
  const { method = 'rk4', rtol, stepSize, atol, maxSteps, minStep, adjoint } = options;
  const own = { method, stepSize, atol, maxSteps, minStep, adjoint };
  return rtol ? { ...own, rtol: Math.max(rtol, finestTolerance(like.dtype)) } : { ...own, rtol };
}

/** Requires what a sequence or one evaluation of the field takes, and nothing of the other. */
function checkInputs(where: string, inputs: ContinuousInputs, settings: FieldSettings, initialValue: boolean): void {
  const weights = fieldWeights(settings);
  const known = ['x', ...(inputs.times ? ['times', 'outputTimes', 'initialState', 'observed'] : ['dx', 'state'])];
  const names = Object.fromEntries([...known, ...Object.keys(weights)].map((name) => [name, true]));
  checkOptions<object>(where, inputs, names);
  checkFloat(where, 'x', inputs.x);
  const sizes: Sizes = { H: settings.heads };
  checkShapes(where, inputs as Record<string, Tensor>, { x: inputs.times ? 'B L C' : 'B C', ...weights }, sizes);
  if (sizes.D % sizes.H !== 0) {
    const expected = `a divisor of the width ${sizes.D}`;
    throw argumentError('INVALID_ARGUMENT', where, 'heads', expected, describe(sizes.H));
  }
  sizes.K = sizes.D / sizes.H;
  const rest: Record<string, string> = inputs.times
    ? { initialState: 'B H K K?' }
    : { ...(settings.family !== 'ode' && { dx: 'B C' }), ...(!initialValue && { state: 'B H K K' }) };
  checkShapes(where, inputs as Record<string, Tensor>, rest, sizes, inputs.x);
  if (initialValue && inputs.state) {
    throw argumentError(
      'INVALID_ARGUMENT',
      where,
      'state',
      'left out with initialValue',
      formatShape(inputs.state.shape),
    );
  }
}

function define<F extends FieldFamily>(
  where: string,
  families: readonly F[],
): (inputs: ContinuousInputs, options?: ContinuousOptions<F>) => ContinuousResult {
  return scoped((inputs: ContinuousInputs, options: ContinuousOptions<F> = {}): ContinuousResult => {
    checkObject(where, 'inputs', inputs);
    checkOptions<object>(where, options, OPTIONS);
    const settings = checkField(where, options, families);
    checkSolver(where, options, 1, null);
    checkInputs(where, inputs, settings, options.initialValue ?? false);
    const names = Object.keys(fieldWeights(settings));
    const weights = names.map((name) => toFloat32(inputs[name] as Tensor));
    const layers = (own: readonly Tensor[]): Layers =>
      layersOf(Object.fromEntries(names.map((name, i) => [name, own[i]])));
    const { times: given } = inputs;
    const { dtype } = inputs.x;
    const [x, dx, state] = [inputs.x, inputs.dx ?? inputs.x, inputs.state ?? null].map(toFloat32) as [
      Tensor,
      Tensor,
      Tensor | null,
    ];
    if (!given) return { output: learningField(settings, layers(weights), x, dx, state).to(dtype) };
    const times = checkTimes(where, 'times', given, 2);
    const outputTimes = inputs.outputTimes ? checkTimes(where, 'outputTimes', inputs.outputTimes, 2) : times;
    const packed = packSpline(naturalCubicSpline(times, x, { observed: inputs.observed }));
    const fromControl = options.initialFromControl ?? !inputs.initialState;
    if (fromControl === Boolean(inputs.initialState)) {
      const expected = fromControl ? 'left out with initialFromControl' : 'given without initialFromControl';
      throw argumentError('INVALID_ARGUMENT', where, 'initialState', expected, describe(inputs.initialState));
    }
    const fieldAt = (t: number, y: Tensor | null, [coefficients, ...own]: readonly Tensor[]): Tensor => {
      const control = controlAt(times, coefficients, t);
      return learningField(settings, layers(own), control.x, control.dx, y);
    };
    const args = [packed, ...weights];
    const start = toFloat32(inputs.initialState) ?? fieldAt(outputTimes[0], null, args);
    const from = inputs.initialState ? 'initialState' : 'field';
    const states = integrate(where, fieldAt, start, outputTimes, { ...solverOf(options, x), args }, from);
    const output = states.movedim(0, 1).to(dtype);
    return options.outputFinalState ? { output, finalState: states.select(0, -1) } : { output };
  });
}

/**
 * Fast weights that a control x(t) writes directly: dS/dt = F(S, x(t)) with keys, values and strengths of
 * kvb_net(LN(input_proj(x))), by Hebb's, Oja's or the delta rule (`as`: of the paper or of its program, which differs for
 * Oja's). A sequence is a natural cubic spline through x; see `ContinuousInputs`. An `rtol` below what the dtype can tell
 * from rounding counts as the least that it can. Errors of the solver are those of `odeint`.
 */
export const odeFastWeights = define('odeFastWeights', ['ode']);

/**
 * Fast weights that a control writes with its derivative: dS/dt = F(S, x(t), x'(t)). 'cde2' (keys from x', values from x) with
 * the delta rule is the best form of the paper; 'cde1' is the other way round, and its state is transposed before it is
 * read; 'dxOnly' takes both from x'. Hebb's rule of the program (`as` 'code') multiplies by the strength before its sigmoid,
 * and in 'dxOnly' subtracts like the delta rule. Else like `odeFastWeights`.
 */
export const cdeFastWeights = define('cdeFastWeights', ['cde2', 'cde1', 'dxOnly']);
