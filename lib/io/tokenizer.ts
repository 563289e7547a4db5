// Tokenizers: text to ids and back. Bytes and characters here; the published ones in huggingface.ts.
import {
  argumentError,
  checkInteger,
  checkList,
  checkOptions,
  checkString,
  describe,
  describeCharacter,
  type OptionNames,
} from '../core';
import { Utf8Stream } from './utf8';

/** Options of `Tokenizer.encode`. */
export interface EncodeOptions {
  /** Adds what the tokenizer puts around a text (default true). */
  addSpecialTokens?: boolean;
  /**
   * Called with each part of the text that has no id, and its index there (-1 where a tokenizer cannot tell): the part
   * is left out. Without it such a text is refused.
   */
  onUnknown?: (part: string, index: number) => void;
}

/** Options of `Tokenizer.decode` and of `StreamDecoder`. */
export interface DecodeOptions {
  /** Leaves special tokens out of the text (default false). */
  skipSpecialTokens?: boolean;
}

const ENCODE: OptionNames<EncodeOptions> = { addSpecialTokens: 'flag', onUnknown: true };
const DECODE: OptionNames<DecodeOptions> = { skipSpecialTokens: 'flag' };

export function checkEncode(where: string, text: string, options: EncodeOptions = {}): void {
  checkOptions(where, options, ENCODE);
  checkString(where, 'text', text);
}

export function checkDecode(where: string, options: DecodeOptions = {}): void {
  checkOptions(where, options, DECODE);
}

/** Requires a tokenizer, which may be made elsewhere. */
export function checkTokenizer(where: string, tokenizer: unknown): asserts tokenizer is Tokenizer {
  const { decode, files } = (tokenizer ?? {}) as Partial<Tokenizer>;
  if (typeof decode === 'function' && typeof files === 'function') return;
  throw argumentError('INVALID_ARGUMENT', where, 'tokenizer', 'a tokenizer', describe(tokenizer));
}

/** Text of a growing list of ids. */
export interface TextStream {
  /** What this id adds, as far as no later one can change it. */
  push(id: number): string;
  /** What is left when no id follows. */
  end(): string;
}

/** Text to ids and back; `byteTokenizer`, `characterTokenizer` and `loadTokenizer` make one. */
export interface Tokenizer {
  /** `huggingface` is for published ones, made from a tokenizer.json. */
  readonly kind: 'byte' | 'character' | 'huggingface';
  /** One more than the largest id. */
  readonly vocabSize: number;
  /** The ids of a text. A part without one goes to `onUnknown`, else it is refused; some published tokenizers drop it. */
  encode(text: string, options?: EncodeOptions): number[];
  /** The text of ids; byte and character tokenizers refuse ids beyond their vocabulary. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The same for ids that come one by one. A tokenizer made elsewhere may leave it out: see `StreamDecoder`. */
  stream?(options?: DecodeOptions): TextStream;
  /** The files that `loadTokenizer` makes the same tokenizer from: name and JSON value. */
  files(): Record<string, unknown>;
}

/** The file of the tokenizers that are defined here. */
export const TOKENIZER_FILE = 'fast_weights_tokenizer.json';

/** What `TOKENIZER_FILE` holds. */
export type TokenizerFile = { kind: 'byte' } | { kind: 'character'; characters: string[] };

function fileOf(content: TokenizerFile): Record<string, unknown> {
  return { [TOKENIZER_FILE]: content };
}

/** The 256 bytes of UTF-8. Bytes that are no UTF-8 decode to U+FFFD. */
export function byteTokenizer(): Tokenizer {
  return {
    kind: 'byte',
    vocabSize: 256,
    encode: (text, options) => {
      checkEncode('byteTokenizer.encode', text, options);
      return [...new TextEncoder().encode(text)];
    },
    decode: (ids, options) => {
      checkDecode('byteTokenizer.decode', options);
      const bytes = Uint8Array.from(ids, (id) => checkInteger('byteTokenizer.decode', 'an id', id, 0, 255));
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
    },
    stream: () => {
      const utf8 = new Utf8Stream();
      return {
        push: (id) => utf8.push([checkInteger('byteTokenizer.stream', 'an id', id, 0, 255)]),
        end: () => utf8.end(),
      };
    },
    files: () => fileOf({ kind: 'byte' }),
  };
}

/** The characters (code points) of a text, sorted, or a table whose order gives the ids. */
export function characterTokenizer(source: string | readonly string[]): Tokenizer {
  const characters = typeof source === 'string' ? sortedCharacters(source) : checkedTable(source);
  const idOf = idsByCode(characters);
  const characterOf = (id: number): string =>
    characters[checkInteger('characterTokenizer.decode', 'an id', id, 0, characters.length - 1)];
  return {
    kind: 'character',
    vocabSize: characters.length,
    encode: (text, options) => {
      checkEncode('characterTokenizer.encode', text, options);
      const ids = new Array<number>(Math.min(text.length, PREPARED));
      let count = 0;
      for (let i = 0; i < text.length; i++) {
        const code = text.codePointAt(i)!;
        const id = idOf[code] ?? -1;
        if (id >= 0) ids[count++] = id;
        else if (options?.onUnknown) options.onUnknown(String.fromCodePoint(code), i);
        else {
          const expected = `made of the ${characters.length} characters of the table`;
          const found = describeCharacter(String.fromCodePoint(code));
          throw argumentError('INVALID_ARGUMENT', 'characterTokenizer.encode', 'text', expected, found);
        }
        if (code > 0xffff) i++;
      }
      ids.length = count;
      return ids;
    },
    decode: (ids, options) => {
      checkDecode('characterTokenizer.decode', options);
      return Array.from(ids, characterOf).join('');
    },
    stream: () => ({ push: characterOf, end: () => '' }),
    files: () => fileOf({ kind: 'character', characters: [...characters] }),
  };
}

/** Lists are prepared up to this length: engines keep longer ones as tables, which are slow to fill. */
const PREPARED = 2 ** 20;

/** The id of each code point up to the largest, or -1. */
function idsByCode(characters: readonly string[]): Int32Array {
  const codes = characters.map((character) => character.codePointAt(0)!);
  const ids = new Int32Array(codes.reduce((most, code) => Math.max(most, code), -1) + 1).fill(-1);
  codes.forEach((code, id) => (ids[code] = id));
  return ids;
}

function sortedCharacters(text: string): string[] {
  return [...new Set(text)].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
}

function checkedTable(table: readonly string[]): readonly string[] {
  checkList('characterTokenizer', 'source', table, 'a text or a list of characters');
  for (const entry of table) {
    if (typeof entry !== 'string' || [...entry].length !== 1) {
      throw argumentError('INVALID_ARGUMENT', 'characterTokenizer', 'table', 'single characters', describe(entry));
    }
  }
  if (new Set(table).size !== table.length) {
    throw argumentError('INVALID_ARGUMENT', 'characterTokenizer', 'table', 'distinct characters', 'one twice');
  }
  return [...table];
}
