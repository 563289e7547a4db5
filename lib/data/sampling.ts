// Draws that the data sets share, each a function of a HostRandom and nothing else.
import type { HostRandom } from '../core';

const WORD = 2 ** 24;

/** A whole number in [0, n) for n up to 2^48: one draw of HostRandom has 24 bits, too few for positions in a text. */
export function wideBelow(random: HostRandom, n: number): number {
  const high = random.below(WORD);
  return Math.floor(((high * WORD + random.below(WORD)) / (WORD * WORD)) * n);
}

/** `count` different whole numbers of [low, high) in random order: the head of a Fisher-Yates shuffle, kept sparse. */
export function distinct(random: HostRandom, count: number, low: number, high: number): number[] {
  const moved = new Map<number, number>();
  const size = high - low;
  return Array.from({ length: count }, (_, i) => {
    const j = i + random.below(size - i);
    const picked = moved.get(j) ?? j;
    moved.set(j, moved.get(i) ?? i);
    return low + picked;
  });
}

/**
 * `count` different indices, drawn one after the other with probability proportional to the weights of those left
 * (Efraimidis and Spirakis 2006: the smallest exponential variates of rates `weights`).
 */
export function weightedDistinct(random: HostRandom, count: number, weights: readonly number[]): number[] {
  const arrival = weights.map((weight) => -Math.log(1 - random.next()) / weight);
  return weights
    .map((_, i) => i)
    .sort((a, b) => arrival[a] - arrival[b] || a - b)
    .slice(0, count);
}
