// A text of any size as a data set: read in turns that leave room for others, its ids in memory or in a file.
import { join, Pace, randomHex, rmSync, sha256, tmpdir } from '../platform';
import { checkInteger, checkOptions, FastWeightsError, type OptionNames } from '../core';
import { findSequence, saveSequence, type StoredSequence, type Tokenizer } from '../io';
import { encode, type Skipped } from './encode';
import { openSource, type TextSource } from './source';
import {
  surveyFor,
  TEXT_OPTIONS,
  type TextDataset,
  type TextOptions,
  type TokenizedSurvey,
  type WindowSettings,
  windowSettings,
  windowsOf,
} from './text';
import { FileTokens, idBytes, IdBuffer, newIds, putIds } from './tokens';

/** How far the opening of a text is, in bytes of it. */
export interface TextProgress {
  /** First all of the text is looked through, then it becomes token ids. */
  stage: 'reading' | 'encoding';
  /** Bytes of this stage that are behind it. */
  done: number;
  /** Bytes of all files. */
  total: number;
}

/** Options of `openTextDataset`: those of a text, and how its ids are kept. */
export interface OpenTextOptions extends TextOptions {
  /** A file, or several, joined in this order. */
  path: string | readonly string[];
  /**
   * Bytes of text up to which its token ids stay in memory; those of a larger one go to a file. Default 2 ** 28, and 2 ** 22
   * for published tokenizers, whose work is worth keeping.
   */
  memoryLimit?: number;
  /** Aborting it ends the opening with an ABORTED error, and leaves nothing behind. */
  signal?: AbortSignal;
  /** Called now and then while a text is opened. */
  onProgress?(progress: TextProgress): void;
}

const OPTIONS: OptionNames<OpenTextOptions> = {
  ...TEXT_OPTIONS,
  memoryLimit: true,
  signal: true,
  onProgress: true,
};

const MEMORY_LIMIT = 2 ** 28;
const MEMORY_LIMIT_PUBLISHED = 2 ** 22;

/** A data set that may hold a file open. */
export interface OpenedText extends TextDataset {
  close(): void;
  [Symbol.dispose](): void;
}

/** A text that was looked through: what it is, and which tokenizer it gets. */
export interface PreparedText {
  /** The one given, or what `bytes`, `characters` or `auto` came to for this text. */
  readonly tokenizer: Tokenizer;
  /** Of the bytes of its files, one after the other. */
  readonly sha256: string;
  /** Of its files. */
  readonly bytes: number;
  /**
   * Encodes it. The ids of a large text go to the file `ids`, which is used again by later runs for the same text and
   * tokenizer; by default to a temporary one.
   */
  open(ids?: string): Promise<OpenedText>;
}

/** Looks through a text, and opens nothing yet. */
export async function prepareText(options: OpenTextOptions): Promise<PreparedText> {
  const where = 'openTextDataset';
  checkOptions(where, options, OPTIONS);
  if (options.memoryLimit !== undefined) checkInteger(where, 'memoryLimit', options.memoryLimit);
  const settings = windowSettings(where, options);
  const source = openSource(where, options);
  const opening = new Opening(where, source, options, settings);
  const found = await opening.inTurns('reading', surveyFor(where, source, options), (read) => read);
  return {
    tokenizer: found.tokenizer,
    sha256: found.sha256,
    bytes: source.size,
    // What leaves parts of a text out is another list of ids than the text's: nothing to keep.
    open: (ids) => {
      const usual = found.tokenizer.kind === 'huggingface' ? MEMORY_LIMIT_PUBLISHED : MEMORY_LIMIT;
      if (source.size <= (options.memoryLimit ?? usual)) return opening.inMemory(found);
      return opening.inFile(found, options.skipUnknown ? undefined : ids);
    },
  };
}

/**
 * The data set of a text of any size. Unlike `textDataset` it lets others have their turn while it reads and encodes,
 * and keeps the ids of a large text in a temporary file.
 */
export async function openTextDataset(options: OpenTextOptions): Promise<OpenedText> {
  return (await prepareText(options)).open();
}

/** Bytes of ids that are written at once. */
const BLOCK = 2 ** 20;

class Opening {
  constructor(
    private readonly where: string,
    private readonly source: TextSource,
    private readonly options: OpenTextOptions,
    private readonly settings: WindowSettings,
  ) {}

