// Published tasks over shared parts, one small file each; only the command line imports this room.
import type { Json } from '../io';
import { associativeRetrievalExperiment } from './associativeRetrieval';
import { continuousClassificationExperiment } from './continuousClassification';
import type { Experiment } from './experiment';
import { formalLanguagesExperiment } from './formalLanguages';
import { mazeExperiment } from './maze';
import { parityExperiment } from './parity';
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
] as unknown as readonly Experiment<Json>[];
