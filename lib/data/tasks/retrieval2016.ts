// The associative retrieval of Ba et al. 2016 (spec 3.11): letters with digits, and one letter again.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { distinct } from '../sampling';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `associativeRetrieval2016`; T is 2 `pairs` + 3. */
export interface AssociativeRetrieval2016Options extends TaskOptions {
  /** Letters with their digits, 4 as published by default; some public programs have 3. */
  pairs?: number;
}

const OPTIONS: OptionNames<AssociativeRetrieval2016Options> = { ...TASK_OPTIONS, pairs: true };

const LETTERS = 26;
const DIGITS = 10;
const SEPARATOR = LETTERS + DIGITS;

/**
 * `c9k8j3f1??c`: pairs of different letters and any digits, two separators, one of the letters; the only label, at the
 * last token, is its digit (Ba, Hinton, Mnih, Leibo, Ionescu 2016). Ids: letters 0 to 25, digits 26 to 35, separator 36.
 */
export function associativeRetrieval2016(options: AssociativeRetrieval2016Options = {}): Dataset {
  const name = 'associativeRetrieval2016';
  checkOptions(name, options, OPTIONS);
  const pairs = checkInteger(name, 'pairs', options.pairs ?? 4, 1, LETTERS);
  const T = 2 * pairs + 3;

  return sequenceTask(
    {
      name,
      description: `the digit of one of ${pairs} letters`,
      vocabSize: SEPARATOR + 1,
      sequenceLength: T,
      draw(random, { inputs, labels }) {
        const letters = distinct(random, pairs, 0, LETTERS);
        letters.forEach((letter, i) => {
          inputs[2 * i] = letter;
          inputs[2 * i + 1] = LETTERS + random.below(DIGITS);
        });
        inputs.fill(SEPARATOR, 2 * pairs, T - 1);
        const asked = random.below(pairs);
        inputs[T - 1] = letters[asked];
        labels[T - 1] = inputs[2 * asked + 1];
      },
      decode: (ids) =>
        Array.from(ids, (id) =>
          id === SEPARATOR ? '?' : id < LETTERS ? String.fromCharCode(97 + id) : String(id - LETTERS),
        ).join(''),
    },
    options,
  );
}
