// Published tasks over shared parts, one small file each; only the command line imports this room.
import type { Json } from '../io';
import { associativeRetrievalExperiment } from './associativeRetrieval';
import { baRetrievalExperiment } from './baRetrieval';
import { codeExecutionExperiment } from './codeExecution';
import { continualLearningExperiment } from './continualLearning';
import { continuousClassificationExperiment } from './continuousClassification';
import { flipFlopExperiment, parkingExperiment } from './eventStreams';
import type { Experiment } from './experiment';
import { fewShotExperiment } from './fewShot';
import { formalLanguagesExperiment } from './formalLanguages';
import { gridExperiment } from './grid';
import { listOpsExperiment } from './listOps';
import { mazeExperiment } from './maze';
import { painterExperiment } from './painter';
import { parityExperiment } from './parity';
import { patternCompletionExperiment } from './patternCompletion';
import { wordProblemsExperiment } from './wordProblems';

export type {
  Axes,
  Claim,
  Example,
  ExampleReading,
  Experiment,
  Findings,
  TrialContext,
  TrialModel,
  TrialResult,
} from './experiment';
export { fit, type FitOptions } from './fit';
export { type InspectedExperiment, inspectExperiment, type InspectExperimentOptions } from './inspect';
export { type ExperimentOptions, type ExperimentRecord, runExperiment } from './run';

/** In the order of lists. */
export const EXPERIMENTS = [
  parityExperiment,
  formalLanguagesExperiment,
  wordProblemsExperiment,
  codeExecutionExperiment,
  listOpsExperiment,
  associativeRetrievalExperiment,
  baRetrievalExperiment,
  fewShotExperiment,
  continualLearningExperiment,
  continuousClassificationExperiment,
  mazeExperiment,
  patternCompletionExperiment,
  flipFlopExperiment,
  parkingExperiment,
  painterExperiment,
  gridExperiment,
] as unknown as readonly Experiment<Json>[];
