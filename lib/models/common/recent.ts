// What attention keeps of the recent past while a text grows by a token at a time.
import type { Tensor } from '../../core';
import { zeros } from '../../ops';

/** Tensors [B, capacity, H, D] of which positions `start` to `end` count, the same ones of all. */
export interface Recent {
  start: number;
  end: number;
}

const FIRST_CAPACITY = 64;

const tensorsIn = (cache: Recent): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(cache).filter(([, t]) => typeof t === 'object' && t !== null));

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
  const tensors = tensorsIn(cache);
  for (const [name, t] of Object.entries(tensors)) {
    t.slice(1, cache.end, cache.end + 1).copy_(token[name].to(t.dtype));
  }
  cache.end++;
  cache.start = Math.max(cache.start, cache.end - (window ?? Infinity));
}

function reserve(cache: Recent): void {
  const { start, end } = cache;
  const tensors = Object.entries(tensorsIn(cache));
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
