// A text as a data set: windows at random positions to train on, consecutive windows of its end to validate on.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  type FastWeightsError,
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
import { encode, type Skipped } from './encode';
import type { TextEncoding } from './encoding';
import { wideBelow } from './sampling';
import { openSource, survey, type Survey, type TextSource } from './source';
import { type IdArray, IdBuffer, type TokenSequence } from './tokens';

/** Options of every data set of a text, in memory or opened in turns. */
export interface TextOptions {
  /** A file, or several, joined in this order. */
  path?: string | readonly string[];
  /**
   * Of the files: without it UTF-8 or, where a byte order mark says so, UTF-16; what is neither, and NUL, is refused
   * with its place.
   */
  encoding?: TextEncoding;
  /**
   * What a token is. `bytes` takes those of the files as they are, whatever their encoding; `auto` takes characters where
   * there are fewer than 256 different ones or the text is no UTF-8, and bytes elsewhere. Default `bytes`.
   */
  tokenizer?: 'bytes' | 'characters' | 'auto' | Tokenizer;
  /** Leaves out what the tokenizer has no id for, and counts it; by default it is refused with its place. */
  skipUnknown?: boolean;
  /** The share of the tokens, from the end, that only `evaluation` shows; 1 leaves none to train on. Default 0.1. */
  validationFraction?: number;
  /** T, default 256. */
  sequenceLength?: number;
  /** Default 0. */
  seed?: number;
}

/** Options of `textDataset`, which needs either `text` or `path`. */
export interface TextDatasetOptions extends TextOptions {
  /** The text itself; or `path`. */
  text?: string;
}

export const TEXT_OPTIONS: OptionNames<TextOptions> = {
  path: true,
  encoding: true,
  tokenizer: true,
  skipUnknown: 'flag',
  validationFraction: true,
  sequenceLength: true,
  seed: true,
};

const OPTIONS: OptionNames<TextDatasetOptions> = { ...TEXT_OPTIONS, text: true };

/**
 * Windows of T tokens labelled with the token after each: at random places of the training part, one after the other in
 * the validation part.
 */
export interface TextDataset<Tokens extends TokenSequence = TokenSequence> extends Dataset {
  /** The one given, or the one made for this text; a model that writes needs it again. */
  readonly tokenizer: Tokenizer;
  /** Tokens of the training part. */
  readonly training: Tokens;
  /** Tokens of the validation part; `evaluation` predicts all of them but the first. */
  readonly validation: Tokens;
  /** What was left out with `skipUnknown`, characters as a rule, and how often. */
  readonly skipped: ReadonlyMap<string, number>;
}

/**
 * The data set of a text, its ids in memory. It reads and encodes without a pause; `openTextDataset` does it in turns,
 * and puts the ids of a large text into a file.
 */
export function textDataset(options: TextDatasetOptions): TextDataset<IdArray> {
  const name = 'textDataset';
  checkOptions(name, options, OPTIONS);
  const settings = windowSettings(name, options);
  const source = openSource(name, options);
  const found = finish(surveyFor(name, source, options));
  const ids = new IdBuffer(found.tokenizer.vocabSize, found.expected);
  const skipped: Skipped | undefined = options.skipUnknown ? new Map() : undefined;
  for (const piece of encode(name, source, found.tokenizer, skipped)) ids.push(piece.ids);
  const tokens = ids.take();
  return windowsOf(tokens, (from, to) => tokens.subarray(from, to), found.tokenizer, settings, skipped);
}

function finish<T>(work: Generator<unknown, T>): T {
  for (;;) {
    const next = work.next();
    if (next.done) return next.value;
  }
}

export interface TokenizedSurvey extends Survey {
  tokenizer: Tokenizer;
  /** How many ids there will be, or a guess. */
  expected: number;
}

/** From this many different characters on, `auto` takes bytes. */
const MANY_CHARACTERS = 256;

