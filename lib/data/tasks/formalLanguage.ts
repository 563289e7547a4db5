// Formal languages with a label at every position (spec 3.6): what a memory must count, forget or keep apart.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  type HostRandom,
  type OptionNames,
} from '../../core';
import { evaluationRandom, type Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** The languages; parity is a task of its own. */
export const FORMAL_LANGUAGES = [
  '(aa)*',
  '(abab)*',
  'a^n b^n',
  'a^n b^n c^n',
  'dyck-1',
  'shuffle-2',
  'reset-dyck-1',
] as const;

/** What `formalLanguage` takes as `language`. */
export type FormalLanguage = (typeof FORMAL_LANGUAGES)[number];

/** Options of `formalLanguage`; T is 1 + the length of the longest word. */
export interface FormalLanguageOptions extends TaskOptions {
  /** 'dyck-1' by default. */
  language?: FormalLanguage;
  /** Fewest symbols of a word, 2 by default. */
  minLength?: number;
  /** Most symbols of a word, 50 by default. */
  maxLength?: number;
  /** Bracket languages: how probable S -> (S) is, 0.5 by default. */
  p?: number;
  /** Bracket languages: how probable S -> SS is, 0.25 by default; p + 2 q is at most 1, past which words do not end. */
  q?: number;
  /**
   * What the lengths bound: the whole 'word' by default; 'part', as in the published generator, n in 'a^n b^n' and
   * 'a^n b^n c^n', and in 'reset-dyck-1' the word behind the reset and the one that was cut in front of it, so that the
   * whole has up to 2 maxLength + 1 symbols.
   */
  boundsOf?: 'word' | 'part';
  /** 'shuffle-2': as in the published generator brackets of both kinds are nested and never cross; false by default. */
  nested?: boolean;
}

const OPTIONS: OptionNames<FormalLanguageOptions> = {
  ...TASK_OPTIONS,
  language: true,
  minLength: true,
  maxLength: true,
  p: true,
  q: true,
  boundsOf: true,
  nested: 'flag',
};

type Grammar = { p: number; q: number; nested: boolean };
type Draw = (random: HostRandom) => number[];

interface Language {
  /** Symbols in the order of their ids; their number is the id of the start token and of padding. */
  alphabet: string;
  /** Languages with a word for each n, of n times `period` symbols. */
  repeated?: { period: number; word(n: number): number[] };
  /** Bracket languages: a word of at most `max` symbols, however short. */
  bracketed?(random: HostRandom, max: number, grammar: Grammar): number[];
  /** A label per symbol. */
  labels(word: readonly number[]): number[];
}

const times = (n: number, ...symbols: number[]): number[] => Array.from({ length: n }, () => symbols).flat();

/** A bracket word of at most max symbols: S -> (S) with p, SS with q, else empty; what grew too long becomes empty. */
function dyckWord(random: HostRandom, max: number, { p, q }: Grammar, kinds = 1, size = 0): number[] {
  if (size >= max) return [];
  const drawn = random.next();
  const inner = (more: number): number[] => dyckWord(random, max, { p, q, nested: false }, kinds, size + more);
  let word: number[] = [];
  if (drawn < p) {
    const open = 2 * random.below(kinds);
    word = [open, ...inner(2), open + 1];
  } else if (drawn < p + q) word = [...inner(0), ...inner(0)];
  return word.length <= max ? word : [];
}

/** Two words in an order of symbols that is drawn evenly among all that keep each word's own. */
function interleave(random: HostRandom, first: readonly number[], second: readonly number[]): number[] {
  let [i, j] = [0, 0];
  return times(first.length + second.length, 0).map(() =>
    random.below(first.length - i + second.length - j) < first.length - i ? first[i++] : second[j++],
  );
}

/** Open brackets of each of two kinds after every symbol; another symbol closes all. */
function depths(word: readonly number[]): [number, number][] {
  const open: [number, number] = [0, 0];
  return word.map((symbol) => {
    if (symbol > 3) open.fill(0);
    else open[symbol >> 1] += symbol % 2 === 0 ? 1 : -1;
    return [...open];
  });
}

const RESET = 4;

/** Brackets have the ids 0 ( 1 ) 2 [ 3 ] while words are drawn. */
const LANGUAGES: Record<FormalLanguage, Language> = {
  '(aa)*': {
    alphabet: 'a',
    repeated: { period: 2, word: (n) => times(2 * n, 0) },
    labels: (word) => word.map((_, t) => t % 2),
  },
  '(abab)*': {
    alphabet: 'ab',
    repeated: { period: 4, word: (n) => times(2 * n, 0, 1) },
    labels: (word) => word.map((_, t) => Number(t % 4 === 3)),
  },
  'a^n b^n': counter(2),
  'a^n b^n c^n': counter(3),
  'dyck-1': {
    alphabet: '()',
    bracketed: dyckWord,
    labels: (word) => depths(word).map(([open]) => Number(open > 0)),
  },
  'shuffle-2': {
    alphabet: '()[]',
    bracketed(random, max, grammar) {
      if (grammar.nested) return dyckWord(random, max, grammar, 2);
      const first = dyckWord(random, max, grammar);
      const second = dyckWord(random, max - first.length, grammar).map((symbol) => symbol + 2);
      return interleave(random, first, second);
    },
    labels: (word) => depths(word).map(([round, square]) => Number(round > 0) + 2 * Number(square > 0)),
  },
  'reset-dyck-1': {
    alphabet: '()1',
    bracketed: (random, max, grammar) => resetWord(random, max - 1, (cut) => max - 1 - cut, grammar),
    labels: (word) => depths(word.map((symbol) => (symbol === 2 ? RESET : symbol))).map(([open]) => Number(open > 0)),
  },
};

/** What may come next: 0 a or b, 1 b, 2 c, and as the last class the end of the word. */
function counter(letters: number): Language {
  return {
    alphabet: 'abc'.slice(0, letters),
    repeated: {
      period: letters,
      word: (n) => Array.from({ length: letters }, (_, letter) => times(n, letter)).flat(),
    },
    labels(word) {
      const n = word.length / letters;
      return word.map((_, t) => (t < n ? 0 : Math.floor((t + 1) / n)));
    },
  };
}

/** The beginning of a word of at most `first` symbols, a reset, and a word whose bound may depend on the place of the cut. */
function resetWord(random: HostRandom, first: number, second: (cut: number) => number, grammar: Grammar): number[] {
  const cut = dyckWord(random, first, grammar);
  const kept = cut.slice(0, random.below(cut.length + 1));
  return [...kept, 2, ...dyckWord(random, second(kept.length), grammar)];
}

/** Draws after which words within the bounds are called too rare. */
const MOST_TRIES = 10_000;

/** How words are drawn and how long they may be; refuses bounds that no word keeps. */
function drawing(
  name: string,
  language: FormalLanguage,
  options: FormalLanguageOptions,
): { draw: Draw; longest: number } {
  const min = checkInteger(name, 'minLength', options.minLength ?? 2, 1);
  const max = checkInteger(name, 'maxLength', options.maxLength ?? 50, min, 4096);
  const p = checkNumber(name, 'p', options.p ?? 0.5, 0, 1);
  const q = checkNumber(name, 'q', options.q ?? 0.25, 0, (1 - p) / 2);
  const nested = options.nested ?? false;
  if (nested && language !== 'shuffle-2')
    throw argumentError('INVALID_ARGUMENT', name, 'nested', "false unless language is 'shuffle-2'", 'true');
  const parts = checkChoice(name, 'boundsOf', options.boundsOf ?? 'word', ['word', 'part']) === 'part';
  if (parts && !['a^n b^n', 'a^n b^n c^n', 'reset-dyck-1'].includes(language))
    throw argumentError('INVALID_ARGUMENT', name, 'boundsOf', `'word' in ${language}`, "'part'");
  const none = (): Error =>
    argumentError('INVALID_ARGUMENT', name, 'minLength', `in reach of words of ${language}`, `${min} (to ${max})`);

  const { repeated, bracketed } = LANGUAGES[language];
  if (repeated) {
    const unit = parts ? 1 : repeated.period;
    const [least, most] = [Math.ceil(min / unit), Math.floor(max / unit)];
    if (least > most) throw none();
    return {
      draw: (random) => repeated.word(least + random.below(most - least + 1)),
      longest: most * repeated.period,
    };
  }
  const grammar = { p, q, nested };
  const once: Draw = parts
    ? (random) => resetWord(random, max, () => max, grammar)
    : (random) => bracketed!(random, max, grammar);
  const probe = evaluationRandom(0, 0);
  if (!times(MOST_TRIES, 0).some(() => once(probe).length >= min)) throw none();
  return {
    draw(random) {
      for (;;) {
        const word = once(random);
        if (word.length >= min) return word;
      }
    },
    longest: parts ? 2 * max + 1 : max,
  };
}

/**
 * A start token, a word of the language, padding (the start token again); at each symbol the label of spec 3.6. '(aa)*'
 * and '(abab)*': 1 iff the prefix is in the language. 'a^n b^n', 'a^n b^n c^n': what may come next, 0 a or b, 1 b, 2 c, the
 * last class the end. 'dyck-1' and 'reset-dyck-1': 1 iff a bracket is open (since the reset). 'shuffle-2': 1 if a round one
 * is open, plus 2 if a square one is. INVALID_ARGUMENT where no word keeps the bounds.
 *
 * Bhattamishra, Ahuja, Goyal, "On the ability and limitations of Transformers to recognize formal languages" (EMNLP 2020);
 * Irie, Csordas, Schmidhuber (EMNLP 2023), who train on lengths up to 50 and test on 52 to 100.
 */
export function formalLanguage(options: FormalLanguageOptions = {}): Dataset {
  const name = 'formalLanguage';
  checkOptions(name, options, OPTIONS);
  const language = checkChoice(name, 'language', options.language ?? 'dyck-1', FORMAL_LANGUAGES);
  const { draw, longest } = drawing(name, language, options);
  const { alphabet, labels: labelsOf } = LANGUAGES[language];
  const start = alphabet.length;
  return sequenceTask(
    {
      name,
      description: `${language}, words of up to ${longest} symbols, a label at each`,
      vocabSize: alphabet.length + 1,
      sequenceLength: longest + 1,
      draw(random, { inputs, labels }) {
        const word = draw(random);
        inputs.fill(start);
        inputs.set(word, 1);
        labels.set(labelsOf(word), 1);
      },
      decode: (ids) => Array.from(ids, (id) => alphabet[id] ?? '.').join(''),
    },
    options,
  );
}
