// What attention keeps of the recent past while a text grows by a token at a time.
import { Tensor } from '../../core';
import type { Pace } from '../../inference';
import { zeros } from '../../ops';

/** Tensors [B, capacity, H, D] of which positions `start` to `end` count, the same ones of all. */
export interface Recent {
  start: number;
  end: number;
}

const FIRST_CAPACITY = 64;

const tensorsIn = (cache: Recent): [string, Tensor][] =>
  Object.entries<unknown>({ ...cache }).filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor);

/** The part of one of its tensors that counts. */
export function seen(t: Tensor, { start, end }: Recent): Tensor {
  return t.slice(1, start, end);
}

/**
 * Adds one token [B, 1, H, D] of each; with a window only as many of the last count. Where there is no more room they are
 * moved to the front of twice the room of what counts, so that a token costs O(1) copies on average.
 */
export function append(cache: Recent, token: Readonly<Record<string, Tensor>>, window: number | null): void {
  reserve(cache);
  for (const [name, t] of tensorsIn(cache)) {
    t.slice(1, cache.end, cache.end + 1).copy_(token[name].to(t.dtype));
  }
  cache.end++;
  cache.start = Math.max(cache.start, cache.end - (window ?? Infinity));
}

/** How it goes on so long as there is room: with a window as many tokens leave as come, once it is full. */
export function paceOf(cache: Recent, window: number | null): Pace {
  const { start, end } = cache;
  const room = tensorsIn(cache)[0][1].shape[1] - end;
  const left = (window ?? Infinity) - (end - start);
  return { each: { start: Number(left === 0), end: 1 }, tokens: left === 0 ? room : Math.min(room, left) };
}

function reserve(cache: Recent): void {
  const { start, end } = cache;
  const tensors = tensorsIn(cache);
  if (end < tensors[0][1].shape[1]) return;
  const room = Math.max(FIRST_CAPACITY, 2 * (end - start));
  for (const [name, t] of tensors) {
    const [B, , heads, D] = t.shape;
    const larger = zeros([B, room, heads, D], { device: t.device, dtype: t.dtype }).persist();
    larger.slice(1, 0, end - start).copy_(seen(t, cache));
    (cache as unknown as Record<string, Tensor>)[name] = larger;
    t.dispose();
  }
  cache.start = 0;
  cache.end = end - start;
}
