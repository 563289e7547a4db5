// A walk from state to state: fixed steps on a grid, or steps chosen by their error (Hairer, Norsett and Wanner 1993, II.4).
import { argumentError, type FastWeightsError, scope, type Tensor } from '../../core';
import { stack } from '../../ops';
import { combine, type Derivative, takeStep } from './step';
import type { Tableau } from './tableaus';

/** How to walk. */
export interface WalkSettings {
  /** Names the function in errors. */
  where: string;
  tableau: Tableau;
  /** Of fixed steps, null for one between neighbouring times; with an error estimate the first one that is tried. */
  stepSize: number | null;
  rtol: number;
  atol: number;
  maxSteps: number;
  minStep: number;
  perturb: boolean;
}

/** Where a walk is: what is known there, and how many steps it has tried. */
export interface Place {
  t: number;
  states: readonly Tensor[];
  /** The next step to try. */
  size: number | null;
  tried: number;
}

/** A part of a walk: the ends of its steps, the states at the times that lie in it, and where it led. */
export interface Part {
  ends: number[];
  outputs: Tensor[][];
  place: Place;
}

/** The ends of fixed steps through `times`; the last one ends at the last time. */
export function gridOf({ where, stepSize, maxSteps }: WalkSettings, times: readonly number[]): number[] {
  if (stepSize === null) return times.slice(1);
  const [start, end] = [times[0], times[times.length - 1]];
  const steps = Math.max(1, Math.ceil(Math.abs(end - start) / stepSize + 1) - 1);
  if (steps > maxSteps) {
    const found = `${steps} steps of ${stepSize} from ${start} to ${end}`;
    throw argumentError('INVALID_ARGUMENT', where, 'stepSize', `at most maxSteps ${maxSteps} steps`, found);
  }
  const size = end < start ? -stepSize : stepSize;
  return Array.from({ length: steps }, (_, i) => (i === steps - 1 ? end : start + (i + 1) * size));
}

/** The states at those `times` that lie in a step, linear between its ends. */
function between(
  times: readonly number[],
  from: number,
  to: number,
  before: readonly Tensor[],
  after: Tensor[],
): Tensor[][] {
  const forward = to > from;
  return times
    .filter((t) => (forward ? t > from && t <= to : t < from && t >= to))
    .map((t) => (t === to ? after : before.map((y, i) => y.add(after[i].sub(y).mul((t - from) / (to - from))))));
}

/** Steps that end where `ends` says. */
export function walkTo(
  { tableau, perturb }: WalkSettings,
  derivative: Derivative,
  start: Place,
  ends: readonly number[],
  times: readonly number[],
): Part {
  let { t, states } = start;
  let first: Tensor[] | null = null;
  const outputs: Tensor[][] = [];
  for (const to of ends) {
    const stepped = takeStep(tableau, derivative, { from: t, to, states, first }, perturb);
    outputs.push(...between(times, t, to, states, stepped.states));
    [t, states, first] = [to, stepped.states, tableau.error ? stepped.stages[stepped.stages.length - 1] : null];
  }
  return { ends: [...ends], outputs, place: { ...start, t, states } };
}

/** The largest root mean square among lists of quotients, NaN where one is; what has no values has 0. */
function largest(quotients: readonly Tensor[]): number {
  const squares = quotients.filter((q) => q.size > 0).map((q) => q.square().mean());
  if (squares.length === 0) return 0;
  const values = stack(squares, 0).dataSync();
  return Math.sqrt(Math.max(...values));
}

/** atol + rtol max(|y|, |other|) for every state. */
function scales({ rtol, atol }: WalkSettings, states: readonly Tensor[], others: readonly Tensor[] = states): Tensor[] {
  return states.map((y, i) => {
    const size = others === states ? y.abs() : y.abs().maximum(others[i].abs());
    return size.mul(rtol).add(atol);
  });
}

