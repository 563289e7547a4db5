// What speculation is asked for with, and what it tells of itself.
import { argumentError, checkInteger, checkOptions, describe, FastWeightsError, type OptionNames } from '../../core';
import { checkModel, type RecurrentModel } from '../model';

/** The option `speculate` of `generate`. */
export interface SpeculateOptions {
  /**
   * Who guesses. 'ngram' (Saxena 2023, "Prompt lookup decoding"): where the last 4, 3 or 2 tokens stood before in the text, what
   * followed them then; it costs nothing, and is right where a text repeats itself or its prompt. A smaller model of the
   * same vocabulary, the draft: what it holds most probable; it reads the text as well, with a state of its own.
   */
  guesser: 'ngram' | RecurrentModel;
  /** How many tokens are guessed at once at the most, 16 by default and 64 at the most. How many it are depends on how many were right. */
  maxGuesses?: number;
}

const OPTIONS: OptionNames<SpeculateOptions> = { guesser: true, maxGuesses: true };

/** What came of guessing in one text so far. */
export interface SpeculationCounts {
  /** Tokens that were guessed and read. */
  readonly guessed: number;
  /** Those of them that were then drawn. */
  readonly accepted: number;
  /** Calls of the model that read guesses. */
  readonly reads: number;
}

/** So many guesses are never right in a row as often as it costs to read them. */
const MOST = 64;

/** Requires options that are known, and models that can do it. */
export function checkSpeculate(
  where: string,
  options: SpeculateOptions,
  model: Pick<RecurrentModel, 'vocabSize' | 'verifyStages'>,
): Required<SpeculateOptions> {
  checkOptions(`${where}: speculate`, options, OPTIONS);
  const { guesser, maxGuesses = 16 } = options;
  checkInteger(where, 'speculate.maxGuesses', maxGuesses, 1, MOST);
  if (typeof model.verifyStages !== 'function') {
    throw new FastWeightsError('UNSUPPORTED', `${where}: speculate: the model has no verifyStages`, {
      argument: 'speculate',
    });
  }
  if (guesser === 'ngram') return { guesser, maxGuesses };
  if (typeof guesser === 'string') {
    const expected = "'ngram' or a model that generates";
    throw argumentError('INVALID_ARGUMENT', where, 'speculate.guesser', expected, describe(guesser));
  }
  checkModel(where, guesser, 'speculate.guesser');
  if (guesser.vocabSize !== model.vocabSize) {
    const expected = `a model of ${model.vocabSize} tokens, like the one that it guesses for`;
    throw argumentError('INVALID_ARGUMENT', where, 'speculate.guesser', expected, `one of ${guesser.vocabSize}`);
  }
  return { guesser, maxGuesses };
}
