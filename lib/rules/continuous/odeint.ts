// Ordinary differential equations on tensors.
import {
  argumentError,
  checkChoice,
  checkFunction,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  type DType,
  FastWeightsError,
  formatShape,
  type OptionNames,
  sameShape,
  scope,
  scoped,
  Tensor,
} from '../../core';
import { enableGrad, gradEnabled, noGrad, recording } from '../../autograd';
import { checkFloat, checksValues, stack, toFloat32 } from '../../ops';
import { integrateWithAdjoint } from './adjoint';
import { type OdeField, solve, solveRecorded } from './solve';
import { ODE_METHODS, type OdeMethod, TABLEAUS } from './tableaus';
import type { WalkSettings } from './walk';

export type { OdeField };

/** How a differential equation is solved. */
export interface SolverOptions {
  /**
   * 'dopri5' (Dormand and Prince, steps by their error), the default; with fixed steps 'euler', 'midpoint', 'rk4' (the
   * 3/8 rule, as torchdiffeq has it) and 'rk4Classic'.
   */
  method?: OdeMethod;
  /** The length of fixed steps, by default one from each time to the next; of 'dopri5' the first step that it tries. */
  stepSize?: number | null;
  /** Of 'dopri5': the error of a step may be atol + rtol |y|, root mean square; 1e-5 by default. */
  rtol?: number;
  /** 1e-7 by default. */
  atol?: number;
  /** The most steps, tried ones among them: 100000 by default. */
  maxSteps?: number;
  /** The shortest step that 'dopri5' may need: 1e-12 of the whole time by default. */
  minStep?: number;
  /** Gradients by the adjoint equation, solved backwards; false, through the steps themselves, by default. */
  adjoint?: boolean;
}

/** Options of `odeint`. */
export interface OdeintOptions extends SolverOptions {
  /** What else the field computes with and gradients are to reach. */
  args?: readonly Tensor[];
  /** Whether the field is asked for just inside of a step at its ends, where it may jump; false by default. */
  perturb?: boolean;
}

/** @internal The names of `SolverOptions`. */
export const SOLVER: OptionNames<SolverOptions> = {
  method: true,
  stepSize: true,
  rtol: true,
  atol: true,
  maxSteps: true,
  minStep: true,
  adjoint: 'flag',
};

const OPTIONS: OptionNames<OdeintOptions> = { ...SOLVER, args: true, perturb: 'flag' };

const ROUNDING: Partial<Record<DType, number>> = { float32: 2 ** -23, float64: 2 ** -52 };

/** @internal The smallest rtol that a dtype can tell from rounding. */
export function finestTolerance(dtype: DType): number {
  return 4 * (ROUNDING[dtype] ?? ROUNDING.float32!);
}

const isList = (value: unknown): value is readonly unknown[] => Array.isArray(value);

/** Requires finite numbers: a list of them, or a tensor [T]. */
export function numbersOf(where: string, argument: string, given: unknown, expected: string): number[] {
  let list = given;
  if (given instanceof Tensor) {
    checkFloat(where, argument, given);
    if (given.ndim !== 1) throw argumentError('SHAPE', where, argument, '[T]', formatShape(given.shape));
    list = given.dataSync();
  }
  const values = isList(list) || ArrayBuffer.isView(list) ? Array.from(list as ArrayLike<unknown>) : null;
  if (values?.every((t): t is number => Number.isFinite(t))) return values;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, describe(values ?? given));
}

/** Requires at least `least` times that increase, and gives them as numbers. */
export function checkTimes(where: string, argument: string, times: unknown, least: number): number[] {
  const expected = `at least ${least} finite times that increase`;
  const values = numbersOf(where, argument, times, expected);
  const wrong = values.findIndex((t, i) => i > 0 && t <= values[i - 1]);
  if (wrong < 0 && values.length >= least) return values;
  const found = wrong < 0 ? describe(values) : `${values[wrong]} after ${values[wrong - 1]}`;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, found);
}

/** @internal Checks the options of a solver for a dtype, where that is known, and puts in what is not given. */
export function checkSolver(
  where: string,
  options: SolverOptions & { perturb?: boolean },
  span: number,
  dtype: DType | null,
): WalkSettings {
  const { method, stepSize = null } = options;
  const tableau = TABLEAUS[checkChoice(where, 'method', method ?? 'dopri5', ODE_METHODS)];
  const positive = (name: 'stepSize' | 'atol' | 'minStep', value: number): number => {
    if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
    throw argumentError('INVALID_ARGUMENT', where, name, 'a positive number', describe(value));
  };
  if (stepSize !== null) positive('stepSize', stepSize);
  const rtol = checkNumber(where, 'rtol', options.rtol ?? 1e-5, 0);
  const finest = dtype === null ? 0 : finestTolerance(dtype);
  if (tableau.error && rtol > 0 && rtol < finest) {
    const expected = `0 or at least ${finest.toExponential(1)}, which ${dtype} can tell from rounding`;
    throw argumentError('INVALID_ARGUMENT', where, 'rtol', expected, describe(rtol));
  }
  return {
    where,
    tableau,
    stepSize,
    rtol,
    atol: positive('atol', options.atol ?? 1e-7),
    maxSteps: checkInteger(where, 'maxSteps', options.maxSteps ?? 100_000, 1),
    minStep: positive('minStep', options.minStep ?? Math.max(span * 1e-12, Number.MIN_VALUE)),
    perturb: options.perturb ?? false,
  };
}

