// Associative recall with overwriting: some keys come again with a new value, and only the last value counts. An
// additive memory answers with a mixture of old and new, the delta rule replaces.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { distinct } from '../sampling';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `associativeRecall`; T is 2 `pairs` + 1 + `queries`, the vocabulary 1 + `nKeys` + `nValues`. */
export interface AssociativeRecallOptions extends TaskOptions {
  /** Different key tokens, default 32. */
  nKeys?: number;
  /** Different value tokens, default 32. */
  nValues?: number;
  /** Writes in a sequence, default 12. */
  pairs?: number;
  /** Writes among them that give a key already seen a new value, default a third of the pairs. */
  replaced?: number;
  /** Different keys asked for at the end, default every key of the sequence. */
  queries?: number;
}

const OPTIONS: OptionNames<AssociativeRecallOptions> = {
  ...TASK_OPTIONS,
  nKeys: true,
  nValues: true,
  pairs: true,
  replaced: true,
  queries: true,
};

const SEPARATOR = 0;
const FRESH = 0;
const REPLACED = 1;

/** key value key value ... separator query query ...; the label at a query is the last value of that key. */
export function associativeRecall(options: AssociativeRecallOptions = {}): Dataset {
  const name = 'associativeRecall';
  checkOptions(name, options, OPTIONS);
  const nKeys = checkInteger(name, 'nKeys', options.nKeys ?? 32, 1);
  const nValues = checkInteger(name, 'nValues', options.nValues ?? 32, 2);
  const pairs = checkInteger(name, 'pairs', options.pairs ?? 12, 1);
  const replaced = checkInteger(name, 'replaced', options.replaced ?? Math.floor(pairs / 3), 0, pairs - 1);
  const keysUsed = checkInteger(name, 'pairs - replaced', pairs - replaced, 1, nKeys);
  const queries = checkInteger(name, 'queries', options.queries ?? keysUsed, 1, keysUsed);
  const firstValue = 1 + nKeys;
  const context = 2 * pairs + 1;

  return sequenceTask(
    {
      name,
      description: `last value of ${queries} keys after ${pairs} writes, ${replaced} of them to keys seen before`,
      vocabSize: 1 + nKeys + nValues,
      sequenceLength: context + queries,
      groups: ['fresh', 'replaced'],
      draw(random, { inputs, labels, groups }) {
        const keys = distinct(random, keysUsed, 1, firstValue);
        // Every key once; the further writes go round the keys (which are in random order), as evenly as they can.
        const writes = random.shuffle(Array.from({ length: pairs }, (_, i) => keys[i % keysUsed]));
        const memory = new Map<number, number>();
        const overwritten = new Set<number>();
        writes.forEach((key, i) => {
          const old = memory.get(key);
          let value = firstValue + random.below(old === undefined ? nValues : nValues - 1);
          if (old !== undefined) {
            if (value >= old) value++;
            overwritten.add(key);
          }
          memory.set(key, value);
          inputs[2 * i] = key;
          inputs[2 * i + 1] = value;
        });
        inputs[context - 1] = SEPARATOR;
        distinct(random, queries, 0, keysUsed).forEach((which, i) => {
          const key = keys[which];
          inputs[context + i] = key;
          labels[context + i] = memory.get(key)!;
          groups[context + i] = overwritten.has(key) ? REPLACED : FRESH;
        });
      },
      decode: (ids) =>
        Array.from(ids, (id) => (id === SEPARATOR ? '|' : id < firstValue ? `k${id - 1}` : `v${id - firstValue}`)).join(
          ' ',
        ),
    },
    options,
  );
}
