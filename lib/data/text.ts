// A text as a data set: windows at random positions to train on, consecutive windows of its end to validate on.
import { readFileSync } from '../platform';
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
} from '../core';
import { byteTokenizer, characterTokenizer, type Tokenizer } from '../io';
import {
  type Batch,
  countLabels,
  type Dataset,
  emptyBatch,
  evaluationOrder,
  MAX_STEP,
  trainingRandom,
} from './dataset';
import { wideBelow } from './sampling';

export interface TextDatasetOptions {
  /** The text itself; or `path`. */
  text?: string;
  /** A UTF-8 file, or several, joined in this order. */
  path?: string | readonly string[];
  /** Default `bytes`. */
  tokenizer?: 'bytes' | 'characters' | Tokenizer;
  /** The share of the tokens, from the end, that only `evaluation` shows. Default 0.1. */
  validationFraction?: number;
  /** T, default 256. */
  sequenceLength?: number;
  /** Default 0. */
  seed?: number;
}

const OPTIONS: OptionNames<TextDatasetOptions> = {
  text: true,
  path: true,
  tokenizer: true,
  validationFraction: true,
  sequenceLength: true,
  seed: true,
};

export interface TextDataset extends Dataset {
  readonly tokenizer: Tokenizer;
  /** Tokens of the training part. */
  readonly training: Int32Array;
  /** Tokens of the validation part; `evaluation` predicts all of them but the first. */
  readonly validation: Int32Array;
}

export function textDataset(options: TextDatasetOptions): TextDataset {
  const name = 'textDataset';
  checkOptions(name, options, OPTIONS);
  const T = checkInteger(name, 'sequenceLength', options.sequenceLength ?? 256, 1);
  const fraction = checkNumber(name, 'validationFraction', options.validationFraction ?? 0.1, 0, 1);
  const seed = checkInteger(name, 'seed', options.seed ?? 0);
  const text = readText(options);
  if (text === '') throw argumentError('INVALID_ARGUMENT', name, 'text', 'not empty', describe(text));
  const tokenizer = tokenizerOf(options.tokenizer ?? 'bytes', text);
  const tokens = Int32Array.from(tokenizer.encode(text, { addSpecialTokens: false }));
  const validationCount = Math.floor(tokens.length * fraction);
  const training = tokens.subarray(0, tokens.length - validationCount);
  const validation = tokens.subarray(training.length);
  if (training.length < T + 1 || (fraction > 0 && validation.length < 2)) {
    const expected = `long enough for a window of ${T + 1} training tokens${fraction > 0 ? ' and 2 validation tokens' : ''}`;
    const found = `${training.length} training and ${validation.length} validation tokens`;
    throw argumentError('INVALID_ARGUMENT', name, 'text', expected, found);
  }

  const windowCount = Math.max(0, Math.ceil((validation.length - 1) / T));
  return {
    name: 'text',
    description: `${tokens.length} tokens of text, ${validation.length} of them for validation`,
    vocabSize: tokenizer.vocabSize,
    sequenceLength: T,
    groups: ['all'],
    tokenizer,
    training,
    validation,
    batch(step, batchSize) {
      checkInteger(name, 'batchSize', batchSize, 1);
      const random = trainingRandom(seed, checkInteger(name, 'step', step, 0, MAX_STEP - 1));
      const starts = Array.from({ length: batchSize }, () => wideBelow(random, training.length - T));
      return windows(training, starts, T);
    },
    evaluationSize: windowCount,
    *evaluation(batchSize, spread = false) {
      checkInteger(name, 'batchSize', batchSize, 1);
      const at = evaluationOrder(windowCount, spread);
      for (let first = 0; first < windowCount; first += batchSize) {
        const rows = Math.min(batchSize, windowCount - first);
        yield windows(
          validation,
          Array.from({ length: rows }, (_, i) => at(first + i) * T),
          T,
        );
      }
    },
    decode: (ids) => tokenizer.decode(ids),
  };
}

/**
 * Windows of T tokens, each labelled with the token after it. One that runs past the end is padded behind with ignored
 * labels: in a causal model nothing that counts depends on the padding.
 */
function windows(tokens: Int32Array, starts: readonly number[], T: number): Batch {
  const batch = emptyBatch(starts.length, T, false);
  starts.forEach((start, b) => {
    const length = Math.min(T, tokens.length - 1 - start);
    batch.inputs.set(tokens.subarray(start, start + length), b * T);
    batch.labels.set(tokens.subarray(start + 1, start + 1 + length), b * T);
  });
  return { ...batch, labelCount: countLabels(batch.labels) };
}

function readText({ text, path }: TextDatasetOptions): string {
  if ((text === undefined) === (path === undefined)) {
    throw argumentError(
      'INVALID_ARGUMENT',
      'textDataset',
      'text',
      'given, or else path',
      text === undefined ? 'neither' : 'both',
    );
  }
  if (text !== undefined) {
    if (typeof text !== 'string')
      throw argumentError('INVALID_ARGUMENT', 'textDataset', 'text', 'a string', describe(text));
    return text;
  }
  const paths = typeof path === 'string' ? [path] : path;
  if (!Array.isArray(paths) || !paths.every((each) => typeof each === 'string')) {
    throw argumentError('INVALID_ARGUMENT', 'textDataset', 'path', 'a path or a list of paths', describe(path));
  }
  return paths.map(readFile).join('');
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FastWeightsError('IO', `textDataset: cannot read ${path}: ${reason}`, {
      argument: 'path',
      found: path,
      cause,
    });
  }
}

function tokenizerOf(choice: 'bytes' | 'characters' | Tokenizer, text: string): Tokenizer {
  if (choice === 'bytes') return byteTokenizer();
  if (choice === 'characters') return characterTokenizer(text);
  if (choice !== null && typeof choice === 'object' && typeof choice.encode === 'function') return choice;
  throw argumentError(
    'INVALID_ARGUMENT',
    'textDataset',
    'tokenizer',
    "'bytes' | 'characters' | a Tokenizer",
    describe(choice),
  );
}
