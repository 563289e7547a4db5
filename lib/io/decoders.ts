// The decoders of tokenizer.json as a chain that tokens run through one after another. Each holds back only what a later
// token can still change, so that a text comes out in time and memory that do not grow with it.
import { isJsonObject, type Json } from './json';
import { Utf8Stream } from './utf8';

/** A link of the chain takes tokens in fragments. */
export interface Link {
  /** A fragment, and whether its token is over with it. */
  take(fragment: string, ends: boolean): void;
  /** No token follows; the last one is over. */
  finish(): void;
}

/** A link that works on whole tokens; `first` tells the text's first one. */
function wholeTokens(next: Link, change: (token: string, first: boolean) => string): Link {
  let token = '';
  let first = true;
  return {
    take(fragment, ends) {
      token += fragment;
      if (!ends) return;
      next.take(change(token, first), true);
      token = '';
      first = false;
    },
    finish: () => next.finish(),
  };
}

/** A space between tokens: for tokenizers without a decoder. */
export function joinWithSpaces(next: Link): Link {
  return wholeTokens(next, (token, first) => (first ? token : ` ${token}`));
}

/** All tokens as one. */
export function fuse(next: Link): Link {
  return {
    take: (fragment) => next.take(fragment, false),
    finish() {
      next.take('', true);
      next.finish();
    },
  };
}

/** Every `pattern` within a token as `content`, leftmost first. */
export function replaceLiteral(pattern: string, content: string, next: Link): Link {
  let held = '';
  return {
    take(fragment, ends) {
      const parts = (held + fragment).split(pattern);
      const rest = parts[parts.length - 1];
      const keep = ends ? 0 : overlap(rest, pattern);
      held = rest.slice(rest.length - keep);
      parts[parts.length - 1] = rest.slice(0, rest.length - keep);
      next.take(parts.join(content), ends);
    },
    finish: () => next.finish(),
  };
}

/** How many characters at the end of a text may begin the pattern. */
function overlap(text: string, pattern: string): number {
  let n = Math.min(text.length, pattern.length - 1);
  while (n > 0 && !text.endsWith(pattern.slice(0, n))) n--;
  return n;
}

/** No white space at either end of a token. */
export function trim(next: Link): Link {
  let began = false;
  let space = '';
  return {
    take(fragment, ends) {
      const text = began ? fragment : fragment.trimStart();
      began ||= text !== '';
      const end = text.trimEnd().length;
      const out = end > 0 ? space + text.slice(0, end) : '';
      space = end > 0 ? text.slice(end) : space + text;
      if (ends) [began, space] = [false, ''];
      next.take(out, ends);
    },
    finish: () => next.finish(),
  };
}

/** Without up to `start` and `stop` of a character at the ends of a token. */
function strip(content: string, start: number, stop: number, next: Link): Link {
  let left = start;
  let held = '';
  return {
    take(fragment, ends) {
      let from = 0;
      while (left > 0 && from < fragment.length) {
        if (fragment[from] !== content) left = 0;
        else [from, left] = [from + 1, left - 1];
      }
      const text = held + fragment.slice(from);
      let keep = 0;
      while (keep < stop && keep < text.length && text[text.length - 1 - keep] === content) keep++;
      held = ends ? '' : text.slice(text.length - keep);
      if (ends) left = start;
      next.take(text.slice(0, text.length - keep), ends);
    },
    finish: () => next.finish(),
  };
}

/** Space that tokenization put around punctuation and English contractions; the order counts. */
const SPACED = [' .', ' ?', ' !', ' ,', " ' ", " n't", " 'm", " 's", " 've", " 're"];

export function cleanUp(next: Link): Link {
  return SPACED.reduceRight((link, pattern) => replaceLiteral(pattern, pattern.trim(), link), next);
}

/** The same for one token of its own. */
function cleanToken(token: string): string {
  return SPACED.reduce((text, pattern) => text.replaceAll(pattern, pattern.trim()), token);
}

/** Characters that stand for bytes: the printable ones of Latin-1 for themselves, for the others those from U+0100 on. */
const BYTE_OF: ReadonlyMap<string, number> = byteCharacters();

function byteCharacters(): Map<string, number> {
  const bytes = new Map<string, number>();
  let other = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    bytes.set(String.fromCharCode(printable ? byte : other++), byte);
  }
  return bytes;
}

