// Learning-rate schedules: pure functions of the step, so that resuming needs nothing but its number.
import { argumentError, checkInteger, checkNumber, checkOptions, type OptionNames } from '../core';

/** Factor of the base learning rate at a step counted from 0; `LRScheduler` attaches it to an optimiser. */
export interface Schedule {
  (step: number): number;
  /** What momentum is at a step, where the schedule says so, too: of Adam and Lion the first of `betas`. */
  momentum?(step: number): number;
}

/** How `linear` and `cosine` begin and end. */
export interface DecayOptions {
  /** Steps of linear warm-up from 1 / warmup to 1, at most `total`; 0. */
  warmup?: number;
  /** The factor at the end, 0 to 1; 0. */
  floor?: number;
}

const DECAY: OptionNames<DecayOptions> = { warmup: true, floor: true };

/** 1 at every step. */
export const constant: Schedule = () => 1;

/** Warm-up, then `shape`, from 1 to 0 over progress from 0 to 1, brought above the floor. */
function decay(
  where: string,
  total: number,
  options: DecayOptions,
  shape: (progress: number) => number,
): (step: number) => number {
  checkOptions(where, options, DECAY);
  const { warmup = 0, floor = 0 } = options;
  checkInteger(where, 'total', total, 1);
  checkInteger(where, 'warmup', warmup, 0, total);
  checkNumber(where, 'floor', floor, 0, 1);
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
    return floor + (1 - floor) * shape(progress);
  };
}

/** Linear from 1 / warmup to 1 over `warmup` steps, then half a cosine from 1 to `floor` at step `total`. */
export function cosine(total: number, options: DecayOptions = {}): Schedule {
  return decay('cosine', total, options, (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** Linear from 1 / warmup to 1 over `warmup` steps, then linear from 1 to `floor` at step `total`, and constant from there. */
export function linear(total: number, options: DecayOptions = {}): Schedule {
  return decay('linear', total, options, (progress) => 1 - progress);
}

/** Constant with warm-up: linear from 1 / steps to 1 over `steps` steps, then 1. */
export function warmup(steps: number): Schedule {
  checkInteger('warmup', 'steps', steps, 0);
  return (step) => (step < steps ? (step + 1) / steps : 1);
}

/** How `oneCycle` rises and falls; names and defaults are PyTorch's. */
export interface OneCycleOptions {
  /** Share of the steps on the way up, 0 to 1; 0.3. */
  pctStart?: number;
  /** The cycle begins at the peak over this, above 0; 25. */
  divFactor?: number;
  /** And ends at the beginning over this, above 0; 1e4. */
  finalDivFactor?: number;
  /** Along half cosines, 'cos', or lines, 'linear'; 'cos'. */
  annealStrategy?: 'cos' | 'linear';
  /** Whether it first falls back to the beginning, as long as it rose, and then on to the end; false. */
  threePhase?: boolean;
  /** Whether momentum goes the other way; true. */
  cycleMomentum?: boolean;
  /** Momentum at the peak, 0 to below 1; 0.85. */
  baseMomentum?: number;
  /** Momentum at the beginning and at the end, 0 to below 1; 0.95. */
  maxMomentum?: number;
}

const CYCLE: OptionNames<OneCycleOptions> = {
  pctStart: true,
  divFactor: true,
  finalDivFactor: true,
  annealStrategy: true,
  threePhase: 'flag',
  cycleMomentum: 'flag',
  baseMomentum: true,
  maxMomentum: true,
};

/**
 * One cycle (Smith & Topin 2017) of `total` steps as `OneCycleLR` of PyTorch has it, but that the peak is the group's own
 * learning rate, factor 1, instead of a `max_lr`; after the cycle it stays where it ended. By default momentum falls and
 * rises while the learning rate rises and falls.
 */
export function oneCycle(total: number, options: OneCycleOptions = {}): Schedule {
  const where = 'oneCycle';
  checkOptions(where, options, CYCLE);
  checkInteger(where, 'total', total, 1);
  const { pctStart = 0.3, divFactor = 25, finalDivFactor = 1e4, annealStrategy = 'cos' } = options;
  const { threePhase = false, cycleMomentum = true, baseMomentum = 0.85, maxMomentum = 0.95 } = options;
  checkNumber(where, 'pctStart', pctStart, 0, 1);
  checkNumber(where, 'divFactor', divFactor, Number.MIN_VALUE);
  checkNumber(where, 'finalDivFactor', finalDivFactor, Number.MIN_VALUE);
  if (annealStrategy !== 'cos' && annealStrategy !== 'linear') {
    throw argumentError('INVALID_ARGUMENT', where, 'annealStrategy', "'cos' | 'linear'", String(annealStrategy));
  }
  for (const [name, value] of Object.entries({ baseMomentum, maxMomentum })) {
    if (checkNumber(where, name, value, 0, 1) === 1) {
      throw argumentError('INVALID_ARGUMENT', where, name, 'below 1', '1');
    }
  }
  const begin = 1 / divFactor;
  const end = begin / finalDivFactor;
  const peak = pctStart * total - 1;
  // Where each phase ends: the step, the factor and the momentum.
  const phases: readonly (readonly [number, number, number])[] = threePhase
    ? [
        [peak, 1, baseMomentum],
        [2 * pctStart * total - 2, begin, maxMomentum],
        [total - 1, end, maxMomentum],
      ]
    : [
        [peak, 1, baseMomentum],
        [total - 1, end, maxMomentum],
      ];
  const at = (step: number, value: 1 | 2, first: number): number => {
    let [from, start] = [0, first];
    for (const phase of phases) {
      const to = phase[0];
      if (step <= to || phase === phases.at(-1)) {
        const progress = to > from ? Math.min(1, (step - from) / (to - from)) : 1;
        const share = annealStrategy === 'cos' ? 0.5 * (1 - Math.cos(Math.PI * progress)) : progress;
        return start + (phase[value] - start) * share;
      }
      [from, start] = [to, phase[value]];
    }
    return start;
  };
  const schedule: Schedule = (step) => at(step, 1, begin);
  if (cycleMomentum) schedule.momentum = (step) => at(step, 2, maxMomentum);
  return schedule;
}