  /** Runs `work` to its end, with a turn for others every few milliseconds; `read` says how far a value of it is. */
  async inTurns<V, R>(
    stage: TextProgress['stage'],
    work: Generator<V, R>,
    read: (value: V) => number,
    take?: (value: V) => void | Promise<void>,
  ): Promise<R> {
    const { signal, onProgress } = this.options;
    const pace = new Pace();
    try {
      for (;;) {
        if (signal?.aborted) throw new FastWeightsError('ABORTED', `${this.where}: stopped`, { cause: signal.reason });
        const next = work.next();
        if (next.done) return next.value;
        await take?.(next.value);
        if (!pace.due) continue;
        onProgress?.({ stage, done: read(next.value), total: this.source.size });
        await pace.rest();
      }
    } finally {
      work.return(undefined as never);
    }
  }

  async inMemory(found: TokenizedSurvey): Promise<OpenedText> {
    const ids = new IdBuffer(found.tokenizer.vocabSize, found.expected);
    const skipped = await this.encode(found, (piece) => ids.push(piece));
    const tokens = ids.take();
    const part = (from: number, to: number): typeof tokens => tokens.subarray(from, to);
    return closing(windowsOf(tokens, part, found.tokenizer, this.settings, skipped), () => undefined);
  }

  async inFile(found: TokenizedSurvey, path?: string): Promise<OpenedText> {
    const { vocabSize } = found.tokenizer;
    const [stored, skipped] = await this.stored(found, path);
    const tokens = FileTokens.open(stored.path, stored.position, stored.length, vocabSize);
    // An open file goes on without its name, and ends with the process.
    if (path === undefined) rmSync(stored.path, { force: true });
    try {
      const part = (from: number, to: number): FileTokens => tokens.part(from, to);
      return closing(windowsOf(tokens, part, found.tokenizer, this.settings, skipped), () => tokens.close());
    } catch (error) {
      tokens.close();
      throw error;
    }
  }

  /** The file of the ids, found or written. */
  private async stored(found: TokenizedSurvey, path?: string): Promise<[StoredSequence, Skipped | undefined]> {
    const { tokenizer } = found;
    const { vocabSize } = tokenizer;
    const file = path ?? join(tmpdir(), `fast-weights-${randomHex(8)}.safetensors`);
    const dtype = ({ 1: 'U8', 2: 'U16', 4: 'I32' } as const)[idBytes(vocabSize)];
    const metadata = { text: found.sha256, tokenizer: hashOf(tokenizer) };
    const find = (): Promise<StoredSequence | undefined> => findSequence(file, NAME, dtype, metadata);
    const before = path === undefined ? undefined : await find();
    if (before) return [before, undefined];
    let skipped: Skipped | undefined;
    await saveSequence(file, NAME, dtype, metadata, async (put) => {
      const block = newIds(vocabSize, BLOCK);
      let count = 0;
      const flush = async (): Promise<void> => {
        await put(new Uint8Array(block.buffer, 0, count * block.BYTES_PER_ELEMENT));
        count = 0;
      };
      skipped = await this.encode(found, async (ids) => {
        if (count + ids.length > block.length) await flush();
        if (ids.length > block.length) {
          const long = newIds(vocabSize, ids.length);
          putIds(long, 0, ids, vocabSize);
          return put(new Uint8Array(long.buffer));
        }
        putIds(block, count, ids, vocabSize);
        count += ids.length;
      });
      await flush();
    });
    return [(await find())!, skipped];
  }

  /** Hands all ids to `take` in pieces; a text that is no longer the one that was looked through is refused. */
  private async encode(
    { tokenizer, sha256: expected }: TokenizedSurvey,
    take: (ids: ArrayLike<number>) => void | Promise<void>,
  ): Promise<Skipped | undefined> {
    const hash = sha256();
    const skipped: Skipped | undefined = this.options.skipUnknown ? new Map() : undefined;
    const work = encode(this.where, this.source, tokenizer, skipped, hash.update);
    await this.inTurns(
      'encoding',
      work,
      ({ read }) => read,
      ({ ids }) => take(ids),
    );
    if (hash.hex() === expected) return skipped;
    throw new FastWeightsError('IO', `${this.where}: ${this.source.path} changed while it was read`, {
      argument: 'text',
    });
  }
}

/** The list of ids in a file. */
const NAME = 'ids';

function hashOf(tokenizer: Tokenizer): string {
  const hash = sha256();
  hash.update(new TextEncoder().encode(JSON.stringify(tokenizer.files())));
  return hash.hex();
}

function closing(data: TextDataset, close: () => void): OpenedText {
  return { ...data, close, [Symbol.dispose]: close };
}
