// A text's token ids, piece by piece, the same as of the whole text at once.
import { argumentError, describeCharacter } from '../core';
import type { Tokenizer } from '../io';
import { characterEnd, placeOf, type TextSource } from './source';

/** Parts of a text, characters as a rule, that a tokenizer has no id for, and how often each was left out. */
export type Skipped = Map<string, number>;

export interface EncodedPiece {
  ids: ArrayLike<number>;
  /** Bytes of the source, or units of a string, that are encoded so far; nearly so while a tokenizer looks ahead. */
  read: number;
}

type OnUnknown = (part: string, index: number) => void;

/**
 * Encodes a text. What has no id is counted in `skipped`; without that the first such part is refused. `onBytes` sees every byte
 * of the files.
 */
export function* encode(
  where: string,
  source: TextSource,
  tokenizer: Tokenizer,
  skipped?: Skipped,
  onBytes?: (bytes: Uint8Array) => void,
): Generator<EncodedPiece, void> {
  let read = 0;
  const take = (bytes: Uint8Array): void => {
    read += bytes.length;
    onBytes?.(bytes);
  };
  const onUnknown: OnUnknown = (part, index) => {
    if (skipped) skipped.set(part, (skipped.get(part) ?? 0) + 1);
    else throw refusal(where, source, tokenizer, part, index);
  };
  if (tokenizer.kind === 'byte') {
    for (const bytes of source.bytes()) {
      take(bytes);
      yield { ids: bytes, read };
    }
  } else if (tokenizer.kind === 'character') {
    let before = 0;
    for (const text of source.text(take)) {
      const ids = tokenizer.encode(text, { onUnknown: (part, index) => onUnknown(part, before + index) });
      before += text.length;
      yield { ids, read };
    }
  } else {
    for (const ids of encodeInPieces(source.text(take), tokenizer, onUnknown)) yield { ids, read };
  }
}

function refusal(where: string, source: TextSource, tokenizer: Tokenizer, part: string, index: number): Error {
  const name = [...part].length === 1 ? describeCharacter(part) : JSON.stringify(part);
  const found = `${name} at ${placeOf(source, index)}${source.path === undefined ? '' : ` of ${source.path}`}`;
  const expected = `made of the ${tokenizer.vocabSize} tokens of its tokenizer`;
  return argumentError('INVALID_ARGUMENT', where, 'text', expected, found);
}

/** UTF-16 units that a tokenizer of unknown workings gets at once: some milliseconds of work. */
const PIECE = 1024;

/** Units of the text before a piece that are encoded with it. */
const CONTEXT = 96;

/** The longest piece that is tried where no cut holds. */
const LONGEST = 2 ** 26;

/** A piece whose end is not confirmed yet. */
interface Held {
  text: string;
  ids: number[];
  unknown: [part: string, index: number][];
  /** What stood before it, and the index of the piece itself. */
  context: string;
  start: number;
}

/**
 * Cuts a text where that changes no id: after a line, or between words. Each piece is encoded behind the end of the one
 * before, its context. The cut holds if the context's ids come out as they do alone, and end as the piece before does:
 * then nothing there depends on what follows, and what stands behind them is the piece's. A tokenizer that puts something
 * at the front of every text, merges blank lines or knows no words is cut elsewhere, or not at all.
 */
export function* encodeInPieces(
  texts: Iterable<string>,
  tokenizer: Tokenizer,
  onUnknown: OnUnknown,
): Generator<number[], void> {
  const run = (text: string): Pick<Held, 'ids' | 'unknown'> => {
    const unknown: Held['unknown'] = [];
    const ids = tokenizer.encode(text, {
      addSpecialTokens: false,
      onUnknown: (part, index) => unknown.push([part, index]),
    });
    return { ids: Array.isArray(ids) ? ids : Array.from(ids), unknown };
  };
  /** The piece behind a context that ends like `before`; undefined where the cut between them does not hold. */
  const behind = (context: string, text: string, start: number, before?: readonly number[]): Held | undefined => {
    const alone = context === '' ? { ids: [], unknown: [] } : run(context);
    const both = run(context + text);
    if (!alone.ids.every((id, i) => id === both.ids[i])) return undefined;
    if (before && 2 * commonEnd(alone.ids, before) < alone.ids.length) return undefined;
    return {
      text,
      ids: both.ids.slice(alone.ids.length),
      unknown: both.unknown.slice(alone.unknown.length),
      context,
      start,
    };
  };
  const release = ({ ids, unknown, context, start }: Held): number[] => {
    for (const [part, index] of unknown) onUnknown(part, start + Math.max(0, index - context.length));
    return ids;
  };

  let held: Held | undefined;
  for (const text of pieces(texts, () => Math.max(PIECE, held ? held.text.length - PIECE : 0))) {
    if (!held) held = behind('', text, 0)!;
    else {
      const next = behind(contextOf(held.text), text, held.start + held.text.length, held.ids);
      if (next) {
        yield release(held);
        held = next;
      } else held = joined(held, text);
    }
  }
  if (held) yield release(held);

  function joined(before: Held, text: string): Held {
    const longer = before.text + text;
    const whole = longer.length <= LONGEST ? behind(before.context, longer, before.start) : undefined;
    if (whole) return whole;
    const expected = 'one whose ids do not change with what stands far away';
    throw argumentError('UNSUPPORTED', 'textDataset', 'tokenizer', expected, 'one that allows no cut in this text');
  }
}

/** The end of a piece, from the beginning of a line or else of a word where there is one. */
function contextOf(text: string): string {
  const from = characterEnd(text, Math.max(1, text.length - CONTEXT));
  const end = text.slice(from);
  const line = end.search(/(?<=\n)\S/);
  const begin = line >= 0 ? line : end.search(/(?<=\S) \S/);
  return end.slice(Math.max(0, begin));
}

/** How many ids at the ends of two lists are the same. */
function commonEnd(a: readonly number[], b: readonly number[]): number {
  let count = 0;
  while (count < Math.min(a.length, b.length) && a[a.length - 1 - count] === b[b.length - 1 - count]) count++;
  return count;
}

/** Texts anew in pieces of at least `least()` units, except for the last one. */
function* pieces(texts: Iterable<string>, least: () => number): Generator<string, void> {
  let rest = '';
  let from = 0;
  for (const text of texts) {
    rest = rest.slice(from) + text;
    from = 0;
    for (let cut = cutAfter(rest, least()); cut > 0; cut = cutAfter(rest, from + least())) {
      yield rest.slice(from, cut);
      from = cut;
    }
  }
  if (from < rest.length) yield rest.slice(from);
}

/** The first place from `at` on where a cut is likely to hold, or 0 while the text at hand is too short to tell. */
function cutAfter(text: string, at: number): number {
  if (text.length <= at + PIECE) return 0;
  const window = text.slice(at - 2, at + PIECE);
  const line = /\S\n(?=\S)/.exec(window);
  if (line) return at + line.index;
  const word = /\S(?= \S)/.exec(window);
  return word ? at - 1 + word.index : characterEnd(text, at);
}
