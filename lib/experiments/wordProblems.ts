// Word problems of S3, S5 and A5 (spec 3.6): how many delta steps per token, and which eigenvalues, follow the products of
// a group in one layer.
import { withSeed } from '../core';
import { type Dataset, wordProblem } from '../data';
import { DeltaProductNet } from './deltaProductNet';
import type { Example, Experiment, TrialContext, TrialModel, TrialResult } from './experiment';
import { lossChart, mean, measureOf, percent, trialsOf } from './results';
import { tokenExample, trainAndMeasure } from './tokens';

/** Shares: of right labels in words as long as those of training and twice as long, and of the former with all right. */
type Found = { trained: number; longer: number; whole: number; steps: number; losses: number[] };

interface Setting {
  group: 'S3' | 'S5' | 'A5';
  householders: number;
  negative: boolean;
  layers: number;
}

const setting = (group: Setting['group'], householders: number, negative: boolean, layers = 1): Setting => ({
  group,
  householders,
  negative,
  layers,
});

const SETTINGS: Record<string, Setting> = {
  'S3, 2 steps, [-1,1]': setting('S3', 2, true),
  'S3, 1 step, [-1,1]': setting('S3', 1, true),
  'S3, 2 steps, [0,1]': setting('S3', 2, false),
  'S3, 1 step, [0,1]': setting('S3', 1, false),
  ...Object.fromEntries(
    (['A5', 'S5'] as const).flatMap((group) =>
      [1, 2, 4].flatMap((steps) =>
        [1, 4].map((layers) => [
          `${group}, ${steps} steps, [-1,1], ${layers} layers`,
          setting(group, steps, true, layers),
        ]),
      ),
    ),
  ),
};

const QUICK = Object.keys(SETTINGS).slice(0, 3);

/** Words of a trial's group, and its model. */
function setup(trial: string, { seed, quick, device }: TrialModel) {
  const { group, ...sizes } = SETTINGS[trial];
  const length = quick ? 16 : 64;
  const make = (offset: number, elements: number, minLength = elements): Dataset =>
    wordProblem({ group, length: elements, minLength, seed: seed + offset, evaluationSize: 200 });
  const { vocabSize } = make(0, length);
  const model = withSeed(seed, () => new DeltaProductNet({ vocabSize, hiddenSize: 64, heads: 4, ...sizes, device }));
  return { length, make, model };
}

function example(trial: string, context: TrialModel): Example {
  const { length, make, model } = setup(trial, context);
  return tokenExample(model, make(4000, length));
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { quick } = context;
  const { length, make, model } = setup(trial, context);
  const { measured, steps, losses } = await trainAndMeasure(
    {
      model,
      data: make(0, length, 1),
      held: make(1000, length),
      steps: quick ? 500 : 4000,
      batchSize: quick ? 32 : 64,
      tests: { trained: make(2000, length), longer: make(3000, 2 * length) },
    },
    context,
  );
  const { trained, longer } = measured;
  return { trained: trained.accuracy, longer: longer.accuracy, whole: trained.sequences, steps, losses };
}

function findings(results: readonly TrialResult<Found>[]): ReturnType<Experiment<Found>['findings']> {
  const trials = trialsOf(results);
  const of = (trial: string, what: 'trained' | 'longer' | 'steps'): number =>
    mean(results.filter((result) => result.trial === trial).map(({ found }) => found[what]));
  const whole = measureOf(results, (found) => found.whole, percent);
  return {
    measures: Object.fromEntries(
      trials.map((trial) => [
        trial,
        {
          'words right throughout': percent(whole.of(trial)),
          labels: percent(of(trial, 'trained')),
          'labels of words twice as long': percent(of(trial, 'longer')),
          steps: of(trial, 'steps'),
        },
      ]),
    ),
    charts: [lossChart(results)],
    claims: [
      ...whole.claim('Two delta steps with eigenvalues down to -1 follow S3 in one layer', { [QUICK[0]]: [0.9, 1] }),
      ...whole.claim('One such step does not', { [QUICK[1]]: [0, 0.5] }),
      ...whole.claim('Two steps with eigenvalues from 0 on do not', { [QUICK[2]]: [0, 0.5] }),
    ],
  };
}

export const wordProblemsExperiment: Experiment<Found> = {
  name: 'word-problems',
  title: 'Word problems: which products of a group a layer follows',
  source: 'Siems et al., "DeltaProduct: improving state-tracking in linear RNNs via Householder products" (2025)',
  trials: (quick) => (quick ? QUICK : Object.keys(SETTINGS)),
  run,
  example,
  findings,
};
