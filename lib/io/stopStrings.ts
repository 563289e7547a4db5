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

/** A text up to the first of its characters with which one of the strings is complete, without that string. */
export class TextEnd {
  /** The end of the text so far that may be the beginning of one. */
  private held = '';
  /** Whether one came. */
  stopped = false;

  constructor(private readonly strings: readonly string[]) {}

  /** What is certain with this piece. */
  push(piece: string): string {
    if (this.stopped) return '';
    const text = this.held + piece;
    for (let end = this.held.length + 1; end <= text.length; end++) {
      const complete = this.strings.filter((one) => text.endsWith(one, end)).map((one) => one.length);
      if (complete.length === 0) continue;
      this.stopped = true;
      this.held = '';
      return text.slice(0, end - Math.max(...complete));
    }
    let begin = Math.max(0, text.length - Math.max(0, ...this.strings.map((one) => one.length - 1)));
    while (begin < text.length && !this.strings.some((one) => one.startsWith(text.slice(begin)))) begin++;
    this.held = text.slice(begin);
    return text.slice(0, begin);
  }

  /** What was held back, where no piece follows. */
  end(): string {
    return this.held;
  }
}
