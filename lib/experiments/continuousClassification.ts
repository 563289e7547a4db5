// Classification of irregularly sampled series (spec 2.6, 3.9): fast weights that change in continuous time against
// recurrent nets that see the same samples, and what becomes of either where series are sampled more often.
import { basename } from '../platform';
import { FastWeightsError, scope, withSeed } from '../core';
import { noGrad } from '../autograd';
import { irregularSeries, type LabelledSeries, parseTimeSeries, type SeriesDataset, seriesDataset } from '../data';
import { readText } from '../io';
import { LSTM, RNN } from '../nn';
import { crossEntropy, tensor } from '../ops';
import type { Claim, Experiment, Findings, TrialContext, TrialResult } from './experiment';
import { lossChart, mean, percent, trialsOf } from './results';
import { fit } from './fit';
import { type Classifier, type ClassifierSettings, type SeriesClassifier, seriesClassifier } from './seriesClassifiers';

/** Share of the evaluation series that are classified right, by how often they are sampled; losses every 10 steps. */
type Found = { right: Record<string, number>; series: number; losses: number[] };

/** The published pairs of rule and form, ablations, and recurrent nets. */
const CLASSIFIERS: Record<string, Classifier> = {
  'delta cde': { kind: 'field', rule: 'delta', family: 'cde2' },
  'hebb cde': { kind: 'field', rule: 'hebb', family: 'cde1' },
  'oja cde': { kind: 'field', rule: 'oja', family: 'cde1' },
  'delta ode': { kind: 'field', rule: 'delta', family: 'ode' },
  'hebb ode': { kind: 'field', rule: 'hebb', family: 'ode' },
  'oja ode': { kind: 'field', rule: 'oja', family: 'ode' },
  'delta cde, transposed': { kind: 'field', rule: 'delta', family: 'cde3' },
  'delta cde, slopes only': { kind: 'field', rule: 'delta', family: 'dxOnly' },
  'direct map': { kind: 'map' },
  'delta nrde': { kind: 'windows', rule: 'delta', depth: 1 },
  'delta nrde, areas': { kind: 'windows', rule: 'delta', depth: 2 },
  'lstm, times': { kind: 'recurrent', layer: LSTM, sees: 'times' },
  lstm: { kind: 'recurrent', layer: LSTM, sees: 'values' },
  'lstm, windows': { kind: 'recurrent', layer: LSTM, sees: 'windows' },
  'rnn, times': { kind: 'recurrent', layer: RNN, sees: 'times' },
  rnn: { kind: 'recurrent', layer: RNN, sees: 'values' },
};

const QUICK = ['delta cde', 'lstm, times', 'lstm'];
/** Those whose work does not grow with the length of a file's series more than need be. */
const OF_FILE = ['delta nrde', 'lstm, windows'];

const SAMPLES = 12;
const RATES = [1, 2, 3];
const BATCH = 32;

interface Setup {
  data: SeriesDataset;
  /** What is evaluated, under its name in the results. */
  evaluated: Record<string, SeriesDataset>;
  steps: number;
  learningRate: number;
  settings: ClassifierSettings;
}

/** Points that turn: every value is known to 3 % of the radius, so that what is left to learn is how they move. */
function generated({ seed, quick, device }: TrialContext): Setup {
  const series = (at: number, rate: number): SeriesDataset =>
    irregularSeries({ seed: at, length: rate * SAMPLES, noise: 0.03, speeds: quick ? 2 : 3 });
  const data = series(seed, 1);
  const evaluated = Object.fromEntries(RATES.map((rate) => [`${rate}`, series(seed + 1000, rate)]));
  const solver = quick
    ? ({ method: 'midpoint', solverSteps: 8 } as const)
    : ({ method: 'rk4', solverSteps: 12 } as const);
  const settings = { data, hiddenSize: 32, heads: 4, windows: 6, device, ...solver };
  return { data, evaluated, steps: quick ? 200 : 400, learningRate: 1e-2, settings };
}

/** The series of a file, which errors name. */
function seriesIn(path: string, text: string): LabelledSeries {
  try {
    return parseTimeSeries(text);
  } catch (cause) {
    if (!(cause instanceof FastWeightsError)) throw cause;
    const { code, expected, found } = cause;
    throw new FastWeightsError(code, `${path}: ${cause.message}`, { argument: 'data', expected, found, cause });
  }
}

