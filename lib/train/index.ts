// Training: the loop, its checkpoints, its metrics, its report.
export { readTrainerState, type TrainerState } from './checkpoint';
export {
  type ComparedRun,
  compareModels,
  compareRuns,
  type Comparison,
  type ComparisonOptions,
  type ComparisonSettings,
} from './comparison';
export { comparisonRows, describeComparison } from './comparisonReport';
export {
  checkRunConfig,
  fillTraining,
  importHint,
  type ModelConfig,
  RUN_DTYPES,
  type RunConfig,
  type RunDtype,
  type TaskData,
  type TextData,
  type TrainingConfig,
  withKnownModel,
} from './config';
export { openData, type OpenDataOptions, type RunData, withRemedy } from './data';
export { batchTensors, evaluate, type Evaluation, type MeasurableModel, type TrainableModel } from './evaluate';
export { type OptimizerName, OPTIMIZERS, type ScheduleName, SCHEDULES } from './optimizer';
export { describeData, reportRun } from './report';
export { checkStart, type ResumeOptions, resumeRun, type Run, startRun, type TextRunOptions } from './run';
export { bestOf, type CheckpointInfo, type Metrics, resolveCheckpoint, RunFolder, tokensBeside } from './runFolder';
export { Trainer, type TrainerOptions, type TrainingResult, type TrainOptions } from './trainer';
