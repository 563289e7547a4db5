// Text that comes token by token.
import { argumentError, checkOptions, describe, type OptionNames } from '../core';
import { checkStopStrings, TextEnd } from './stopStrings';
import { checkTokenizer, type DecodeOptions, type TextStream, type Tokenizer } from './tokenizer';

/** Options of `StreamDecoder`. */
export interface StreamOptions extends DecodeOptions {
  /** The ids in front of the first one that is pushed, whose text is already there: pieces go on behind it. */
  prompt?: ArrayLike<number>;
  /**
   * Strings that end the text: it is cut where the one begins that is complete first (of several with the same end the
   * longest), and what may be the beginning of one is held back. The prompt's text does not count. None by default.
   */
  stopStrings?: readonly string[];
}

const STREAM: OptionNames<StreamOptions> = { skipSpecialTokens: 'flag', prompt: true, stopStrings: true };

/**
 * Text of a growing list of ids, piece by piece, as far as no later id can change it: a character that spans several
 * ids comes out when its last one is there. All pieces together are what `decode` makes of all ids, without what it makes
 * of the prompt, up to a stop string.
 */
export class StreamDecoder {
  private text: TextStream;
  private readonly options: DecodeOptions;
  /** The end of the prompt's text, where a later id may still change it: there for the reader, but not yet in a piece. */
  private shown = '';
  private end: TextEnd;
  private readonly stopStrings: readonly string[];

  constructor(
    private readonly tokenizer: Tokenizer,
    options: StreamOptions = {},
  ) {
    checkTokenizer('StreamDecoder', tokenizer);
    checkOptions('StreamDecoder', options, STREAM);
    const { prompt = [], stopStrings = [], ...rest } = options;
    checkStopStrings('StreamDecoder', stopStrings);
    this.stopStrings = [...stopStrings];
    this.end = new TextEnd(this.stopStrings);
    if (typeof prompt !== 'object' || typeof prompt?.length !== 'number') {
      throw argumentError('INVALID_ARGUMENT', 'StreamDecoder', 'prompt', 'a list of ids', describe(prompt));
    }
    this.options = rest;
    this.text = this.open();
    const settled = Array.from(prompt, (id) => this.text.push(id)).join('');
    if (prompt.length > 0) this.shown = tokenizer.decode(prompt, rest).slice(settled.length);
  }

  /** Whether a stop string ended the text: nothing is added to it any more. */
  get stopped(): boolean {
    return this.end.stopped;
  }

  /** What an id adds to the text; empty while a character, a space or what may be a stop string is still open. */
  push(id: number): string {
    return this.end.push(this.unseen(this.text.push(id)));
  }

  /** What is left at the end, U+FFFD for a character that was never finished; the next id begins a new text. */
  flush(): string {
    const rest = this.end.push(this.unseen(this.text.end())) + this.end.end();
    this.text = this.open();
    this.shown = '';
    this.end = new TextEnd(this.stopStrings);
    return rest;
  }

  private open(): TextStream {
    return this.tokenizer.stream?.(this.options) ?? windowStream(this.tokenizer, this.options);
  }

  /** Without what the reader has from the prompt. */
  private unseen(text: string): string {
    if (this.shown === '') return text;
    let n = 0;
    while (n < text.length && text[n] === this.shown[n]) n++;
    this.shown = n === text.length ? this.shown.slice(n) : '';
    return text.slice(n);
  }
}

/** How many ids are decoded again with each new one, and how many stay where they become too many. */
const WINDOW = 64;
const HALF = WINDOW / 2;

/** What the end of a text may be that a later id changes: a space, a character cut short. */
const UNSETTLED = / ?\uFFFD{0,3}$/;

/**
 * For tokenizers that can only decode a list: the last ids are decoded again with each new one. Two windows are one text
 * where the older one's ends with the younger one's.
 */
function windowStream(tokenizer: Tokenizer, options: DecodeOptions): TextStream {
  let ids: number[] = [];
  let sent = 0;
  const take = (text: string, end: number): string => {
    const piece = text.slice(sent, end);
    sent = Math.max(sent, end);
    return piece;
  };
  return {
    push(id) {
      ids.push(id);
      const text = tokenizer.decode(ids, options);
      const piece = take(text, UNSETTLED.exec(text)!.index);
      if (ids.length >= WINDOW) {
        const later = ids.slice(-HALF);
        const rest = tokenizer.decode(later, options);
        const dropped = text.length - rest.length;
        if (text.endsWith(rest) && dropped <= sent) [ids, sent] = [later, sent - dropped];
      }
      return piece;
    },
    end: () => take(tokenizer.decode(ids, options), Infinity),
  };
}
