// Every rule on small tasks of memory and of state tracking: which ones it learns at one small size, in as many steps each.
import { withSeed } from '../core';
import { createModel, type ModelName, modelFamilies } from '../models';
import type { Axes, Claim, Experiment, TrialContext, TrialResult } from './experiment';
import { GRID_TASKS, type GridTaskName, guessing } from './gridTasks';
import { mean, percent } from './results';
import { trainAndMeasure } from './tokens';

/** Share of labels of new sequences that are right, those of training in length. */
type Found = { accuracy: number; steps: number };

/** A row of the grid that is a family with other keys. */
const VARIANTS: Record<string, { family: ModelName; keys: Record<string, unknown> }> = {
  'deltanet-negative': { family: 'deltanet', keys: { allowNegEigval: true } },
  'gated-deltanet-negative': { family: 'gated-deltanet', keys: { allowNegEigval: true } },
};

const TASKS = Object.keys(GRID_TASKS) as GridTaskName[];

/** Every family that there is, and behind some of them what allows eigenvalues below 0. */
const rules = (): string[] =>
  modelFamilies.flatMap(({ name }) => [
    name,
    ...Object.keys(VARIANTS).filter((variant) => VARIANTS[variant].family === name),
  ]);

/** Two layers of width 64 and two heads, each with a gated feed-forward of 128 where the family has one. */
const SIZES = { hiddenSize: 64, numLayers: 2, numHeads: 2, intermediateSize: 128 };

const LONG = { steps: 800, batchSize: 32, words: 500 };
const SHORT = { steps: 200, batchSize: 16, words: 100 };

/** A trial is a task and a rule, apart by a colon. */
const trialOf = (task: string, rule: string): string => `${task}: ${rule}`;

/** Every task once, and those that claims are about. */
const QUICK = [
  trialOf('recall', 'deltanet'),
  trialOf('recall', 'linear-transformer'),
  trialOf('parity', 'srwm'),
  trialOf('parity', 'gla'),
  trialOf('noisy-recall', 'deltanet'),
  trialOf('fuzzy-recall', 'gated-deltanet'),
  trialOf('selective-copy', 'mamba2'),
  trialOf('compression', 'lstm'),
  trialOf('memorization', 'gla'),
  trialOf('S3', 'lstm'),
  trialOf('A5', 'lstm'),
  trialOf('modular-arithmetic', 'lstm'),
];

function trials(quick: boolean, _?: string, chosen: Partial<Axes> = {}): string[] {
  if (quick && !chosen.rules && !chosen.tasks) return QUICK;
  const { rules: rows = rules(), tasks = TASKS } = chosen;
  return rows.flatMap((rule) => tasks.map((task) => trialOf(task, rule)));
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const [name, rule] = trial.split(': ') as [GridTaskName, string];
  const { seed, quick, device } = context;
  const { words, ...training } = quick ? SHORT : LONG;
  const task = GRID_TASKS[name];
  const make = (offset: number, evaluationSize: number) => task.data({ seed: seed + offset, evaluationSize }, quick);
  const data = make(0, 1);
  const model = withSeed(seed, () => {
    const { family = rule as ModelName, keys = {} } = VARIANTS[rule] ?? {};
    const inner = createModel(family, { ...SIZES, ...keys, vocabSize: data.vocabSize, device });
    return task.around?.(inner, data) ?? inner;
  });
  const tests = { new: make(2000, words) };
  const { measured, steps } = await trainAndMeasure({ ...training, model, data, held: make(1000, 64), tests }, context);
  return { accuracy: measured.new.accuracy, steps };
}

function findings(results: readonly TrialResult<Found>[], quick: boolean): ReturnType<Experiment<Found>['findings']> {
  const of = (task: string, rule: string): number => {
    const own = results.filter(({ trial }) => trial === trialOf(task, rule));
    return own.length === 0 ? NaN : mean(own.map(({ found }) => found.accuracy));
  };
  const tasks = TASKS.filter((task) => results.some(({ trial }) => trial.startsWith(`${task}: `)));
  const rows = rules().filter((rule) => results.some(({ trial }) => trial.endsWith(`: ${rule}`)));
  const cells = new Set(results.map(({ trial }) => trial)).size;
  return {
    measures: { grid: { rules: rows.length, tasks: tasks.length, cells } },
    charts: [],
    scores: {
      title: 'Right labels of new sequences, per cent, mean over seeds',
      columnLabels: tasks,
      rows: [
        ...rows.map((rule) => ({ label: rule, scores: tasks.map((task) => of(task, rule)) })),
        { label: '(guessing)', scores: tasks.map((task) => guessing(task, quick)) },
      ],
    },
    claims: claims(of),
  };
}

function claims(of: (task: string, rule: string) => number): Claim[] {
  const claim = (text: string, task: string, better: string, worse: string, margin: number): Claim[] => {
    const [a, b] = [of(task, better), of(task, worse)];
    if (Number.isNaN(a + b)) return [];
    return [{ text, holds: a >= b + margin, because: `${task}, ${better}: ${percent(a)}, ${worse}: ${percent(b)}` }];
  };
  return [
    ...claim(
      'The delta rule recalls what a sum of the same size does not yet',
      'recall',
      'deltanet',
      'linear-transformer',
      0.2,
    ),
    ...claim(
      'A matrix that rewrites itself counts modulo two, a positive diagonal one does not',
      'parity',
      'srwm',
      'gla',
      0.1,
    ),
    ...claim(
      'Eigenvalues below 0 count modulo two, those from 0 on do not',
      'parity',
      'deltanet-negative',
      'deltanet',
      0.2,
    ),
  ];
}

/**
 * Differs from the published benchmark in the models (two blocks of width 64 of each family as it is, in place of two
 * interchangeable layers of width 128 and two of feed-forward), in one learning rate and number of steps for all, and in
 * new sequences at every step; the tasks say how they differ.
 */
export const gridExperiment: Experiment<Found> = {
  name: 'grid',
  title: 'Rules against tasks: recall, copying, compression, memorisation, state tracking',
  source:
    'tasks of Poli et al., "Mechanistic design and scaling of hybrid architectures" (2024); parity and modular arithmetic of Deletang et al. (2023), word problems of Merrill et al. (2024)',
  axes: () => ({ rules: rules(), tasks: TASKS }),
  trials,
  run,
  findings,
};
