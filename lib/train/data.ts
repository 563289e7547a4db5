// The data of a run: a task, or a text that must be the one with which the run began.
import { checkObject, checkOptions, FastWeightsError, type OptionNames } from '../core';
import { loadTokenizer, type Tokenizer } from '../io';
import {
  createTask,
  type Dataset,
  type OpenedText,
  type OpenTextOptions,
  prepareText,
  type TextDataset,
  type TextProgress,
} from '../data';
import type { TaskData, TextData } from './config';

/** How a text is opened. */
export interface OpenDataOptions extends Pick<OpenTextOptions, 'memoryLimit' | 'signal'> {
  /** The run's own, of a checkpoint; otherwise it is made from the text as the configuration says. */
  tokenizer?: Tokenizer;
  /** The file for the token ids of a large text; a temporary one by default. */
  ids?: string;
  /** Called now and then while a text is read and encoded. */
  onText?(progress: TextProgress): void;
}

const OPEN: OptionNames<OpenDataOptions> = {
  memoryLimit: true,
  signal: true,
  tokenizer: true,
  ids: true,
  onText: true,
};

export type RunData = Dataset | TextDataset | OpenedText;

/** Data that were looked through and can be opened. */
export interface PreparedData {
  readonly vocabSize: number;
  /** The configuration with what was found: tokens, hash and size of a text. */
  readonly config: TextData | TaskData;
  open(ids?: string): Promise<RunData>;
}

/** Looks through the data of a run; refuses a text that is not the one of the configuration's hash. */
export async function prepareData(
  data: TextData | TaskData,
  seed: number,
  { tokenizer: own, memoryLimit, signal, onText: onProgress }: OpenDataOptions = {},
): Promise<PreparedData> {
  if ('task' in data) {
    const task = createTask(data.task, { ...data.options, seed });
    return { vocabSize: task.vocabSize, config: data, open: () => Promise.resolve(task) };
  }
  const { text, tokens, tokenizer: folder, encoding, sequenceLength, validationFraction } = data;
  const published = async (): Promise<Tokenizer | undefined> =>
    folder === undefined ? undefined : loadTokenizer(folder);
  const tokenizer = own ?? (await published()) ?? tokens ?? 'auto';
  const settings = { path: text, encoding, sequenceLength, validationFraction, seed };
  const prepared = await prepareText({ ...settings, tokenizer, memoryLimit, signal, onProgress });
  const { sha256, bytes, tokenizer: taken, open } = prepared;
  checkSame(data, sha256, bytes);
  const config: TextData = { ...data, sha256, bytes };
  if (folder === undefined && tokens === undefined) {
    config.tokens = taken.kind === 'byte' ? 'bytes' : 'characters';
    if (config.tokens === 'bytes') delete config.encoding;
  }
  return { vocabSize: taken.vocabSize, config, open };
}

/** Opens the data of a run, a text in turns that leave room for others; a large one holds a file open until `close`. */
export async function openData(
  data: TextData | TaskData,
  seed: number,
  options: OpenDataOptions = {},
): Promise<RunData> {
  checkObject('openData', 'data', data);
  checkOptions('openData', options, OPEN);
  return (await prepareData(data, seed, options)).open(options.ids);
}

function checkSame({ text, sha256, bytes }: TextData, foundHash: string, foundBytes: number): void {
  if (sha256 === undefined || sha256 === foundHash) return;
  const what =
    bytes === undefined || bytes === foundBytes
      ? `other bytes, as many (SHA-256 ${foundHash.slice(0, 12)}..., not ${sha256.slice(0, 12)}...)`
      : `${foundBytes} bytes, not ${bytes}`;
  throw new FastWeightsError(
    'INVALID_ARGUMENT',
    `${text} has changed, it is not the text that the run began with: it holds ${what}; put that text back, or start a new run on this one (to repeat a config.json, without its data.sha256)`,
    { argument: 'data.text', expected: sha256, found: foundHash },
  );
}

/** Says what to do about a text that is not where it was. */
export async function withRemedy<T>(remedy: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (error) {
    if (!(error instanceof FastWeightsError) || error.code !== 'IO' || error.argument !== 'path') throw error;
    const { argument, found, cause } = error;
    throw new FastWeightsError('IO', `${error.message}; ${remedy}`, { argument, found, cause });
  }
}
