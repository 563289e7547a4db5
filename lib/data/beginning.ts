// The beginning of a text file, however large it is.
import { checkInteger, checkOptions, type OptionNames } from '../core';
import type { TextEncoding } from './encoding';
import { characterEnd, openSource } from './source';

/** Options of `readBeginning`. */
export interface BeginningOptions {
  /** Of the file; UTF-8, or what its byte order mark says, by default. */
  encoding?: TextEncoding;
  /** UTF-16 units, a pair counted whole at the end. */
  length: number;
}

const OPTIONS: OptionNames<BeginningOptions> = { encoding: true, length: true };

/** The first `length` units of a text file; bytes that are no text of the encoding are refused, with their place. */
export function readBeginning(path: string, options: BeginningOptions): string {
  checkOptions('readBeginning', options, OPTIONS);
  const length = checkInteger('readBeginning', 'length', options.length);
  let text = '';
  for (const piece of openSource('readBeginning', { path, encoding: options.encoding }).text()) {
    text += piece;
    if (text.length > length) break;
  }
  return text.slice(0, characterEnd(text, length));
}

/** The first `length` bytes of a file as they are, byte order mark included. */
export function readFirstBytes(path: string, length: number): Uint8Array {
  checkInteger('readFirstBytes', 'length', length);
  const all = new Uint8Array(length);
  let count = 0;
  for (const piece of openSource('readFirstBytes', { path }).bytes()) {
    const taken = piece.subarray(0, length - count);
    all.set(taken, count);
    count += taken.length;
    if (count === length) break;
  }
  return all.subarray(0, count);
}
