// Learning-rate schedules: pure functions of the step, so that resuming needs nothing but its number.
import { checkInteger, checkNumber, checkOptions } from '../core';

/** Factor of the base learning rate at a step counted from 0. */
export type Schedule = (step: number) => number;

export const constant: Schedule = () => 1;

/** Linear from 1 / warmup to 1 over `warmup` steps, then half a cosine from 1 to `floor` at step `total`. */
export function cosine(total: number, options: { warmup?: number; floor?: number } = {}): Schedule {
  checkOptions('cosine', options, { warmup: true, floor: true });
  const { warmup = 0, floor = 0 } = options;
  checkInteger('cosine', 'total', total, 1);
  checkInteger('cosine', 'warmup', warmup, 0, total);
  checkNumber('cosine', 'floor', floor, 0, 1);
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
    return floor + (1 - floor) * 0.5 * (1 + Math.cos(Math.PI * progress));
  };
}

/** Linear warm-up, then constant. */
export function warmup(steps: number): Schedule {
  checkInteger('warmup', 'steps', steps, 0);
  return (step) => (step < steps ? (step + 1) / steps : 1);
}