/** Looks through a text as far as its tokenizer needs it. */
export function* surveyFor(
  where: string,
  source: TextSource,
  { tokenizer: choice = 'bytes', encoding }: TextOptions,
): Generator<number, TokenizedSurvey> {
  const given = typeof choice === 'string' ? undefined : choice;
  if (given ? typeof given?.encode !== 'function' : !['bytes', 'characters', 'auto'].includes(choice as string)) {
    const expected = "'bytes' | 'characters' | 'auto' | a Tokenizer";
    throw argumentError('INVALID_ARGUMENT', where, 'tokenizer', expected, describe(choice));
  }
  if (encoding !== undefined && (choice === 'bytes' || given?.kind === 'byte')) {
    const expected = "left out where tokens are 'bytes', which are taken as they are";
    throw argumentError('INVALID_ARGUMENT', where, 'encoding', expected, describe(encoding));
  }
  const empty = (found: string): FastWeightsError =>
    argumentError('INVALID_ARGUMENT', where, 'text', 'not empty', found);
  if (source.size === 0) throw empty(source.path === undefined ? '""' : `${source.path} of 0 bytes`);
  const found = yield* survey(source, choice === 'characters' || choice === 'auto');
  const { characters, length } = found;
  if (length === 0) throw empty(`${source.path ?? 'a text'} that holds only a byte order mark`);
  // The bytes of other encodings would never decode.
  const useBytes = choice === 'bytes' || (choice === 'auto' && source.isUtf8 && characters!.length >= MANY_CHARACTERS);
  if (useBytes) return { ...found, tokenizer: byteTokenizer(), expected: source.size };
  if (!given) return { ...found, tokenizer: characterTokenizer(characters!), expected: length! };
  // A published vocabulary makes one id of some four bytes.
  const expected = given.kind === 'huggingface' ? Math.ceil(source.size / 4) : source.size;
  return { ...found, tokenizer: given, expected };
}

export interface WindowSettings {
  where: string;
  T: number;
  fraction: number;
  seed: number;
}

export function windowSettings(where: string, options: TextOptions): WindowSettings {
  return {
    where,
    T: checkInteger(where, 'sequenceLength', options.sequenceLength ?? 256, 1),
    fraction: checkNumber(where, 'validationFraction', options.validationFraction ?? 0.1, 0, 1),
    seed: checkInteger(where, 'seed', options.seed ?? 0),
  };
}

/** The data set of a text's tokens. */
export function windowsOf<Tokens extends TokenSequence>(
  tokens: Tokens,
  part: (from: number, to: number) => Tokens,
  tokenizer: Tokenizer,
  { where, T, fraction, seed }: WindowSettings,
  skipped: Skipped | undefined,
): TextDataset<Tokens> {
  const { length } = tokens;
  const validationCount = Math.floor(length * fraction);
  const training = part(0, length - validationCount);
  const validation = part(length - validationCount, length);
  if ((fraction < 1 && training.length < T + 1) || (fraction > 0 && validation.length < 2)) {
    const windows = [
      ...(fraction < 1 ? [`a window of ${T + 1} training tokens`] : []),
      ...(fraction > 0 ? ['2 validation tokens'] : []),
    ];
    const lost = [...(skipped?.values() ?? [])].reduce((sum, often) => sum + often, 0);
    const without = lost === 0 ? '' : ` (left out were ${lost} characters that have no token)`;
    const found = `${training.length} training and ${validation.length} validation tokens${without}`;
    throw argumentError('INVALID_ARGUMENT', where, 'text', `long enough for ${windows.join(' and ')}`, found);
  }
  const windowCount = Math.max(0, Math.ceil((validation.length - 1) / T));
  return {
    name: 'text',
    description: `${length} tokens of text, ${validationCount} of them for validation`,
    vocabSize: tokenizer.vocabSize,
    sequenceLength: T,
    groups: ['all'],
    tokenizer,
    training,
    validation,
    skipped: skipped ?? new Map<string, number>(),
    batch(step, batchSize) {
      checkInteger(where, 'batchSize', batchSize, 1);
      const random = trainingRandom(seed, checkInteger(where, 'step', step, 0, MAX_STEP - 1));
      if (training.length === 0) {
        throw argumentError('INVALID_ARGUMENT', where, 'validationFraction', 'below 1 for training batches', '1');
      }
      const starts = Array.from({ length: batchSize }, () => wideBelow(random, training.length - T));
      return windows(training, starts, T);
    },
    evaluationSize: windowCount,
    *evaluation(batchSize, spread = false) {
      checkInteger(where, 'batchSize', batchSize, 1);
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
function windows(tokens: TokenSequence, starts: readonly number[], T: number): Batch {
  const batch = emptyBatch(starts.length, T, false);
  starts.forEach((start, b) => {
    const ids = tokens.slice(start, start + T + 1);
    batch.inputs.set(ids.subarray(0, -1), b * T);
    batch.labels.set(ids.subarray(1), b * T);
  });
  return { ...batch, labelCount: countLabels(batch.labels) };
}
