// Completion of patterns (spec 3.12): a network with plastic connections stores what it is shown, one without does not.
import { scope, type Tensor, withSeed } from '../core';
import { noGrad } from '../autograd';
import { type PatternBatch, patternCompletion, type PatternCompletionOptions, wrongSigns } from '../data';
import { PlasticRnn } from '../nn';
import { tensor } from '../ops';
import { constant } from '../optim';
import type { Experiment, Findings, TrialContext, TrialResult } from './experiment';
import { fit } from './fit';
import { measureOf, percent, trialsOf } from './results';

/** Share of wrong signs on the evaluation set; every fifth loss, in squares per bit. */
type Found = { wrong: number; losses: number[] };

interface Setting {
  task: PatternCompletionOptions;
  steps: number;
  batchSize: number;
  learningRate: number;
}

/** By the number of bits; those of 1000 as published, one episode a step. */
const SETTINGS: Record<string, Setting> = {
  50: { task: { bits: 50 }, steps: 400, batchSize: 4, learningRate: 0.01 },
  1000: { task: { bits: 1000 }, steps: 1000, batchSize: 1, learningRate: 3e-4 },
};
/** Two patterns, each shown once and for a shorter time. */
const QUICK: Setting = {
  task: { bits: 50, patterns: 2, cycles: 1, shown: 3, pause: 1 },
  steps: 80,
  batchSize: 8,
  learningRate: 0.01,
};

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { seed, quick, device } = context;
  const [kind, bits] = trial.split(' ');
  const { task, steps, batchSize, learningRate } = quick ? QUICK : SETTINGS[bits];
  const data = patternCompletion({ ...task, seed });
  const net = withSeed(seed, () => new PlasticRnn(data.width, data.width, { project: false, device }));
  if (kind !== 'plastic') noGrad(() => net.alpha.zero_());
  const completed = ({ batchSize: B, length, width, inputs }: PatternBatch): Tensor => {
    const { output } = net.forward(tensor(inputs, { shape: [B, length, width], device }));
    return output.select(1, length - 1).slice(1, 0, width - 1);
  };
  try {
    const { losses } = await fit(
      kind === 'plastic' ? net.parameters() : [net.w],
      {
        steps,
        learningRate,
        schedule: constant,
        clip: null,
        loss(step) {
          const batch = data.batch(step, batchSize);
          const targets = tensor(batch.targets, { shape: [batchSize, data.width - 1], device });
          return completed(batch).sub(targets).square().mean();
        },
      },
      context,
    );
    const batch = data.evaluation();
    const outputs = noGrad(() => scope(() => completed(batch).contiguous()));
    const wrong = wrongSigns(await outputs.data(), batch.targets);
    outputs.dispose();
    return { wrong, losses: losses.filter((_, i) => i % 5 === 0) };
  } finally {
    net.dispose();
  }
}

function findings(results: readonly TrialResult<Found>[]): Findings {
  const error = measureOf(results, ({ wrong }) => wrong, percent);
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [trial, { 'wrong signs': percent(error.of(trial)) }]),
    ),
    charts: [
      {
        title: 'Loss while training, first seed',
        xLabel: 'step',
        yLabel: 'squared error per bit',
        series: results
          .filter(({ seed }) => seed === 1)
          .map(({ trial, found }) => ({ name: trial, x: found.losses.map((_, i) => 5 * i), y: found.losses })),
      },
    ],
    claims: Object.keys(SETTINGS).flatMap((bits) =>
      error.claim(`Plastic connections complete patterns of ${bits} bits, fixed ones do not`, {
        [`plastic ${bits}`]: [0, 0.1],
        [`fixed ${bits}`]: [0.2, 1],
      }),
    ),
  };
}

/** Published as curves: plastic networks learn it, those without plasticity do not. */
export const patternCompletionExperiment: Experiment<Found> = {
  name: 'pattern-completion',
  title: 'Pattern completion: connections that store what they were shown',
  source:
    'Miconi, Stanley, Clune, "Differentiable plasticity: training plastic neural networks with backpropagation" (ICML 2018), section 4.1',
  trials: (quick) => (quick ? ['50'] : Object.keys(SETTINGS)).flatMap((bits) => [`plastic ${bits}`, `fixed ${bits}`]),
  run,
  findings,
};
