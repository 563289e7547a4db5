// Published tasks over shared parts, one small file each; only the command line imports this room.
import type { Json } from '../io';
import { associativeRetrievalExperiment } from './associativeRetrieval';
import { continuousClassificationExperiment } from './continuousClassification';
import { flipFlopExperiment, parkingExperiment } from './eventStreams';
import type { Experiment } from './experiment';
import { formalLanguagesExperiment } from './formalLanguages';
import { mazeExperiment } from './maze';
import { painterExperiment } from './painter';
import { parityExperiment } from './parity';
import { patternCompletionExperiment } from './patternCompletion';
import { wordProblemsExperiment } from './wordProblems';

export type { Claim, Experiment, Findings, TrialContext, TrialResult } from './experiment';
export { fit, type FitOptions } from './fit';
export { type ExperimentOptions, type ExperimentRecord, runExperiment } from './run';

/** In the order of lists. */
export const EXPERIMENTS = [
  parityExperiment,
  formalLanguagesExperiment,
  wordProblemsExperiment,
  associativeRetrievalExperiment,
  continuousClassificationExperiment,
  mazeExperiment,
  patternCompletionExperiment,
  flipFlopExperiment,
  parkingExperiment,
  painterExperiment,
] as unknown as readonly Experiment<Json>[];
