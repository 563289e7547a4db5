// Parity with length generalisation (spec 3.6): which memories count modulo two, and how far past the lengths that they
// were trained on.
import { type Dataset, parity } from '../data';
import type { Experiment, TrialContext, TrialResult } from './experiment';
import { lossChart, mean, percent, trialsOf } from './results';
import { MEMORIES, type MemoryName, modelWith, tokenExample, trainAndMeasure } from './tokens';

/** Share of sequences whose last label is right, and of those with all right, by length; of the last attempt. */
type Found = {
  last: Record<string, number>;
  whole: Record<string, number>;
  steps: number;
  attempts: number;
  losses: number[];
};

const TRAINED = 40;
const LENGTHS = [40, 64, 128, 256];

const QUICK = ['srwm', 'recurrent-delta', 'delta (0,2)', 'delta (0,1)'];

/** Memories that count up to a length, and the share of last labels that are right there. */
const COUNTS: Partial<Record<string, { text: string; length: number; least: number }>> = {
  srwm: {
    text: 'The self-referential matrix counts far past the lengths that it was trained on',
    length: 256,
    least: 0.95,
  },
  'recurrent-delta': {
    text: 'The recurrent delta net counts far past the lengths that it was trained on',
    length: 256,
    least: 0.95,
  },
  'delta (0,2)': { text: 'The delta rule with strengths up to 2 counts to 64 bits', length: 64, least: 0.9 },
};

/** One training in five or so ends on a plateau, so the quick form of what counts starts again from other weights. */
const ATTEMPTS = 4;

async function run(trial: string, context: TrialContext): Promise<Found> {
  const counts = COUNTS[trial];
  for (let attempts = 1; ; attempts++) {
    const found = await attempt(trial, { ...context, seed: context.seed + 10_000 * (attempts - 1) });
    const enough = !context.quick || !counts || found.last[counts.length] >= counts.least;
    if (enough || attempts === ATTEMPTS) return { ...found, attempts };
  }
}

async function attempt(trial: string, context: TrialContext): Promise<Omit<Found, 'attempts'>> {
  const { seed, quick } = context;
  const data = parity({ seed, minLength: 3, maxLength: TRAINED });
  const ofLength = (offset: number, length: number, evaluationSize: number): Dataset =>
    parity({ seed: seed + offset, minLength: length, maxLength: length, evaluationSize });
  const { measured, steps, losses } = await trainAndMeasure(
    {
      model: modelWith(trial as MemoryName, data.vocabSize, context),
      data,
      held: ofLength(1000, 256, 64),
      steps: quick ? 400 : 1000,
      batchSize: quick ? 32 : 128,
      ...(quick && { learningRate: 5e-3 }),
      tests: Object.fromEntries(LENGTHS.map((length) => [length, ofLength(2000, length, 200)])),
    },
    context,
  );
  const byLength = (what: (one: (typeof measured)[string]) => number): Record<string, number> =>
    Object.fromEntries(LENGTHS.map((length) => [length, what(measured[length])]));
  return { last: byLength(({ groups }) => groups.last), whole: byLength(({ sequences }) => sequences), steps, losses };
}

function findings(results: readonly TrialResult<Found>[]): ReturnType<Experiment<Found>['findings']> {
  const trials = trialsOf(results);
  const of = (trial: string, length: number, what: 'last' | 'whole' = 'last'): number =>
    mean(results.filter((result) => result.trial === trial).map(({ found }) => found[what][length]));
  const measures = Object.fromEntries(
    trials.map((trial) => [
      trial,
      {
        steps: mean(results.filter((result) => result.trial === trial).map(({ found }) => found.steps)),
        attempts: mean(results.filter((result) => result.trial === trial).map(({ found }) => found.attempts)),
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
      lossChart(results),
    ],
    claims: [
      ...Object.entries(COUNTS).flatMap(([trial, counts]) =>
        claim(trial, counts!.text, counts!.length, (accuracy) => accuracy >= counts!.least),
      ),
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
  trials: (quick) => (quick ? QUICK : Object.keys(MEMORIES)),
  run,
  example(trial, context) {
    const data = parity({ seed: context.seed + 4000, minLength: TRAINED, maxLength: TRAINED });
    return tokenExample(modelWith(trial as MemoryName, data.vocabSize, context), data);
  },
  findings,
};
