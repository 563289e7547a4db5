// Strings that end a text which comes in pieces: cut where they begin, wherever the pieces are cut.
import { argumentError, checkList, checkString } from '../core';

/** Requires a list of strings, none of them empty. */
export function checkStopStrings(where: string, strings: unknown): asserts strings is string[] {
  checkList(where, 'stopStrings', strings, 'a list of strings');
  strings.forEach((one, i) => {
    checkString(where, `stopStrings[${i}]`, one);
    if (one === '') throw argumentError('INVALID_ARGUMENT', where, `stopStrings[${i}]`, 'at least one character', '""');
  });
}

/** How much of a string the end of a text is, character by character (Knuth, Morris, Pratt 1977). */
class Progress {
  /** Characters of the string that the text ends with, as many as may be. */
  length = 0;
  /** The same of each beginning of the string, less than itself. */
  private readonly shorter: Int32Array;

  constructor(readonly string: string) {
    this.shorter = new Int32Array(string.length);
    for (let i = 1, n = 0; i < string.length; i++) {
      n = this.next(n, string.charCodeAt(i));
      this.shorter[i] = n;
    }
  }

  /** Whether the string is complete with this character. */
  push(code: number): boolean {
    this.length = this.next(this.length, code);
    return this.length === this.string.length;
  }

  private next(n: number, code: number): number {
    while (n > 0 && this.string.charCodeAt(n) !== code) n = this.shorter[n - 1];
    return this.string.charCodeAt(n) === code ? n + 1 : 0;
  }
}

/** A text up to the first of its characters with which one of the strings is complete, without that string. */
export class TextEnd {
  /** The end of the text so far that may be the beginning of one. */
  private held = '';
  /** Whether one came. */
  stopped = false;
  private readonly progress: readonly Progress[];

  constructor(strings: readonly string[]) {
    this.progress = strings.map((one) => new Progress(one));
  }

  /** What is certain with this piece. */
  push(piece: string): string {
    if (this.stopped) return '';
    const text = this.held + piece;
    for (let i = this.held.length; i < text.length; i++) {
      let longest = 0;
      for (const each of this.progress) if (each.push(text.charCodeAt(i))) longest = Math.max(longest, each.length);
      if (longest === 0) continue;
      this.stopped = true;
      this.held = '';
      return text.slice(0, i + 1 - longest);
    }
    const open = Math.max(0, ...this.progress.map(({ length }) => length));
    this.held = text.slice(text.length - open);
    return text.slice(0, text.length - open);
  }

  /** What was held back, where no piece follows. */
  end(): string {
    return this.held;
  }
}
