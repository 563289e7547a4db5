// Continual learning (spec 2.5.2): two tasks one after the other in one memory. Whether the first outlasts the second is what
// a meta-objective asks for or not.
import { scope, type Tensor, withSeed } from '../core';
import { noGrad } from '../autograd';
import { type GlyphEpisodes, glyphEpisodes } from '../data';
import { crossEntropy } from '../ops';
import { type Episode, type EpisodeMemory, EpisodeNet, episodeOf, shareRight } from './episodes';
import type { Example, Experiment, Findings, TrialContext, TrialModel, TrialResult } from './experiment';
import { fit } from './fit';
import { lossChart, mean, measureOf, percent, trialsOf } from './results';

/** What is asked of which task after which: shares of right answers. Every tenth loss. */
type Found = { firstAfterFirst: number; firstAfterSecond: number; secondAfterSecond: number; losses: number[] };

/** Two classes with three labelled drawings each, in both tasks, under the same two labels. */
const TASK = { ways: 2, shots: 3, evaluationSize: 1000 };
const BATCH = 48;
const STEPS = { quick: 160, long: 1500 };

const WITH = 'asked again';
const WITHOUT = 'not asked again';
const MEMORIES: readonly EpisodeMemory[] = ['srwm', 'srwm, separate y', 'delta'];

const trialOf = (memory: EpisodeMemory, asked: string): string => `${memory}: first task ${asked}`;

/** The two tasks of a trial, and its model. */
function setup(trial: string, { seed, device }: TrialModel) {
  const memory = trial.split(':')[0] as EpisodeMemory;
  const make = (offset: number): GlyphEpisodes[] =>
    [0, 1000].map((task) => glyphEpisodes({ ...TASK, seed: seed + task + offset }));
  const tasks = make(0);
  const model = withSeed(seed, () => new EpisodeNet(memory, tasks[0].pixels, TASK.ways, { device }));
  return { memory, tasks, make, model };
}

/** Both tasks are shown, then the first is asked about. */
function example(trial: string, context: TrialModel): Example {
  const { make, model } = setup(trial, context);
  return { model, reading: () => model.reading(make(4000).map((task) => task.batch(0, 1))) };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { quick, device } = context;
  const { memory, tasks, model } = setup(trial, context);
  const again = trial === trialOf(memory, WITH);
  /** Logits and targets under the names of what is found. */
  const read = ([first, second]: Episode[]): Record<Exclude<keyof Found, 'losses'>, [Tensor, Tensor]> => {
    const afterFirst = model.study(first);
    const afterSecond = model.study(second, afterFirst);
    return {
      firstAfterFirst: [model.answer(first, afterFirst), first.targets],
      firstAfterSecond: [model.answer(first, afterSecond), first.targets],
      secondAfterSecond: [model.answer(second, afterSecond), second.targets],
    };
  };
  try {
    const { losses } = await fit(
      model.parameters(),
      {
        steps: quick ? STEPS.quick : STEPS.long,
        learningRate: 3e-3,
        loss(step) {
          const answers = read(tasks.map((task) => episodeOf(task.batch(step, BATCH), device)));
          const now = crossEntropy(...answers.firstAfterFirst).add(crossEntropy(...answers.secondAfterSecond));
          return again ? now.add(crossEntropy(...answers.firstAfterSecond)) : now;
        },
      },
      context,
    );
    await context.keep(model);
    const answers = noGrad(() =>
      scope(() => {
        const all = read(tasks.map((task) => episodeOf(task.evaluation(), device)));
        return Object.values(all).map((one) => shareRight(...one));
      }),
    );
    const shares = await Promise.all(answers.map(async (share) => Number((await share.data())[0])));
    answers.forEach((share) => share.dispose());
    const [firstAfterFirst, firstAfterSecond, secondAfterSecond] = shares;
    return { firstAfterFirst, firstAfterSecond, secondAfterSecond, losses: losses.filter((_, i) => i % 10 === 0) };
  } finally {
    model.dispose();
  }
}

function findings(results: readonly TrialResult<Found>[]): Findings {
  const kept = measureOf(results, (found) => found.firstAfterSecond, percent);
  const shareOf = (trial: string, what: Exclude<keyof Found, 'losses'>): string =>
    percent(mean(results.filter((result) => result.trial === trial).map(({ found }) => found[what])));
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [
        trial,
        {
          'first task after it': shareOf(trial, 'firstAfterFirst'),
          'first task after the second': shareOf(trial, 'firstAfterSecond'),
          'second task after both': shareOf(trial, 'secondAfterSecond'),
        },
      ]),
    ),
    charts: [lossChart(results)],
    claims: MEMORIES.flatMap((memory) => {
      const [asked, not] = [trialOf(memory, WITH), trialOf(memory, WITHOUT)];
      return kept.claim(`What is asked for again is kept while a second task is learned (${memory})`, {
        [asked]: [Math.max(0.75, kept.of(not) + 0.04), 1],
        [not]: [0, 1],
      });
    }),
  };
}

/** Published: in-context forgetting without the term, little with it, on Split-MNIST and others; no figure to repeat here. */
export const continualLearningExperiment: Experiment<Found> = {
  name: 'continual-learning',
  title: 'Continual learning: a memory that is taught not to forget',
  source:
    'Irie, Csordas, Schmidhuber, "Metalearning continual learning algorithms" (arXiv 2312.00276); tasks of generated glyphs',
  trials: (quick) =>
    (quick ? MEMORIES.slice(0, 1) : MEMORIES).flatMap((memory) =>
      [WITH, WITHOUT].map((asked) => trialOf(memory, asked)),
    ),
  run,
  example,
  findings,
};