/** The published sizes for EigenWorms: log-signatures of depth 1 over 4 increments, width 128, 16 heads. */
async function ofFile(path: string, { seed, quick, device }: TrialContext): Promise<Setup> {
  const labelled = seriesIn(path, await readText(path));
  const data = seriesDataset(labelled, { seed });
  const longest = Math.max(...labelled.series.flat().map((channel) => channel.length));
  const sizes = quick
    ? ({ hiddenSize: 32, heads: 4, windows: 7, method: 'midpoint' } as const)
    : ({ hiddenSize: 128, heads: 16, windows: Math.ceil((longest - 1) / 4), method: 'rk4' } as const);
  const settings = { data, ...sizes, solverSteps: sizes.windows, device };
  return { data, evaluated: { 1: data }, steps: quick ? 50 : 300, learningRate: quick ? 1e-2 : 1e-3, settings };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { seed, device, data: path } = context;
  const setup = path === undefined ? generated(context) : await ofFile(path, context);
  const name = path === undefined ? trial : trial.slice(`${basename(path)}: `.length);
  const model = withSeed(seed, () => seriesClassifier(CLASSIFIERS[name], setup.settings));
  try {
    const { losses } = await fit(
      model.parameters(),
      {
        steps: setup.steps,
        learningRate: setup.learningRate,
        loss(step) {
          const batch = setup.data.batch(step, BATCH);
          return crossEntropy(model.forward(batch), tensor(batch.labels, { dtype: 'int32', device }));
        },
      },
      context,
    );
    const right: Record<string, number> = {};
    for (const [rate, data] of Object.entries(setup.evaluated)) right[rate] = await accuracy(model, data);
    const series = setup.data.evaluationSize;
    return { right, series, losses: losses.filter((_, i) => i % 10 === 0) };
  } finally {
    model.dispose();
  }
}

async function accuracy(model: SeriesClassifier, data: SeriesDataset): Promise<number> {
  let right = 0;
  for (const batch of data.evaluation(64)) {
    const found = noGrad(() => scope(() => model.forward(batch).argmax(-1)));
    const answers = await found.data();
    found.dispose();
    right += batch.labels.reduce((count, label, b) => count + Number(answers[b] === label), 0);
  }
  return right / data.evaluationSize;
}

type Results = readonly TrialResult<Found>[];

/** Mean over seeds; undefined where there is no such result. */
function rightOf(results: Results, trial: string, rate: number): number | undefined {
  const own = results.flatMap((result) => (result.trial === trial ? (result.found.right[rate] ?? []) : []));
  return own.length > 0 ? mean(own) : undefined;
}

function claims(results: Results): Claim[] {
  const claim = (text: string, rate: number, limits: Record<string, [least: number, most: number]>): Claim[] => {
    const found = Object.keys(limits).map((trial) => [trial, rightOf(results, trial, rate)] as const);
    if (found.some(([, share]) => share === undefined)) return [];
    return [
      {
        text,
        holds: found.every(([trial, share]) => share! >= limits[trial][0] && share! <= limits[trial][1]),
        because: found.map(([trial, share]) => `${trial}: ${percent(share!)}`).join(', '),
      },
    ];
  };
  return [
    ...claim('The delta rule in continuous time classifies series as an LSTM does', 1, {
      'delta cde': [0.8, 1],
      'lstm, times': [0.7, 1],
    }),
    ...claim(
      'Sampled three times as often they are the same to it; to an LSTM, with or without times, they are not',
      3,
      {
        'delta cde': [0.8, 1],
        'lstm, times': [0, 0.7],
        lstm: [0, 0.7],
      },
    ),
  ];
}

function findings(results: Results): Findings {
  const trials = trialsOf(results);
  const sampled = trials.filter((trial) => rightOf(results, trial, RATES[1]) !== undefined);
  return {
    measures: Object.fromEntries(
      trials.map((trial) => {
        const rates = RATES.flatMap((rate) => {
          const share = rightOf(results, trial, rate);
          return share === undefined ? [] : [[`right at ${rate}x the samples`, percent(share)] as const];
        });
        const series = results.find((result) => result.trial === trial)!.found.series;
        return [trial, { ...Object.fromEntries(rates), 'evaluation series': series }];
      }),
    ),
    charts: [
      {
        title: `Series classified right, trained on ${SAMPLES} samples each`,
        xLabel: 'samples',
        yLabel: 'share of series',
        series: sampled.map((trial) => ({
          name: trial,
          x: RATES.map((rate) => rate * SAMPLES),
          y: RATES.map((rate) => rightOf(results, trial, rate)!),
        })),
      },
      lossChart(results),
    ],
    claims: claims(results),
  };
}

/**
 * Published for EigenWorms, which is not generated here and taken as a file: 91.8 % (3.4) of the test series with the delta
 * rule over log-signatures.
 */
export const continuousClassificationExperiment: Experiment<Found> = {
  name: 'continuous-classification',
  title: 'Irregularly sampled series: fast weights in continuous time against recurrent nets',
  source:
    'Irie, Faccio, Schmidhuber, "Neural differential equations for learning to program neural nets" (NeurIPS 2022)',
  data: 'labelled series, such as EigenWorms_TRAIN.ts or .arff of the UEA archive',
  trials: (quick, data) =>
    data === undefined
      ? quick
        ? QUICK
        : Object.keys(CLASSIFIERS)
      : OF_FILE.map((name) => `${basename(data)}: ${name}`),
  run,
  findings,
};
