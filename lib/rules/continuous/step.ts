// One step of a Runge-Kutta method on a list of states.
import type { Tensor } from '../../core';
import type { Tableau } from './tableaus';

/** The derivatives of some states at a time. */
export type Derivative = (t: number, states: readonly Tensor[]) => Tensor[];

/** What a step starts from. */
export interface StepStart {
  from: number;
  to: number;
  states: readonly Tensor[];
  /** The derivative at `from`, where it is known. */
  first?: Tensor[] | null;
}

/** A step, and what its error is estimated from and the next one may start with. */
export interface Stepped {
  states: Tensor[];
  stages: Tensor[][];
}

/** y + sum_j weights_j k_j for every state; terms of weight 0 are left out. */
export function combine(
  y: readonly (Tensor | null)[],
  stages: readonly (readonly Tensor[])[],
  weights: readonly number[],
): Tensor[] {
  return y.map((start, i) => {
    let sum = start;
    weights.forEach((weight, j) => {
      if (weight === 0) return;
      const term = weight === 1 ? stages[j][i] : stages[j][i].mul(weight);
      sum = sum === null ? term : sum.add(term);
    });
    return sum!;
  });
}

/** The next number after t on the way to `toward`. */
function nudged(t: number, toward: number): number {
  return t + Math.sign(toward - t) * (Math.abs(t) * Number.EPSILON || Number.MIN_VALUE);
}

/** With `perturb` the derivative is asked for just inside of the step at its ends. */
export function takeStep(
  { c, a, b, error }: Tableau,
  derivative: Derivative,
  { from, to, states, first = null }: StepStart,
  perturb: boolean,
): Stepped {
  const h = to - from;
  const timeOf = (share: number): number => {
    if (share === 0) return perturb ? nudged(from, to) : from;
    if (share === 1) return perturb ? nudged(to, from) : to;
    return from + share * h;
  };
  const scaled = (weights: readonly number[]): number[] => weights.map((weight) => weight * h);
  const stages: Tensor[][] = [];
  let reached = states;
  c.forEach((share, i) => {
    if (i > 0) reached = combine(states, stages, scaled(a[i]));
    stages.push((i === 0 ? first : null) ?? derivative(timeOf(share), reached));
  });
  // Where there is an error estimate the last stage stands at the end of the step.
  return { states: error ? [...reached] : combine(states, stages, scaled(b)), stages };
}
