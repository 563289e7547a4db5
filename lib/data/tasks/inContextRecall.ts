// In-context recall of the MAD suite: keys and their values again and again, of one token or several, among noise or not.
import { checkInteger, checkOptions, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { distinct } from '../sampling';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `inContextRecall`; the vocabulary is `symbols` + `noiseSymbols` where there is noise. */
export interface InContextRecallOptions extends TaskOptions {
  /** Tokens of keys and of values, half of them each; 16 by default. */
  symbols?: number;
  /** T, 128 by default. */
  length?: number;
  /** Keys of a sequence, each with one value throughout; as many as there are tokens of keys by default. */
  keys?: number;
  /** Most tokens of a key and of a value, drawn for each; 1 by default, above it the recall is fuzzy. */
  motif?: number;
  /** Per cent of pairs that are noise instead, as many tokens of others; 0 by default. */
  noisePercent?: number;
  /** Tokens of noise, 16 by default. */
  noiseSymbols?: number;
}

const OPTIONS: OptionNames<InContextRecallOptions> = {
  ...TASK_OPTIONS,
  symbols: true,
  length: true,
  keys: true,
  motif: true,
  noisePercent: true,
  noiseSymbols: true,
};

/**
 * key value key value ... to the end of the sequence; the label before each token of a value whose key was there already is
 * that token. Tokens of one key are different, and so are those of one value.
 *
 * Poli et al., "Mechanistic design and scaling of hybrid architectures" (2024), in-context, noisy and fuzzy recall with many
 * queries. There fuzzy keys are drawn from all that there are, so that few come again; here from `keys` of each sequence.
 */
export function inContextRecall(options: InContextRecallOptions = {}): Dataset {
  const name = 'inContextRecall';
  checkOptions(name, options, OPTIONS);
  const symbols = checkInteger(name, 'symbols', options.symbols ?? 16, 2, 2 ** 20);
  const half = Math.floor(symbols / 2);
  const T = checkInteger(name, 'length', options.length ?? 128, 4);
  const motif = checkInteger(name, 'motif', options.motif ?? 1, 1, half);
  const keys = checkInteger(name, 'keys', options.keys ?? half, 1, half);
  const noise = checkInteger(name, 'noisePercent', options.noisePercent ?? 0, 0, 99) / 100;
  const noiseSymbols = noise > 0 ? checkInteger(name, 'noiseSymbols', options.noiseSymbols ?? 16, 1, 2 ** 20) : 0;
  const kind = `${motif > 1 ? ', fuzzy' : ''}${noise > 0 ? `, ${options.noisePercent} % noise` : ''}`;

  return sequenceTask(
    {
      name,
      description: `in-context recall of ${keys} keys in ${T} tokens${kind}`,
      vocabSize: 2 * half + noiseSymbols,
      sequenceLength: T,
      draw(random, { inputs, labels }) {
        const size = (): number => 1 + random.below(motif);
        // Different first tokens make different keys.
        const firsts = distinct(random, keys, 0, half);
        const pairs = firsts.map((first) => ({
          key: [first, ...distinct(random, half, 0, half).filter((token) => token !== first)].slice(0, size()),
          value: distinct(random, size(), half, 2 * half),
          known: false,
        }));
        let t = 0;
        const put = (token: number): void => {
          if (t < T) inputs[t++] = token;
        };
        while (t < T) {
          const pair = pairs[random.below(keys)];
          if (random.next() < noise) {
            for (let n = pair.key.length + pair.value.length; n > 0; n--) put(2 * half + random.below(noiseSymbols));
            continue;
          }
          pair.key.forEach(put);
          for (const token of pair.value) {
            if (pair.known && t < T) labels[t - 1] = token;
            put(token);
          }
          pair.known = true;
        }
      },
      decode: (ids) =>
        Array.from(ids, (id) => (id < half ? `k${id}` : id < 2 * half ? `v${id - half}` : `n${id - 2 * half}`)).join(
          ' ',
        ),
    },
    options,
  );
}
