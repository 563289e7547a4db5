// What sessions are made with, and what their calls that read many tokens take.
import type { OptionNames } from '../core';
import type { PrefixCache } from './prefix/prefixCache';
import type { Snapshot } from './snapshot';

/** Options of `createSession`. */
export interface SessionOptions {
  /** Number of sequences, 1 by default. */
  batch?: number;
  /** What the conversation goes on from, as after `restore`: a snapshot of this model and batch. An empty text by default. */
  from?: Snapshot;
  /**
   * Whether `rollback` is wanted to any token, by reading again; it keeps the ids of all tokens, 4 bytes for each. Off by
   * default: nothing grows.
   */
  history?: boolean;
  /**
   * How many tokens `rollback` takes back at once, without reading anything again: so many states are kept beside the one
   * at hand, `snapshot().bytes` each (a key-value cache is as long as its text), and the state is copied for every single
   * token that is read. 0 by default.
   */
  rollbackWindow?: number;
  /**
   * Where the prompt that begins the conversation may find the state of its first tokens, and leaves such states: a cache of
   * this model, for one sequence. The prompt is then read in cuts at multiples of the cache's `every`. None by default.
   */
  prefixCache?: PrefixCache;
  /** Sessions share states of the cache with those of the same owner only; '' by default. */
  prefixOwner?: string;
}

export const SESSION: OptionNames<SessionOptions> = {
  batch: true,
  from: true,
  history: 'flag',
  rollbackWindow: true,
  prefixCache: true,
  prefixOwner: true,
};

/** Of calls that read many tokens. */
export interface ReadOptions {
  /**
   * Aborting it ends the call with an ABORTED error: `read` keeps the slices read so far, `rollback` changes nothing.
   */
  signal?: AbortSignal;
}

export const READ: OptionNames<ReadOptions> = { signal: true };

/** Of `read`. */
export interface PromptOptions extends ReadOptions {
  /** Where the messages of the prompt end, counted in tokens from its beginning: a `prefixCache` keeps states before them. */
  messageEnds?: readonly number[];
}

export const PROMPT: OptionNames<PromptOptions> = { ...READ, messageEnds: true };
