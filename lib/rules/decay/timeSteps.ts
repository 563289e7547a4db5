// Steps in time as inputs: what the rules of Mamba make of dt.
import { argumentError, describe, type OptionNames, type Tensor } from '../../core';
import { toFloat32 } from '../../ops';

/** Steps in time, as the rules of Mamba take them. */
export interface TimeStepOptions {
  /** Whether steps in time go through softplus, true by default. */
  dtSoftplus?: boolean;
  /** Least and largest step in time, behind the softplus; [0, Infinity] by default. They hold for single tokens, too. */
  dtLimit?: readonly number[] | null;
}

export const TIME_STEP_OPTIONS: OptionNames<TimeStepOptions> = { dtSoftplus: 'flag', dtLimit: true };

/** What is done to dt, with the defaults filled in. */
export interface TimeSteps {
  softplus: boolean;
  low: number;
  high: number;
}

/** Checks how steps in time are made. */
export function readTimeSteps(where: string, { dtSoftplus, dtLimit }: TimeStepOptions): TimeSteps {
  const [low, high, ...more]: readonly unknown[] = dtLimit == null ? [0, Infinity] : Array.from(dtLimit);
  const fits = typeof low === 'number' && typeof high === 'number' && 0 <= low && low < Infinity && low <= high;
  if (fits && more.length === 0) return { softplus: dtSoftplus ?? true, low, high };
  const expected = '[least, largest] with 0 <= least <= largest';
  throw argumentError('INVALID_ARGUMENT', where, 'dtLimit', expected, describe(dtLimit));
}

/** dt + dtBias through softplus and within the limits; float32 beside bfloat16. */
export function timeSteps(dt: Tensor, dtBias: Tensor | null, { softplus, low, high }: TimeSteps): Tensor {
  const biased = dtBias ? toFloat32(dt).add(toFloat32(dtBias)) : toFloat32(dt);
  const steps = softplus ? biased.softplus() : biased;
  return low > 0 || high < Infinity || !softplus ? steps.clamp(low, high) : steps;
}
