// What solves a problem: this library, and the peers it is measured beside.
import type { Problem } from './problem';

/** A quantity of the result against its float64 reference. */
export interface Finding {
  quantity: string;
  /** RMS(x - reference) / RMS(reference) */
  error: number;
  tolerance: number;
}

/** A problem with its inputs made. */
export interface Prepared {
  /** Before every measured call, outside the clock. */
  setup?(): void | Promise<void>;
  /** Solves the problem so many times; the work is done when it returns or resolves. */
  run(calls: number): void | Promise<void>;
  /** Milliseconds of one sample, where it is not the time of a call that counts. */
  sample?(): Promise<number>;
  /** Compares results with the reference. */
  check(): Finding[] | Promise<Finding[]>;
}

export interface Contender {
  readonly name: string;
  /** Whether it can solve the problem at a fair speed. */
  supports(problem: Problem, threads: number): boolean;
  prepare(problem: Problem, threads: number): Promise<Prepared>;
}
