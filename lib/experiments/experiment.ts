// What a published experiment is: trials that are run one by one, what they show, and a picture.
import type { Device } from '../core';
import type { Json } from '../io';
import type { HeatmapGrid, LineChart } from '../viz';

/** What a trial gets beside its settings. */
export interface TrialContext {
  /** Of data, weights and order. */
  seed: number;
  /** Whether it is to be short, for continuous integration and a first look. */
  quick: boolean;
  /** Where to compute. */
  device: Device;
  /** The path of the user's file, where one was given. */
  data?: string;
  /** Aborted when the experiment is to stop; `fit` and `report` mind it. */
  signal?: AbortSignal;
  /** Says how far the trial is; throws ABORTED when the experiment is to stop. */
  report(step: number, total: number, loss?: number): void;
}

/** What a trial found, under the seed that it had. */
export interface TrialResult<R extends Json = Json> {
  trial: string;
  seed: number;
  /** Seconds of work. */
  seconds: number;
  found: R;
  /** The SHA-256 of the file that it was run on, if it was. */
  source?: string;
}

/** A statement about the results, and whether they bear it out. */
export interface Claim {
  /** In words: 'SRWM counts past the lengths that it was trained on'. */
  text: string;
  holds: boolean;
  /** The numbers that it rests on. */
  because: string;
}

/** What a report shows. */
export interface Findings {
  /** Measures by label, for each trial that has results: the columns and rows of the table. */
  measures: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  charts: readonly LineChart[];
  /** Matrices to look at. */
  picture?: HeatmapGrid;
  claims: readonly Claim[];
}

/** An experiment: its trials, how one is run, and what the results of all say. */
export interface Experiment<R extends Json = Json> {
  /** 'parity': what the command line calls it. */
  name: string;
  /** A line: what is asked. */
  title: string;
  /** Paper and section. */
  source: string;
  /** What a file of the user's must be, where the experiment can take one. */
  data?: string;
  /** Names of the trials, in the order in which they run; of those over the user's file if its path is given. */
  trials(quick: boolean, data?: string): readonly string[];
  /** Runs one; its result is plain JSON. */
  run(trial: string, context: TrialContext): Promise<R>;
  /** What the results say, those of several seeds together; trials may still be missing. */
  findings(results: readonly TrialResult<R>[], quick: boolean): Findings;
}
