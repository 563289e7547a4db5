// Token ids of a text, in memory or in a file, as narrow as the vocabulary allows.
import { closeSync, openSync, readSync, rmSync } from '../platform';
import { argumentError, FastWeightsError } from '../core';

/** Ids as narrow as the vocabulary allows: 1 byte up to 256 ids, 2 up to 65536, else 4. */
export type IdArray = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Int32Array<ArrayBuffer>;

/** Token ids in order. Typed arrays are such; others read a file, each time anew. */
export interface TokenSequence {
  /** How many ids there are. */
  readonly length: number;
  /** A copy of the ids [start, end). */
  slice(start: number, end: number): IdArray;
}

/** Bytes of an id: 1, 2 or 4. */
export function idBytes(vocabSize: number): 1 | 2 | 4 {
  return vocabSize <= 2 ** 8 ? 1 : vocabSize <= 2 ** 16 ? 2 : 4;
}

export function newIds(vocabSize: number, length: number): IdArray {
  const bytes = idBytes(vocabSize);
  return bytes === 1 ? new Uint8Array(length) : bytes === 2 ? new Uint16Array(length) : new Int32Array(length);
}

/** Copies ids from the front of `target` + `at` on; a narrow array would take an id beyond the vocabulary in silence. */
export function putIds(target: IdArray, at: number, ids: ArrayLike<number>, vocabSize: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (!(id >= 0 && id < vocabSize)) {
      throw argumentError('INVALID_ARGUMENT', 'textDataset', "the tokenizer's ids", `below ${vocabSize}`, `${id}`);
    }
    target[at + i] = id;
  }
}

/** Collects ids whose number is a guess. */
export class IdBuffer {
  private ids: IdArray;
  length = 0;

  constructor(
    private readonly vocabSize: number,
    expected: number,
  ) {
    this.ids = newIds(vocabSize, expected);
  }

  push(ids: ArrayLike<number>): void {
    if (this.length + ids.length > this.ids.length) {
      const wider = newIds(this.vocabSize, Math.max(this.length + ids.length, Math.ceil(1.5 * this.length)));
      wider.set(this.ids.subarray(0, this.length));
      this.ids = wider;
    }
    putIds(this.ids, this.length, ids, this.vocabSize);
    this.length += ids.length;
  }

  take(): IdArray {
    return this.length === this.ids.length ? this.ids : this.ids.slice(0, this.length);
  }
}

/** Ids in an open file. */
export class FileTokens implements TokenSequence {
  private constructor(
    private readonly file: { readonly handle: number; readonly path: string; open: boolean },
    private readonly position: number,
    readonly length: number,
    private readonly vocabSize: number,
  ) {}

  /** `length` ids from byte `position` on. */
  static open(path: string, position: number, length: number, vocabSize: number): FileTokens {
    return new FileTokens({ handle: openSync(path, 'r'), path, open: true }, position, length, vocabSize);
  }

  /** The ids [start, end) of the same file. */
  part(start: number, end: number): FileTokens {
    const position = this.position + start * idBytes(this.vocabSize);
    return new FileTokens(this.file, position, end - start, this.vocabSize);
  }

  slice(start: number, end: number): IdArray {
    const { handle, path, open } = this.file;
    if (!open) throw new FastWeightsError('DISPOSED', `the tokens in ${path} are read after their data set was closed`);
    const ids = newIds(this.vocabSize, Math.max(0, Math.min(end, this.length) - start));
    const bytes = new Uint8Array(ids.buffer);
    const from = this.position + start * ids.BYTES_PER_ELEMENT;
    for (let at = 0; at < bytes.length;) {
      const count = readSync(handle, bytes, at, bytes.length - at, from + at);
      if (count === 0) throw new FastWeightsError('IO', `${path} was cut short while it was read`, { argument: path });
      at += count;
    }
    return ids;
  }

  /** Closes the file for all its parts; with `remove`, deletes it. */
  close(remove = false): void {
    if (this.file.open) closeSync(this.file.handle);
    this.file.open = false;
    if (remove) rmSync(this.file.path, { force: true });
  }
}
