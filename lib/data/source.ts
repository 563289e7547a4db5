// Where a text comes from: a string or files, read in pieces that never end within a character.
import { sha256 } from '../platform';
import { argumentError, checkString, describe } from '../core';
import type { TextEncoding } from './encoding';
import { TextFile, TextPlace } from './textFile';

export interface TextSource {
  /** Bytes of the files; UTF-16 units of a string. */
  readonly size: number;
  /** The files, for messages; undefined for a string. */
  readonly path?: string;
  /** Whether its bytes are UTF-8. */
  readonly isUtf8: boolean;
  /** The characters. `onBytes` sees every byte of the files. */
  text(onBytes?: (bytes: Uint8Array) => void): Generator<string, void>;
  /** The bytes as they are; UTF-8 of a string. */
  bytes(): Generator<Uint8Array, void>;
}

export interface SourceOptions {
  text?: string;
  path?: string | readonly string[];
  encoding?: TextEncoding;
}

export function openSource(where: string, { text, path, encoding }: SourceOptions): TextSource {
  if ((text === undefined) === (path === undefined)) {
    const found = text === undefined ? 'neither' : 'both';
    throw argumentError('INVALID_ARGUMENT', where, 'text', 'given, or else path', found);
  }
  if (text !== undefined) {
    checkString(where, 'text', text);
    if (encoding !== undefined) {
      throw argumentError('INVALID_ARGUMENT', where, 'encoding', 'left out where text is a string', describe(encoding));
    }
    return stringSource(text);
  }
  const paths = typeof path === 'string' ? [path] : path;
  if (!Array.isArray(paths) || !paths.every((each) => typeof each === 'string')) {
    throw argumentError('INVALID_ARGUMENT', where, 'path', 'a path or a list of paths', describe(path));
  }
  return fileSource(paths.map((each) => TextFile.open(where, each, encoding)));
}

/** UTF-16 units of a piece of a string. */
const PIECE = 2 ** 16;

function stringSource(text: string): TextSource {
  const pieces = function* (): Generator<string, void> {
    for (let from = 0; from < text.length;) {
      const end = characterEnd(text, from + PIECE);
      yield text.slice(from, end);
      from = end;
    }
  };
  return {
    size: text.length,
    isUtf8: true,
    text: pieces,
    *bytes() {
      for (const piece of pieces()) yield new TextEncoder().encode(piece);
    },
  };
}

/** `at`, or one more where that is the middle of a pair of units. */
export function characterEnd(text: string, at: number): number {
  return at < text.length && text.codePointAt(at - 1)! > 0xffff ? at + 1 : Math.min(at, text.length);
}

function fileSource(files: readonly TextFile[]): TextSource {
  return {
    size: files.reduce((sum, { size }) => sum + size, 0),
    path: files.map((file) => file.path).join(', '),
    isUtf8: files.every(({ found }) => found.encoding === 'utf8'),
    *text(onBytes) {
      for (const file of files) yield* file.text(onBytes);
    },
    *bytes() {
      for (const file of files) yield* file.bytes();
    },
  };
}

/** What one look through a text tells. */
export interface Survey {
  /** Of the bytes of its files, one after the other. */
  sha256: string;
  /** Its characters in the order of their numbers, if they were asked for. */
  characters?: string[];
  /** How many characters it has, if they were asked for. */
  length?: number;
}

const CODE_POINTS = 0x110000;

/** Reads all of a text; yields the bytes read so far. */
export function* survey(source: TextSource, wantsCharacters: boolean): Generator<number, Survey> {
  const hash = sha256();
  let read = 0;
  const take = (bytes: Uint8Array): void => {
    hash.update(bytes);
    read += bytes.length;
  };
  if (!wantsCharacters) {
    for (const bytes of source.bytes()) {
      take(bytes);
      yield read;
    }
    return { sha256: hash.hex() };
  }
  const seen = new Uint8Array(CODE_POINTS);
  let length = 0;
  for (const text of source.text(take)) {
    for (let i = 0; i < text.length; i++) {
      const code = text.codePointAt(i)!;
      seen[code] = 1;
      length++;
      if (code > 0xffff) i++;
    }
    yield read;
  }
  const characters: string[] = [];
  seen.forEach((there, code) => there && characters.push(String.fromCodePoint(code)));
  return { sha256: hash.hex(), characters, length };
}

/** `line 3, column 5` of a UTF-16 index. */
export function placeOf(source: TextSource, index: number): string {
  const place = new TextPlace();
  let passed = 0;
  for (const text of source.text()) {
    place.advance(text.slice(0, index - passed));
    passed += text.length;
    if (passed > index) break;
  }
  return `line ${place.line}, column ${place.column}`;
}
