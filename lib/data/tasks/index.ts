// The built-in tasks by name.
import { checkChoice } from '../../core';
import type { Dataset } from '../dataset';
import { codeExecution } from './codeExecution';
import { compression } from './compression';
import { copy } from './copy';
import { formalLanguage } from './formalLanguage';
import { inContextRecall } from './inContextRecall';
import { listOps } from './listOps';
import { memorization } from './memorization';
import { modularArithmetic } from './modularArithmetic';
import { mqar } from './mqar';
import { parity } from './parity';
import { associativeRecall } from './recall';
import { associativeRetrieval2016 } from './retrieval2016';
import { selectiveCopy } from './selectiveCopy';
import { wordProblem } from './wordProblem';

export { codeExecution, type CodeExecutionOptions } from './codeExecution';
export * from './compression';
export * from './copy';
export * from './formalLanguage';
export * from './gridMaze';
export * from './eventStreams';
export { type GlyphBatch, glyphEpisodes, type GlyphEpisodes, type GlyphEpisodesOptions } from './glyphs';
export * from './inContextRecall';
export * from './irregularSeries';
export * from './listOps';
export * from './memorization';
export * from './modularArithmetic';
export * from './mqar';
export * from './parity';
export * from './patternCompletion';
export * from './recall';
export * from './retrieval';
export * from './retrieval2016';
export * from './selectiveCopy';
export * from './wordProblem';
export type { TaskOptions } from './sequence';

/** Tasks that a sequence model can train on, each a function from its options to a data set. */
export const tasks = {
  associativeRecall,
  associativeRetrieval2016,
  mqar,
  parity,
  copy,
  formalLanguage,
  wordProblem,
  listOps,
  codeExecution,
  inContextRecall,
  selectiveCopy,
  memorization,
  compression,
  modularArithmetic,
};

/** What `createTask` and the configuration of a run take. */
export type TaskName = keyof typeof tasks;

/** The options of a task by its name. */
export type OptionsOf<N extends TaskName> = NonNullable<Parameters<(typeof tasks)[N]>[0]>;

const factories: { [N in TaskName]: (options?: OptionsOf<N>) => Dataset } = tasks;

/** Makes a task from its name, as a command line or a configuration file has it. */
export function createTask<N extends TaskName>(name: N, options?: OptionsOf<N>): Dataset {
  const known = checkChoice('createTask', 'name', name, Object.keys(tasks) as N[]);
  return factories[known](options);
}
