// What is measured of a server, beside what it should be.
import { summarize, type Summary } from '../statistics';

export interface Target {
  most?: number;
  least?: number;
}

export interface Figure extends Summary {
  /** of/what/size; --filter looks for its text in it. */
  name: string;
  unit: string;
  target?: Target;
  /** Whether the median keeps to the target. */
  holds?: boolean;
}

/** A figure of samples, each of a round or of a request. */
export function figure(name: string, unit: string, samples: readonly number[], target?: Target): Figure {
  const summary = summarize(samples);
  const { most = Infinity, least = -Infinity } = target ?? {};
  return {
    name,
    unit,
    ...summary,
    ...(target && { target, holds: summary.median <= most && summary.median >= least }),
  };
}

export interface Effort {
  /** How often everything is measured, in turns. */
  rounds: number;
  /** Seconds of a window in which streams are watched. */
  seconds: number;
  /** The share of requests, sessions and tokens that are made. */
  share: number;
}

/** Something to measure, with servers and models of its own. */
export interface ServeCase {
  name: string;
  what: string;
  run(effort: Effort): Promise<Figure[]>;
}