/** Tokens of such characters; one that holds another character, and an added one, is text. */
function byteLevel(added: ReadonlySet<string>, next: Link): Link {
  const utf8 = new Utf8Stream();
  const bytesOf = (token: string): number[] => {
    const bytes = added.has(token) ? [undefined] : Array.from(token, (character) => BYTE_OF.get(character));
    return bytes.includes(undefined) ? [...new TextEncoder().encode(token)] : (bytes as number[]);
  };
  const text = fuse(next);
  const tokens = wholeTokens(text, (token) => utf8.push(bytesOf(token)));
  return {
    take: (fragment, ends) => tokens.take(fragment, ends),
    finish() {
      text.take(utf8.end(), false);
      tokens.finish();
    },
  };
}

/** Runs of tokens <0x00> to <0xFF> as the text of these bytes. */
function byteFallback(next: Link): Link {
  let run: Utf8Stream | null = null;
  let token = '';
  const endRun = (): void => {
    if (run) next.take(run.end(), true);
    run = null;
  };
  return {
    take(fragment, ends) {
      token += fragment;
      if (!ends) return;
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
      if (byte === undefined) {
        endRun();
        next.take(token, true);
      } else next.take((run ??= new Utf8Stream()).push([parseInt(byte, 16)]), false);
      token = '';
    },
    finish() {
      endRun();
      next.finish();
    },
  };
}

/** A suffix that ends words: a space, but not behind the last token. */
function wordSuffix(suffix: string, next: Link): Link {
  let last: string | null = null;
  const tokens: Link = {
    take(token) {
      if (last !== null) next.take(last.replaceAll(suffix, ' '), true);
      const at = token.indexOf(suffix);
      last = at < 0 ? '' : token.slice(at);
      next.take(at < 0 ? token : token.slice(0, at), false);
    },
    finish() {
      if (last !== null) next.take(last.replaceAll(suffix, ''), true);
      next.finish();
    },
  };
  return wholeTokens(tokens, (token) => token);
}

/** Of connectionist temporal classification: repeated tokens are one, and padding is none. */
function ctc(padding: string, delimiter: string, clean: boolean, next: Link): Link {
  let before: string | undefined;
  const spaced = delimiter === '' ? trim(next) : replaceLiteral(delimiter, ' ', trim(next));
  const text = fuse(clean ? cleanUp(spaced) : next);
  return wholeTokens(text, (token) => {
    const repeated = token === before;
    before = token;
    return repeated || token === padding ? '' : token;
  });
}

/** A decoder of tokenizer.json in front of a link; throws for one that it does not know. */
export function decoderLink(config: Json | undefined, added: ReadonlySet<string>, next: Link): Link {
  const { type, ...rest } = isJsonObject(config) ? config : {};
  const text = (key: string, fallback = ''): string => (typeof rest[key] === 'string' ? rest[key] : fallback);
  const count = (key: string): number => (typeof rest[key] === 'number' ? rest[key] : 0);
  switch (type) {
    case 'Sequence': {
      const decoders = Array.isArray(rest.decoders) ? rest.decoders : [];
      return decoders.reduceRight<Link>((link, decoder) => decoderLink(decoder, added, link), next);
    }
    case 'ByteLevel':
      return byteLevel(added, next);
    case 'ByteFallback':
      return byteFallback(next);
    case 'Fuse':
      return fuse(next);
    case 'Strip':
      return strip(text('content'), count('start'), count('stop'), next);
    case 'Metaspace': {
      const replacement = text('replacement', '\u2581');
      return wholeTokens(next, (token, first) => {
        const spaced = token.replaceAll(replacement, ' ');
        return first && spaced.startsWith(' ') ? spaced.slice(1) : spaced;
      });
    }
    case 'WordPiece': {
      const prefix = text('prefix');
      return wholeTokens(next, (token, first) => {
        const inside = prefix !== '' && token.startsWith(prefix);
        const spaced = first ? token : inside ? token.slice(prefix.length) : ` ${token}`;
        return rest.cleanup === true ? cleanToken(spaced) : spaced;
      });
    }
    case 'BPEDecoder':
      return wordSuffix(text('suffix'), next);
    case 'CTC':
      return ctc(text('pad_token'), text('word_delimiter_token'), rest.cleanup === true, next);
    case 'Replace': {
      const { String: literal, Regex: expression } = isJsonObject(rest.pattern) ? rest.pattern : {};
      const content = text('content');
      if (typeof literal === 'string' && literal !== '') return replaceLiteral(literal, content, next);
      if (typeof expression !== 'string') break;
      const pattern = new RegExp(expression, 'gu');
      return wholeTokens(next, (token) => token.replace(pattern, () => content));
    }
  }
  throw new Error(`unknown decoder ${JSON.stringify(config)}`);
}
