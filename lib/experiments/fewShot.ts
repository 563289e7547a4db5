// Few-shot classification (spec 3.7) of generated glyphs: drawings with labels, then one without.
import { scope, withSeed } from '../core';
import { noGrad } from '../autograd';
import { type GlyphEpisodes, glyphEpisodes } from '../data';
import { crossEntropy } from '../ops';
import { type EpisodeMemory, EpisodeNet, episodeOf, shareRight } from './episodes';
import type { Example, Experiment, Findings, TrialContext, TrialModel, TrialResult } from './experiment';
import { fit } from './fit';
import { lossChart, measureOf, percent, trialsOf } from './results';

/** Share of queries that are classified right; every tenth loss. */
type Found = { right: number; losses: number[] };

interface Setting {
  ways: number;
  shots: number;
  steps: number;
}

const SETTINGS: Record<string, Setting> = {
  '3 ways, 1 shot': { ways: 3, shots: 1, steps: 300 },
  '5 ways, 1 shot': { ways: 5, shots: 1, steps: 3000 },
  '5 ways, 5 shots': { ways: 5, shots: 5, steps: 1000 },
};
const [QUICK, ...LONG] = Object.keys(SETTINGS);

const MEMORIES: readonly EpisodeMemory[] = ['srwm', 'delta', 'fake srwm'];
const BATCH = 64;

const trialOf = (memory: EpisodeMemory, setting: string): string => `${memory}: ${setting}`;

/** A trial's episodes and model. */
function setup(trial: string, { seed, device }: TrialModel) {
  const [memory, setting] = trial.split(': ') as [EpisodeMemory, string];
  const { ways, shots, steps } = SETTINGS[setting];
  const make = (offset: number): GlyphEpisodes =>
    glyphEpisodes({ ways, shots, seed: seed + offset, evaluationSize: 1000 });
  const data = make(0);
  const model = withSeed(seed, () => new EpisodeNet(memory, data.pixels, ways, { device }));
  return { data, make, model, steps };
}

function example(trial: string, context: TrialModel): Example {
  const { make, model } = setup(trial, context);
  return { model, reading: () => model.reading([make(4000).batch(0, 1)]) };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { device } = context;
  const { data, model, steps } = setup(trial, context);
  try {
    const { losses } = await fit(
      model.parameters(),
      {
        steps,
        learningRate: 3e-3,
        loss(step) {
          const episode = episodeOf(data.batch(step, BATCH), device);
          return crossEntropy(model.answer(episode, model.study(episode)), episode.targets);
        },
      },
      context,
    );
    await context.keep(model);
    const right = noGrad(() =>
      scope(() => {
        const held = episodeOf(data.evaluation(), device);
        return shareRight(model.answer(held, model.study(held)), held.targets);
      }),
    );
    const [share] = await right.data();
    right.dispose();
    return { right: Number(share), losses: losses.filter((_, i) => i % 10 === 0) };
  } finally {
    model.dispose();
  }
}

function findings(results: readonly TrialResult<Found>[]): Findings {
  const right = measureOf(results, (found) => found.right, percent);
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [trial, { 'queries right': percent(right.of(trial)) }]),
    ),
    charts: [lossChart(results)],
    claims: Object.entries(SETTINGS).flatMap(([setting, { ways }]) => {
      const chance = 1 / ways;
      return [
        ...right.claim(`A self-referential matrix learns classes within an episode (${setting})`, {
          [trialOf('srwm', setting)]: [2 * chance, 1],
        }),
        ...right.claim(`The delta rule does (${setting})`, { [trialOf('delta', setting)]: [1.6 * chance, 1] }),
        ...right.claim(`The matrix that does not modify itself guesses (${setting})`, {
          [trialOf('fake srwm', setting)]: [0, chance + 0.06],
        }),
      ];
    }),
  };
}

/** Published for Omniglot, 5 ways, 1 shot: SRWM 97.4 %, the delta rule as good. */
export const fewShotExperiment: Experiment<Found> = {
  name: 'few-shot',
  title: 'Few-shot classification: drawings of classes that were never seen before',
  source:
    'Irie, Schlag, Csordas, Schmidhuber, "A modern self-referential weight matrix that learns to modify itself" (ICML 2022); generated glyphs in place of Omniglot',
  trials: (quick) => (quick ? [QUICK] : LONG).flatMap((setting) => MEMORIES.map((memory) => trialOf(memory, setting))),
  run,
  example,
  findings,
};
