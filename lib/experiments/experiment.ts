// What a published experiment is: trials that are run one by one, what they show, and a picture.
import type { Device } from '../core';
import type { Json } from '../io';
import type { Module } from '../nn';
import type { HeatmapGrid, LineChart, ScoreGrid } from '../viz';

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
  /** Saves the trained model beside the results, if the experiment has an `example` of the trial that shows a matrix memory. */
  keep(model: Module): Promise<void>;
}

/** What a trial's model is made of. */
export type TrialModel = Pick<TrialContext, 'seed' | 'quick' | 'device'>;

/** What a model reads, in one sequence, for `inspect` to look at. */
export interface ExampleReading {
  /** A text for every token. */
  tokens: readonly string[];
  /** Makes the tensors that it needs. */
  read(): void;
}

/** A trial's model, and a sequence of its task that it was neither trained nor measured on. */
export interface Example {
  /** As it is before training: the weights that were kept are put into it. */
  model: Module;
  /** Called when they are there. */
  reading(): ExampleReading;
}

/** What a trial found, under the seed that it had. */
export interface TrialResult<R extends Json = Json> {
  trial: string;
  seed: number;
  /** Seconds of work. */
  seconds: number;
  found: R;
  /** The file of the trained model's weights, from the folder of the results; absent where it has no matrix memory. */
  model?: string;
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
  /** Measures by label, for each trial that has results, or of all under another name: columns and rows of the table. */
  measures: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
  charts: readonly LineChart[];
  /** Matrices to look at. */
  picture?: HeatmapGrid;
  /** How well what did what. */
  scores?: ScoreGrid;
  claims: readonly Claim[];
}

/** Rows and columns of an experiment whose trials are the cells of a grid. */
export interface Axes {
  rules: readonly string[];
  tasks: readonly string[];
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
  /** What can be chosen of the grid, where the trials are one. */
  axes?(): Axes;
  /**
   * Names of the trials, in the order in which they run; of those over the user's file if its path is given, of the cells that
   * were chosen if some were.
   */
  trials(quick: boolean, data?: string, chosen?: Partial<Axes>): readonly string[];
  /** Runs one; its result is plain JSON. */
  run(trial: string, context: TrialContext): Promise<R>;
  /** What the trained model of a trial reads under `inspect`; absent where no trial has a matrix memory that can be followed. */
  example?(trial: string, context: TrialModel): Example;
  /** What the results say, those of several seeds together; trials may still be missing. */
  findings(results: readonly TrialResult<R>[], quick: boolean): Findings;
}
