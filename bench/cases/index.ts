// The suites, and how this library solves their problems.
import type { Contender, Prepared } from '../contender';
import { fw } from '../library';
import type { Case, Problem } from '../problem';
import { batchingCases, prepareBatching } from './batching';
import { descendantCases, prepareDescendant } from './descendants';
import { eventLoopCases, prepareEventLoop } from './eventLoop';
import { feedbackCases, prepareFeedback } from './feedback';
import { generationCases, prepareGeneration } from './generation';
import { languageModelCases, prepareLanguageModel } from './languageModel';
import { prepareLaunch } from './launch';
import { matmulCases, prepareMatmul } from './matmul';
import { prepareSequence, sequenceCases } from './sequence';
import { prepareSpeculation, speculationCases } from './speculation';
import { prepareStep, stepCases } from './step';
import { prepareStream, streamCases } from './stream';

export { cudaSuite } from './cuda';

export const cpuSuite: Case[] = [
  ...sequenceCases,
  ...stepCases,
  ...feedbackCases,
  ...descendantCases,
  ...matmulCases,
  ...languageModelCases,
  ...generationCases,
  ...batchingCases,
  ...speculationCases,
  ...streamCases,
  ...eventLoopCases,
];

function prepare(problem: Problem): Prepared {
  switch (problem.kind) {
    case 'sequence':
      return prepareSequence(problem);
    case 'feedback':
      return prepareFeedback(problem);
    case 'descendant':
      return prepareDescendant(problem);
    case 'step':
      return prepareStep(problem);
    case 'matmul':
      return prepareMatmul(problem);
    case 'languageModel':
      return prepareLanguageModel(problem);
    case 'generation':
      return prepareGeneration(problem);
    case 'batching':
      return prepareBatching(problem);
    case 'speculation':
      return prepareSpeculation(problem);
    case 'stream':
      return prepareStream(problem);
    case 'eventLoop':
      return prepareEventLoop(problem);
    case 'launch':
      return prepareLaunch(problem);
  }
}

export const ours: Contender = {
  name: 'fast-weights',
  supports: () => true,
  async prepare(problem, threads) {
    fw.setNumThreads(threads);
    return prepare(problem);
  },
};
