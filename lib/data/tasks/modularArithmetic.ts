// Modular arithmetic without brackets: the value of a sum of products so far, after each of its numbers.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `modularArithmetic`; T is 2 `maxLength`, the vocabulary `modulus` + 4. */
export interface ModularArithmeticOptions extends TaskOptions {
  /** Numbers are from 0 to one less; 5 by default. */
  modulus?: number;
  /** Fewest numbers, 1 by default. */
  minLength?: number;
  /** Most numbers, 20 by default. */
  maxLength?: number;
}

const OPTIONS: OptionNames<ModularArithmeticOptions> = {
  ...TASK_OPTIONS,
  modulus: true,
  minLength: true,
  maxLength: true,
};

const SIGNS = ['+', '-', '*'] as const;

/**
 * A start token, numbers with +, - or * between them, padding (the start token again); the label at a number is the value of
 * what was read so far, products before sums, modulo `modulus`.
 *
 * Deletang et al., "Neural networks and the Chomsky hierarchy" (2023), modular arithmetic (simple), which asks for the value
 * at the end alone.
 */
export function modularArithmetic(options: ModularArithmeticOptions = {}): Dataset {
  const name = 'modularArithmetic';
  checkOptions(name, options, OPTIONS);
  const m = checkInteger(name, 'modulus', options.modulus ?? 5, 2, 2 ** 15);
  const minLength = checkInteger(name, 'minLength', options.minLength ?? 1, 1);
  const maxLength = checkInteger(name, 'maxLength', options.maxLength ?? 20, minLength);
  const start = m + SIGNS.length;

  return sequenceTask(
    {
      name,
      description: `arithmetic modulo ${m} on ${minLength} to ${maxLength} numbers`,
      vocabSize: m + SIGNS.length + 1,
      sequenceLength: 2 * maxLength,
      draw(random, { inputs, labels }) {
        const n = minLength + random.below(maxLength - minLength + 1);
        inputs.fill(start);
        let [sum, product] = [0, 0];
        for (let i = 0; i < n; i++) {
          const number = random.below(m);
          const sign = i === 0 ? 0 : random.below(SIGNS.length);
          if (i > 0) inputs[2 * i] = m + sign;
          inputs[2 * i + 1] = number;
          if (SIGNS[sign] === '*') product = (product * number) % m;
          else {
            sum = (sum + product) % m;
            product = SIGNS[sign] === '+' ? number : (m - number) % m;
          }
          labels[2 * i + 1] = (sum + product) % m;
        }
      },
      decode: (ids) => Array.from(ids, (id) => (id < m ? String(id) : (SIGNS[id - m] ?? '.'))).join(' '),
    },
    options,
  );
}
