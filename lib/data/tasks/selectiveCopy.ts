// Selective copying of the MAD suite: symbols among blanks, and then all of them again.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { distinct } from '../sampling';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `selectiveCopy`; the vocabulary is `symbols` and two more. */
export interface SelectiveCopyOptions extends TaskOptions {
  /** Different symbols, 14 by default. */
  symbols?: number;
  /** Symbols to copy, 16 by default. */
  copied?: number;
  /** T, 256 by default; twice `copied` and one more at least. */
  length?: number;
}

const OPTIONS: OptionNames<SelectiveCopyOptions> = { ...TASK_OPTIONS, symbols: true, copied: true, length: true };

/**
 * `copied` symbols at random places among blanks, the sign to copy, and `copied` blanks, at each of which the label is the next
 * symbol.
 *
 * Poli et al., "Mechanistic design and scaling of hybrid architectures" (2024).
 */
export function selectiveCopy(options: SelectiveCopyOptions = {}): Dataset {
  const name = 'selectiveCopy';
  checkOptions(name, options, OPTIONS);
  const symbols = checkInteger(name, 'symbols', options.symbols ?? 14, 1, 2 ** 20);
  const copied = checkInteger(name, 'copied', options.copied ?? 16, 1);
  const T = checkInteger(name, 'length', options.length ?? 256, 2 * copied + 1);
  const [blank, sign] = [symbols, symbols + 1];
  const context = T - copied - 1;

  return sequenceTask(
    {
      name,
      description: `copy ${copied} of ${symbols} symbols from among ${context - copied} blanks`,
      vocabSize: symbols + 2,
      sequenceLength: T,
      draw(random, { inputs, labels }) {
        inputs.fill(blank);
        inputs[context] = sign;
        const places = distinct(random, copied, 0, context).sort((a, b) => a - b);
        places.forEach((place, i) => {
          const symbol = random.below(symbols);
          inputs[place] = symbol;
          labels[context + 1 + i] = symbol;
        });
      },
      decode: (ids) => Array.from(ids, (id) => (id === blank ? '.' : id === sign ? '|' : `s${id}`)).join(' '),
    },
    options,
  );
}
