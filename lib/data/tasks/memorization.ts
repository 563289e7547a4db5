// Memorisation of the MAD suite: a dictionary that no sequence tells, for the weights to learn.
import { checkInteger, checkOptions, HostRandom, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { distinct } from '../sampling';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `memorization`; T is 2 `queries`, the vocabulary 2 `keys` + 1. */
export interface MemorizationOptions extends TaskOptions {
  /** Keys of the dictionary, each with a value of its own; 127 by default. */
  keys?: number;
  /** Keys of a sequence, 16 by default. */
  queries?: number;
  /** Seed of the dictionary, the same for training and evaluation whatever their seed; 0 by default. */
  dictionary?: number;
}

const OPTIONS: OptionNames<MemorizationOptions> = { ...TASK_OPTIONS, keys: true, queries: true, dictionary: true };

/**
 * key gap key gap ...; the label at a gap is the value that the dictionary has for the key before it.
 *
 * Poli et al., "Mechanistic design and scaling of hybrid architectures" (2024).
 */
export function memorization(options: MemorizationOptions = {}): Dataset {
  const name = 'memorization';
  checkOptions(name, options, OPTIONS);
  const keys = checkInteger(name, 'keys', options.keys ?? 127, 1, 2 ** 20);
  const queries = checkInteger(name, 'queries', options.queries ?? 16, 1);
  const dictionary = checkInteger(name, 'dictionary', options.dictionary ?? 0);
  const values = distinct(new HostRandom(dictionary, 0), keys, keys, 2 * keys);
  const gap = 2 * keys;

  return sequenceTask(
    {
      name,
      description: `${queries} of ${keys} keys, whose values only training tells`,
      vocabSize: 2 * keys + 1,
      sequenceLength: 2 * queries,
      draw(random, { inputs, labels }) {
        for (let i = 0; i < queries; i++) {
          const key = random.below(keys);
          inputs[2 * i] = key;
          inputs[2 * i + 1] = gap;
          labels[2 * i + 1] = values[key];
        }
      },
      decode: (ids) => Array.from(ids, (id) => (id === gap ? '?' : id < keys ? `k${id}` : `v${id - keys}`)).join(' '),
    },
    options,
  );
}
