// What a layer of the hybrid quadratic-linear Transformer remembers between tokens.
import type { Tensor } from '../../../core';
import { seen } from '../../common/recent';
import type { HybridQLTConfiguration } from './configuration';

/** What a `HybridQLT` remembers; its size does not grow with the text. */
export type HybridQLTState = {
  /** The fast weights [B, H, K, V]. */
  memory: Tensor;
  /** Sum of the keys [B, H, K] in 'synchronousLinear'. */
  normalizer: Tensor | null;
  /** The fast weights when the present chunk began, in 'delayedChunk'. */
  chunkStart: Tensor | null;
  /**
   * Keys, rotated, and values of the tokens that attention still sees, [B, capacity, H, *], of which `start` to `end` count;
   * `unturned` are the keys that 'delayedStream' has yet to write, where the others are rotated.
   */
  recent: { keys: Tensor; values: Tensor; unturned: Tensor | null; start: number; end: number };
  /** The last W - 1 inputs of each convolution [B, D, W - 1]. */
  convolutions: { [name: string]: Tensor };
  /** Tokens so far. */
  position: number;
};

/** Keys and values of tokens in a row [B, count, H, *]; `unturned` as in the state. */
export type Tokens = { keys: Tensor; values: Tensor; unturned: Tensor | null };

/** Whether keys wait to be written that attention has in another form. */
export function writesLater({ mode, rotary }: HybridQLTConfiguration): boolean {
  return mode === 'delayedStream' && rotary;
}

/** How many of the tokens before `position` attention still sees, or the fast weights have yet to write. */
export function keptBefore({ mode, window }: HybridQLTConfiguration, position: number): number {
  return mode === 'delayedChunk' ? position % window : Math.min(position, window);
}

/** Those tokens. */
export function pastOf(config: HybridQLTConfiguration, { recent, position }: HybridQLTState): Tokens {
  const last = { start: recent.end - keptBefore(config, position), end: recent.end };
  const { keys, values, unturned } = recent;
  return { keys: seen(keys, last), values: seen(values, last), unturned: unturned && seen(unturned, last) };
}
