// Formal languages (spec 3.6): which memories count, keep apart and forget, on words as long as those of training (Bin0)
// and on longer ones (Bin1).
import { type Dataset, FORMAL_LANGUAGES, formalLanguage, type FormalLanguage, parity } from '../data';
import type { Example, Experiment, TrialContext, TrialModel, TrialResult } from './experiment';
import { mean, measureOf, percent, trialsOf } from './results';
import { MEMORIES, type MemoryName, modelWith, tokenExample, trainAndMeasure } from './tokens';

/** Share of words with every label right. */
type Found = { bin0: number; bin1: number; steps: number; losses: number[] };

type Language = 'parity' | FormalLanguage;

const LANGUAGES: readonly Language[] = ['parity', ...FORMAL_LANGUAGES];

/** Training draws words from a stream that does not end; the published sets hold 10,000. */
const FULL = { steps: 1500, batchSize: 32, trained: 50, words: 1000 };
const SHORT = { steps: 400, batchSize: 8, trained: 20, words: 100 };

/** A trial is a language and a memory, apart by a colon. */
const trialOf = (language: Language, memory: MemoryName): string => `${language}: ${memory}`;

const QUICK = (['recurrent-delta', 'delta (0,1)'] as const).map((memory) => trialOf('(aa)*', memory));

/** A trial taken apart, and words of its language. */
function setup(trial: string, { seed, quick }: TrialModel) {
  const [language, memory] = trial.split(': ') as [Language, MemoryName];
  const { trained, words, ...training } = quick ? SHORT : FULL;
  const make = (offset: number, minLength: number, maxLength: number): Dataset => {
    const options = { seed: seed + offset, minLength, maxLength, evaluationSize: words };
    return language === 'parity' ? parity(options) : formalLanguage({ language, ...options });
  };
  return { memory, trained, training, make };
}

async function run(trial: string, context: TrialContext): Promise<Found> {
  const { memory, trained, training, make } = setup(trial, context);
  const data = make(0, 2, trained);
  const { measured, steps, losses } = await trainAndMeasure(
    {
      ...training,
      model: modelWith(memory, data.vocabSize, context),
      data,
      held: make(1000, 2, trained),
      tests: { bin0: make(2000, 2, trained), bin1: make(3000, trained + 2, 2 * trained) },
    },
    context,
  );
  return { bin0: measured.bin0.sequences, bin1: measured.bin1.sequences, steps, losses };
}

function example(trial: string, context: TrialModel): Example {
  const { memory, trained, make } = setup(trial, context);
  const data = make(4000, 2, trained);
  return tokenExample(modelWith(memory, data.vocabSize, context), data);
}

function findings(results: readonly TrialResult<Found>[]): ReturnType<Experiment<Found>['findings']> {
  const own = (trial: string): Found[] => results.filter((result) => result.trial === trial).map(({ found }) => found);
  const trials = trialsOf(results);
  const bin1 = measureOf(results, (found) => found.bin1, percent);
  const languages = LANGUAGES.filter((language) => trials.some((trial) => trial.startsWith(`${language}: `)));
  return {
    measures: Object.fromEntries(
      trials.map((trial) => [
        trial,
        {
          'Bin0, lengths of training': percent(mean(own(trial).map((found) => found.bin0))),
          'Bin1, longer': percent(bin1.of(trial)),
          steps: mean(own(trial).map(({ steps }) => steps)),
        },
      ]),
    ),
    charts: languages.map((language) => ({
      title: `${language}: loss while training, first seed`,
      xLabel: 'step',
      yLabel: 'nats',
      series: results
        .filter(({ trial, seed }) => seed === 1 && trial.startsWith(`${language}: `))
        .map(({ trial, found }) => ({
          name: trial.slice(language.length + 2),
          x: found.losses.map((_, i) => 10 * i),
          y: found.losses,
        })),
    })),
    claims: [
      ...bin1.claim('The recurrent delta net tells even from odd past the lengths of training', {
        [trialOf('(aa)*', 'recurrent-delta')]: [0.9, 1],
      }),
      ...bin1.claim('The delta rule with strengths up to 1 does not', { [trialOf('(aa)*', 'delta (0,1)')]: [0, 0.2] }),
    ],
  };
}

export const formalLanguagesExperiment: Experiment<Found> = {
  name: 'formal-languages',
  title: 'Formal languages: which memories count, keep apart and forget',
  source:
    'Irie, Csordas, Schmidhuber, "Practical computational power of linear Transformers and their recurrent and self-referential extensions" (EMNLP 2023); languages of Bhattamishra, Ahuja, Goyal (EMNLP 2020)',
  trials: (quick) =>
    quick
      ? QUICK
      : LANGUAGES.flatMap((language) => Object.keys(MEMORIES).map((memory) => trialOf(language, memory as MemoryName))),
  run,
  example,
  findings,
};
