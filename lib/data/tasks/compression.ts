// Compression of the MAD suite: all of a random sequence is asked of what its last token was turned into.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `compression`; the vocabulary is `symbols` + 1. */
export interface CompressionOptions extends TaskOptions {
  /** Different symbols, 15 by default. */
  symbols?: number;
  /** T, the last token included; 32 by default. */
  length?: number;
}

const OPTIONS: OptionNames<CompressionOptions> = { ...TASK_OPTIONS, symbols: true, length: true };

/**
 * Random symbols and a last token; the label at every symbol is the symbol itself, which is a task for a model that answers
 * from the last token alone: a language model reads the answer off its input.
 *
 * Poli et al., "Mechanistic design and scaling of hybrid architectures" (2024).
 */
export function compression(options: CompressionOptions = {}): Dataset {
  const name = 'compression';
  checkOptions(name, options, OPTIONS);
  const symbols = checkInteger(name, 'symbols', options.symbols ?? 15, 2, 2 ** 20);
  const T = checkInteger(name, 'length', options.length ?? 32, 2);

  return sequenceTask(
    {
      name,
      description: `${T - 1} of ${symbols} symbols in one token`,
      vocabSize: symbols + 1,
      sequenceLength: T,
      draw(random, { inputs, labels }) {
        for (let t = 0; t < T - 1; t++) labels[t] = inputs[t] = random.below(symbols);
        inputs[T - 1] = symbols;
      },
      decode: (ids) => Array.from(ids, (id) => (id === symbols ? '|' : `s${id}`)).join(' '),
    },
    options,
  );
}
