// Parity with length generalisation (spec 3.6): which memories count modulo two, and how far past the lengths that they
// were trained on.
import { type Dataset, parity } from '../data';
import { crossEntropy } from '../ops';
import { createModel, type ModelName } from '../models';
import { batchTensors, evaluate } from '../train';
import { withSeed } from '../core';
import type { Experiment, TrialContext, TrialResult } from './experiment';
import { fit } from './fit';

/** Share of sequences whose last label is right, and of those with all right, by length. */
type Found = { last: Record<string, number>; whole: Record<string, number>; steps: number; losses: number[] };

const TRAINED = 40;
const LENGTHS = [40, 64, 128, 256];

interface Setting {
  family: ModelName;
  /** Keys of the family's configuration. */
  keys: Record<string, unknown>;
  learningRate: number;
}

/** Two layers of width 64 and two heads: one self-referential layer, which reads before it writes, does not learn it. */
const SETTINGS: Record<string, Setting> = {
  srwm: { family: 'srwm', keys: {}, learningRate: 3e-3 },
  'recurrent-delta': { family: 'recurrent-delta', keys: {}, learningRate: 3e-3 },
  lstm: { family: 'lstm', keys: {}, learningRate: 3e-3 },
  'delta (0,2)': { family: 'deltanet', keys: { allowNegEigval: true }, learningRate: 3e-3 },
  'delta (0,1)': { family: 'deltanet', keys: {}, learningRate: 3e-3 },
  'linear attention': { family: 'linear-transformer', keys: {}, learningRate: 3e-3 },
  softmax: { family: 'transformer', keys: {}, learningRate: 3e-3 },
};

const QUICK = ['srwm', 'recurrent-delta', 'delta (0,2)', 'delta (0,1)'];

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { family, keys, learningRate } = SETTINGS[trial];
  const { seed, quick, device } = context;
  const sizes = { vocabSize: 3, hiddenSize: 64, numLayers: 2, numHeads: 2, intermediateSize: 128, device };
  const model = withSeed(seed, () => createModel(family, { ...sizes, ...keys }));
  try {
    const data = parity({ seed, minLength: 3, maxLength: TRAINED });
    const steps = quick ? 300 : 1000;
    const batchSize = quick ? 64 : 128;
    const held = parity({ seed: seed + 1000, minLength: TRAINED, maxLength: TRAINED, evaluationSize: 64 });
    const { losses, steps: done } = await fit(
      model.parameters(),
      {
        steps,
        learningRate,
        weightDecay: 0.1,
        loss(step) {
          const { ids, labels } = batchTensors(model, data.batch(step, batchSize));
          return crossEntropy(model.forward(ids).logits, labels);
        },
        checkEvery: 50,
        // Nothing more is to be learned where every label is right.
        done: async () => (await evaluate(model, held, { batchSize: 64 })).sequences === 1,
      },
      context,
    );
    const last: Record<string, number> = {};
    const whole: Record<string, number> = {};
    for (const length of LENGTHS) {
      const test: Dataset = parity({ seed: seed + 2000, minLength: length, maxLength: length, evaluationSize: 200 });
      const measured = await evaluate(model, test, { batchSize: 50, signal: context.signal });
      last[length] = measured.groups.last;
      whole[length] = measured.sequences;
    }
    return { last, whole, steps: done, losses: losses.filter((_, i) => i % 10 === 0) };
  } finally {
    model.dispose();
  }
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function findings(results: readonly TrialResult<Found>[]): ReturnType<Experiment<Found>['findings']> {
  const trials = [...new Set(results.map((result) => result.trial))];
  const of = (trial: string, length: number, what: 'last' | 'whole' = 'last'): number =>
    mean(results.filter((result) => result.trial === trial).map(({ found }) => found[what][length]));
  const measures = Object.fromEntries(
    trials.map((trial) => [
      trial,
      {
        steps: mean(results.filter((result) => result.trial === trial).map(({ found }) => found.steps)),
        ...Object.fromEntries(LENGTHS.map((length) => [`last label, ${length} bits`, percent(of(trial, length))])),
        ...Object.fromEntries(
          LENGTHS.map((length) => [`all labels, ${length} bits`, percent(of(trial, length, 'whole'))]),
        ),
      },
    ]),
  );
  const claim = (trial: string, text: string, length: number, holds: (accuracy: number) => boolean) =>
    trials.includes(trial)
      ? [
          {
            text,
            holds: holds(of(trial, length)),
            because: `${percent(of(trial, length))} of the last labels at ${length} bits`,
          },
        ]
      : [];
  return {
    measures,
    charts: [
      {
        title: `Last label right, trained on up to ${TRAINED} bits`,
        xLabel: 'bits',
        yLabel: 'share of sequences',
        series: trials.map((trial) => ({ name: trial, x: LENGTHS, y: LENGTHS.map((length) => of(trial, length)) })),
      },
      {
        title: 'Loss while training, first seed',
        xLabel: 'step',
        yLabel: 'nats',
        series: results
          .filter(({ seed }) => seed === 1)
          .map(({ trial, found }) => ({ name: trial, x: found.losses.map((_, i) => 10 * i), y: found.losses })),
      },
    ],
    claims: [
      ...claim(
        'srwm',
        'The self-referential matrix counts far past the lengths that it was trained on',
        256,
        (a) => a >= 0.95,
      ),
      ...claim(
        'recurrent-delta',
        'The recurrent delta net counts far past the lengths that it was trained on',
        256,
        (a) => a >= 0.95,
      ),
      ...claim('delta (0,2)', 'The delta rule with strengths up to 2 counts to 64 bits', 64, (a) => a >= 0.9),
      ...claim('delta (0,1)', 'The delta rule with strengths up to 1 does not count', 64, (a) => a <= 0.7),
      ...claim('softmax', 'Softmax attention does not count past its lengths', 128, (a) => a <= 0.7),
    ],
  };
}

export const parityExperiment: Experiment<Found> = {
  name: 'parity',
  title: 'Parity: which memories count modulo two',
  source:
    'Irie, Csordas, Schmidhuber, "Practical computational power of linear Transformers and their recurrent and self-referential extensions" (EMNLP 2023); Grazzi et al. 2024 for strengths up to 2',
  trials: (quick) => (quick ? QUICK : Object.keys(SETTINGS)),
  run,
  findings,
};