/** The field with a check of what it returns. */
function checkedField(where: string, field: OdeField): OdeField {
  return (t, y, args) => {
    const slope: unknown = field(t, y, args);
    const found = slope instanceof Tensor ? `${formatShape(slope.shape)} ${slope.dtype} on ${slope.device}` : null;
    const fits =
      slope instanceof Tensor &&
      sameShape(slope.shape, y.shape) &&
      slope.dtype === y.dtype &&
      slope.device === y.device;
    if (fits) return slope;
    const expected = `a function to ${formatShape(y.shape)} ${y.dtype} on ${y.device}, like its state`;
    throw argumentError('INVALID_ARGUMENT', where, 'field', expected, found ?? describe(slope));
  };
}

/**
 * Solves dy/dt = field(t, y) from y0 at times[0]: y at all of `times`, [T, ...shape of y0]. Differentiable in y0, in
 * `args` and in what else the field computes with, such as the parameters of a module: through the steps, which run again
 * in the backward pass in segments (discretise, then optimise), so that it keeps a state for each segment; or with `adjoint`
 * by the adjoint equation a' = -a df/dy, solved backwards by the same method, whose gradients agree with the former within
 * the tolerance and reach only y0 and `args`: a field that computes with anything else that requires a gradient is GRAPH
 * then. Where neither y0 nor `args` say so, the field is asked once more whether it is to be differentiated. bfloat16
 * computes in float32.
 * States between the ends of fixed steps are linear between them, as in torchdiffeq; 'dopri5' steps through every time, by
 * the error of all of y together: what is in a batch has an influence on its steps.
 *
 * Times that do not increase, an unknown method and a size that is not positive are INVALID_ARGUMENT, and so are a
 * tolerance that cannot be met, with a step below `minStep` or more of them than `maxSteps`, and values that are not finite,
 * in y0 or from the field. Of fixed steps the latter are looked for while checks are on.
 */
export const odeint = scoped(
  (field: OdeField, y0: Tensor, times: readonly number[] | Tensor, options: OdeintOptions = {}): Tensor => {
    checkOptions('odeint', options, OPTIONS);
    checkFunction('odeint', 'field', field, 'a function of t, y and args');
    return integrate('odeint', field, y0, checkTimes('odeint', 'times', times, 2), options);
  },
);

/** @internal `odeint` under another name, of times that were checked; `from` is what y0 comes from. */
export function integrate(
  where: string,
  field: OdeField,
  y0: Tensor,
  times: readonly number[],
  options: OdeintOptions,
  from = 'y0',
): Tensor {
  checkFloat(where, 'y0', y0);
  const { args = [], adjoint = false } = options;
  if (!isList(args)) throw argumentError('INVALID_ARGUMENT', where, 'args', 'a list of tensors', describe(args));
  args.forEach((t: unknown, i) => checkFloat(where, `args[${i}]`, t));
  const settings = checkSolver(where, options, times[times.length - 1] - times[0], toFloat32(y0).dtype);
  const checked = checkedField(where, field);
  const start = toFloat32(y0);
  const checks = checksValues(y0);
  if ((checks || settings.tableau.error) && !isFinite(start)) {
    const found = `values that are not finite at t = ${times[0]}`;
    throw argumentError('INVALID_ARGUMENT', where, from, 'finite', found);
  }
  const given = recording([start, ...args]);
  const open = gradEnabled() && (adjoint || !given) && isOpen(checked, start, args, times[0]);
  if (open && adjoint) {
    const expected = 'every tensor that the field computes with and gradients are to reach';
    throw new FastWeightsError('GRAPH', `${where}: with adjoint, args must hold ${expected}`, {
      argument: 'args',
      expected,
      found: args.length === 0 ? 'an empty list' : 'others',
    });
  }
  const states = !(given || open)
    ? noGrad(() => solve(settings, (t, [y]) => [checked(t, y, args)], [start], times)).map(([y]) => y)
    : adjoint
      ? integrateWithAdjoint(settings, checked, start, args, times)
      : solveRecorded(settings, checked, start, args, times);
  if (checks) requireFinite(where, states, times);
  return stack([start, ...states], 0).to(y0.dtype);
}

/** Whether a field depends on what requires a gradient beside its state and `args`. */
function isOpen(field: OdeField, y0: Tensor, args: readonly Tensor[], t: number): boolean {
  // A parameter may stand among `args` and in the field itself.
  const parameters = args.filter((arg) => arg.node === null && arg.requiresGrad);
  const own = args.map((arg) => (arg.node === null ? arg : arg.detach()));
  try {
    for (const parameter of parameters) parameter.requiresGrad = false;
    return scope(() => enableGrad(() => field(t, y0.detach(), own)).requiresGrad);
  } finally {
    for (const parameter of parameters) parameter.requiresGrad = true;
  }
}

const isFinite = (y: Tensor): boolean => y.dataSync().every((value) => Number.isFinite(value));

function requireFinite(where: string, states: readonly Tensor[], times: readonly number[]): void {
  const lost = states.findIndex((y) => !isFinite(y));
  if (lost < 0) return;
  const found = `values that are not finite between t = ${times[lost]} and ${times[lost + 1]}`;
  throw new FastWeightsError('INVALID_ARGUMENT', `${where}: the field leads to ${found}`, {
    argument: 'field',
    expected: 'finite states',
    found,
  });
}
