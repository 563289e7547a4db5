// Code execution (spec 3.4): whether a memory holds the values of variables while a program changes them.
import { codeExecution, type Dataset } from '../data';
import type { Example, Experiment, TrialContext, TrialModel, TrialResult } from './experiment';
import { lossChart, mean, measureOf, percent, trialsOf } from './results';
import { MEMORIES, type MemoryName, modelWith, tokenExample, trainAndMeasure } from './tokens';

/** Shares of prints and of programs that are right. */
type Found = { printed: number; programs: number; steps: number; losses: number[] };

interface Setting {
  statements: number;
  variables: number;
  steps: number;
}

/** A trial is one of these and a memory; the published sets have programs of 100 statements. */
const SETTINGS: Record<string, Setting> = {
  '6 statements, 2 variables': { statements: 6, variables: 2, steps: 300 },
  '20 statements, 3 variables': { statements: 20, variables: 3, steps: 1000 },
  '20 statements, 5 variables': { statements: 20, variables: 5, steps: 1000 },
};
const [QUICK, ...LONG] = Object.keys(SETTINGS);

const trialOf = (setting: string, memory: MemoryName): string => `${setting}: ${memory}`;

/** A trial taken apart, and programs of its kind. */
function setup(trial: string, { seed }: TrialModel) {
  const [setting, memory] = trial.split(': ') as [string, MemoryName];
  const { statements, variables, steps } = SETTINGS[setting];
  const make = (offset: number, evaluationSize: number): Dataset =>
    codeExecution({ statements, variables, conditionalReassignment: true, seed: seed + offset, evaluationSize });
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
      tests: { all: make(2000, 200) },
    },
    context,
  );
  const { groups, sequences } = measured.all;
  return { printed: groups.printed, programs: sequences, steps, losses };
}

function example(trial: string, context: TrialModel): Example {
  const { memory, make } = setup(trial, context);
  const data = make(4000, 1);
  return tokenExample(modelWith(memory, data.vocabSize, context), data);
}

function findings(results: readonly TrialResult<Found>[]): ReturnType<Experiment<Found>['findings']> {
  const own = (trial: string): Found[] => results.filter((result) => result.trial === trial).map(({ found }) => found);
  const printed = measureOf(results, (found) => found.printed, percent);
  return {
    measures: Object.fromEntries(
      trialsOf(results).map((trial) => [
        trial,
        {
          'prints right': percent(printed.of(trial)),
          'programs right throughout': percent(mean(own(trial).map(({ programs }) => programs))),
          steps: mean(own(trial).map(({ steps }) => steps)),
        },
      ]),
    ),
    charts: [lossChart(results)],
    claims: printed.claim('The delta rule follows variables that change, the sum does not', {
      [trialOf(QUICK, 'delta (0,1)')]: [0.4, 1],
      [trialOf(QUICK, 'linear attention')]: [0, 0.25],
    }),
  };
}

/** Published, programs of 100 statements right throughout: 3 variables, LSTM 99.0 %, linear 0 %; 5 variables, 93.2 %, delta 61.4 %, linear 0 %. */
export const codeExecutionExperiment: Experiment<Found> = {
  name: 'code-execution',
  title: 'Code execution: variables that a program changes while it is read',
  source:
    'Irie, Schlag, Csordas, Schmidhuber, "Going beyond linear Transformers with recurrent fast weight programmers" (NeurIPS 2021), section 4.2; task of Fan et al. 2020',
  trials: (quick) =>
    quick
      ? (['delta (0,1)', 'linear attention'] as const).map((memory) => trialOf(QUICK, memory))
      : LONG.flatMap((setting) => Object.keys(MEMORIES).map((memory) => trialOf(setting, memory as MemoryName))),
  run,
  example,
  findings,
};
