// Multi-query associative recall (spec 3.13): keys and values, then each key once as a query among random tokens, near
// queries far more often than distant ones.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { distinct, weightedDistinct } from '../sampling';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `mqar`; each sequence has `pairs` labels that count. */
export interface MqarOptions extends TaskOptions {
  /** Default 8192: keys from the lower half without 0, values from the upper half. */
  vocabSize?: number;
  /** Default 64. */
  sequenceLength?: number;
  /** Key value pairs, default 4; at most a quarter of the length. */
  pairs?: number;
}

const OPTIONS: OptionNames<MqarOptions> = { ...TASK_OPTIONS, vocabSize: true, sequenceLength: true, pairs: true };

/** Exponent of the gaps: p(i) is proportional to i^(a - 1). */
const A = 0.01;

/**
 * Multi-query associative recall (spec 3.13): `pairs` keys, each with its value, then each key once more among random
 * tokens, where the label is its value. Queries stand at every second place, near ones far more often: place i in
 * proportion to i^-0.99.
 */
export function mqar(options: MqarOptions = {}): Dataset {
  const name = 'mqar';
  checkOptions(name, options, OPTIONS);
  const vocabSize = checkInteger(name, 'vocabSize', options.vocabSize ?? 8192, 4, 2 ** 24);
  const T = checkInteger(name, 'sequenceLength', options.sequenceLength ?? 64, 4);
  const half = Math.floor(vocabSize / 2);
  const pairs = checkInteger(name, 'pairs', options.pairs ?? 4, 1, Math.min(Math.floor(T / 4), half - 1));
  const context = 2 * pairs;
  const slots = Math.floor((T - context) / 2);
  const gapWeights = Array.from({ length: slots }, (_, i) => (i + 1) ** (A - 1));

  return sequenceTask(
    {
      name,
      description: `multi-query associative recall, ${pairs} pairs in ${T} tokens of ${vocabSize}`,
      vocabSize,
      sequenceLength: T,
      draw(random, { inputs, labels }) {
        const keys = distinct(random, pairs, 1, half);
        const values = distinct(random, pairs, half, vocabSize);
        const gaps = weightedDistinct(random, pairs, gapWeights);
        for (let t = context; t < T; t++) inputs[t] = random.below(vocabSize);
        for (let i = 0; i < pairs; i++) {
          inputs[2 * i] = keys[i];
          inputs[2 * i + 1] = values[i];
          const query = context + 2 * gaps[i];
          inputs[query] = keys[i];
          labels[query] = values[i];
        }
      },
      decode: (ids) => Array.from(ids, (id) => (id < half ? `k${id}` : `v${id - half}`)).join(' '),
    },
    options,
  );
}
