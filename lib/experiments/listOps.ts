// Sequential ListOps (spec 3.5): nested minima, maxima and firsts, read token by token, whose value is asked for in the end.
import { type Dataset, listOps, type ListOpsOptions } from '../data';
import type { Example, Experiment, TrialContext, TrialModel, TrialResult } from './experiment';
import { lossChart, mean, measureOf, percent, trialsOf } from './results';
import { MEMORIES, type MemoryName, modelWith, tokenExample, trainAndMeasure } from './tokens';

/** Share of expressions whose value is right. */
type Found = { right: number; steps: number; losses: number[] };

/** By the depth of the deepest digit; the published sets have 11 and 16. */
const SETTINGS: Record<number, { task: ListOpsOptions; steps: number }> = {
  3: { task: { depth: 3, maxLength: 20 }, steps: 300 },
  5: { task: { depth: 5, maxLength: 48 }, steps: 1500 },
};
const [QUICK, LONG] = Object.keys(SETTINGS).map(Number);

const trialOf = (depth: number, memory: MemoryName): string => `depth ${depth}: ${memory}`;

/** A trial taken apart, and expressions of its depth. */
function setup(trial: string, { seed }: TrialModel) {
  const [, depth, memory] = /^depth (\d+): (.*)$/.exec(trial)! as unknown as [string, string, MemoryName];
  const { task, steps } = SETTINGS[Number(depth)];
  const make = (offset: number, evaluationSize: number): Dataset =>
    listOps({ ...task, seed: seed + offset, evaluationSize });
  return { memory, steps, make };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { memory, steps: most, make } = setup(trial, context);
  const data = make(0, 1);
  const { measured, steps, losses } = await trainAndMeasure(
    {
      model: modelWith(memory, data.vocabSize, context),
      data,
      held: make(1000, 64),
      steps: most,
      batchSize: 32,
      tests: { all: make(2000, 500) },
    },
    context,
  );
  return { right: measured.all.accuracy, steps, losses };
}

function example(trial: string, context: TrialModel): Example {
  const { memory, make } = setup(trial, context);
  const data = make(4000, 1);
  return tokenExample(modelWith(memory, data.vocabSize, context), data);
}

function findings(results: readonly TrialResult<Found>[]): ReturnType<Experiment<Found>['findings']> {
  const right = measureOf(results, (found) => found.right, percent);
  const stepsOf = (trial: string): number =>
    mean(results.flatMap((result) => (result.trial === trial ? [result.found.steps] : [])));
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [trial, { 'values right': percent(right.of(trial)), steps: stepsOf(trial) }]),
    ),
    charts: [lossChart(results)],
    claims: right.claim('The delta rule learns to evaluate short expressions', {
      [trialOf(QUICK, 'delta (0,1)')]: [0.75, 1],
    }),
  };
}

/** Published, digits at most 11 deep: LSTM 88.5 %; 16 deep: LSTM 24.4 %, Recurrent Delta Net 79.2 %. */
export const listOpsExperiment: Experiment<Found> = {
  name: 'list-ops',
  title: 'ListOps: nested expressions, read from left to right',
  source:
    'Irie, Schlag, Csordas, Schmidhuber, "Going beyond linear Transformers with recurrent fast weight programmers" (NeurIPS 2021), section 4.2; task of Nangia and Bowman 2018',
  trials: (quick) =>
    quick
      ? [trialOf(QUICK, 'delta (0,1)')]
      : (Object.keys(MEMORIES) as MemoryName[]).map((memory) => trialOf(LONG, memory)),
  run,
  example,
  findings,
};