/** A first step of which the error will be of the order of the tolerance; positive. */
function firstStep(
  settings: WalkSettings,
  derivative: Derivative,
  { t, states }: Place,
  first: readonly Tensor[],
  end: number,
): number {
  const scale = scales(settings, states);
  const norm = (x: readonly Tensor[]): number => largest(x.map((value, i) => value.div(scale[i])));
  const [y, slope] = [norm(states), norm(first)];
  const span = Math.abs(end - t);
  // What is not finite here is found by the step itself.
  const orElse = (size: number, other: number): number => Math.min(Number.isFinite(size) ? size : other, span);
  const trial = orElse(y < 1e-5 || slope < 1e-5 ? 1e-6 : (0.01 * y) / slope, 1e-6);
  const h = Math.sign(end - t) * trial;
  const moved = derivative(t + h, combine(states, [first], [h]));
  const change = norm(moved.map((slope1, i) => slope1.sub(first[i]))) / trial;
  const most = Math.max(slope, change);
  const size = most <= 1e-15 ? Math.max(1e-6, trial * 1e-3) : (0.01 / most) ** (1 / (settings.tableau.order + 1));
  return Math.min(orElse(size, trial), 100 * trial);
}

/** Up to `count` steps, each as long as its error allows, through every one of `times` to the last. */
export function walkAdaptively(
  settings: WalkSettings,
  derivative: Derivative,
  start: Place,
  times: readonly number[],
  count: number,
): Part {
  const { tableau, maxSteps, minStep, stepSize, perturb, where } = settings;
  const end = times[times.length - 1];
  const forward = end > start.t;
  let { t, states, size, tried } = start;
  let first = scope(() => derivative(t, states));
  size ??= stepSize ?? scope(() => firstStep(settings, derivative, start, first, end));
  const ends: number[] = [];
  const outputs: Tensor[][] = [];
  let finite = true;
  while (ends.length < count && t !== end) {
    if (size < minStep) throw outOfReach(settings, `a step of ${size.toExponential(1)}`, t, finite);
    if (tried++ >= maxSteps) throw tooMany(where, maxSteps, t, end);
    const next = times.find((time) => (forward ? time > t : time < t))!;
    // Rather a little longer than a rest that is hardly a step.
    const cut: boolean = size * 1.01 >= Math.abs(next - t);
    const to: number = cut ? next : t + (forward ? size : -size);
    const h: number = to - t;
    const trial = scope(() => {
      const stepped = takeStep(tableau, derivative, { from: t, to, states, first }, perturb);
      const errors = combine(
        states.map(() => null),
        stepped.stages,
        tableau.error!.map((weight) => weight * h),
      );
      const scale = scales(settings, states, stepped.states);
      const ratio = largest(errors.map((error, i) => error.div(scale[i])));
      return ratio <= 1
        ? { ratio, states: stepped.states, last: stepped.stages[stepped.stages.length - 1] }
        : { ratio };
    });
    finite = Number.isFinite(trial.ratio);
    const factor = finite ? Math.min(10, Math.max(0.2, 0.9 * trial.ratio ** -0.2)) : 0.2;
    if (trial.states === undefined) {
      size = Math.abs(h) * Math.min(0.9, factor);
      continue;
    }
    outputs.push(...between(times, t, to, states, trial.states));
    ends.push(to);
    size = cut ? Math.max(size, Math.abs(h) * factor) : Math.abs(h) * factor;
    [t, states, first] = [to, trial.states, trial.last];
  }
  return { ends, outputs, place: { t, states, size, tried } };
}

function outOfReach({ where, rtol, atol }: WalkSettings, step: string, t: number, finite: boolean): FastWeightsError {
  if (!finite) {
    const found = `values that are not finite after ${step} at t = ${t}`;
    return argumentError('INVALID_ARGUMENT', where, 'field', 'finite', found);
  }
  const found = `${rtol} (atol ${atol}), which would need ${step} at t = ${t}`;
  return argumentError('INVALID_ARGUMENT', where, 'rtol', 'a tolerance that can be met', found);
}

function tooMany(where: string, maxSteps: number, t: number, end: number): FastWeightsError {
  const found = `${maxSteps}, after which it is at t = ${t} of ${end}`;
  return argumentError('INVALID_ARGUMENT', where, 'maxSteps', 'enough for the tolerance', found);
}
