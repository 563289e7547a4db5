// Parity with a label at every position (spec 3.6). Eigenvalues of the state transition in [0, 1] cannot solve it,
// negative ones (beta in (0, 2)) can.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `parity`; the number of bits is uniform from `minLength` to `maxLength`, T is `maxLength` + 1. */
export interface ParityOptions extends TaskOptions {
  /** Fewest bits, default 3. */
  minLength?: number;
  /** Most bits, default 40. */
  maxLength?: number;
}

const OPTIONS: OptionNames<ParityOptions> = { ...TASK_OPTIONS, minLength: true, maxLength: true };

const START = 2;
const PREFIX = 0;
const LAST = 1;

/** A start token, n random bits, padding; the label at a bit is 1 if the ones so far are even in number, else 0. */
export function parity(options: ParityOptions = {}): Dataset {
  const name = 'parity';
  checkOptions(name, options, OPTIONS);
  const minLength = checkInteger(name, 'minLength', options.minLength ?? 3, 1);
  const maxLength = checkInteger(name, 'maxLength', options.maxLength ?? 40, minLength);

  return sequenceTask(
    {
      name,
      description: `parity of ${minLength} to ${maxLength} bits, a label at every bit`,
      vocabSize: 3,
      sequenceLength: maxLength + 1,
      groups: ['prefix', 'last'],
      draw(random, { inputs, labels, groups }) {
        const n = minLength + random.below(maxLength - minLength + 1);
        inputs.fill(START);
        let even = 1;
        for (let t = 1; t <= n; t++) {
          inputs[t] = random.below(2);
          even ^= inputs[t];
          labels[t] = even;
          groups[t] = t === n ? LAST : PREFIX;
        }
      },
      decode: (ids) => Array.from(ids, (id) => (id === START ? '.' : String(id))).join(''),
    },
    options,
  );
}
