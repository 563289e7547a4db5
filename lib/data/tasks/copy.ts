// Copying: a random string, a separator, and the string again.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `copy`; its sequences have 2 `length` tokens out of `symbols` + 1. */
export interface CopyOptions extends TaskOptions {
  /** Different symbols, default 16. */
  symbols?: number;
  /** Symbols in the string, default 16. */
  length?: number;
}

const OPTIONS: OptionNames<CopyOptions> = { ...TASK_OPTIONS, symbols: true, length: true };

/** s_1 ... s_n separator s_1 ... s_(n-1); from the separator on, each label is the next symbol to write. */
export function copy(options: CopyOptions = {}): Dataset {
  const name = 'copy';
  checkOptions(name, options, OPTIONS);
  const symbols = checkInteger(name, 'symbols', options.symbols ?? 16, 1, 2 ** 24);
  const n = checkInteger(name, 'length', options.length ?? 16, 1);
  const separator = symbols;

  return sequenceTask(
    {
      name,
      description: `copy ${n} symbols of ${symbols}`,
      vocabSize: symbols + 1,
      sequenceLength: 2 * n,
      draw(random, { inputs, labels }) {
        for (let i = 0; i < n; i++) {
          const symbol = random.below(symbols);
          inputs[i] = symbol;
          labels[n + i] = symbol;
          if (i < n - 1) inputs[n + 1 + i] = symbol;
        }
        inputs[n] = separator;
      },
      decode: (ids) =>
        Array.from(ids, (id) => (id === separator ? '|' : symbolOf(id, symbols))).join(symbols > 26 ? ' ' : ''),
    },
    options,
  );
}

function symbolOf(id: number, symbols: number): string {
  return symbols > 26 ? String(id) : String.fromCharCode(97 + id);
}
