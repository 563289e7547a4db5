// States after the beginnings of prompts, for other prompts that begin so, too.
import { argumentError, checkInteger, checkOptions, describe, type OptionNames } from '../../core';
import type { Memory } from '../memory';
import { checkModel, type RecurrentModel } from '../model';
import { Share } from './share';
import type { Block } from './tree';

/** Options of `PrefixCache`. */
export interface PrefixCacheOptions {
  /** What all states together may take, by `Snapshot.bytes`, and 4 bytes for each token; with 0 none is kept. */
  maxBytes: number;
  /** States are kept at multiples of so many tokens, 128 by default. The bits of an answer depend on it, and on nothing else of the cache. */
  every?: number;
}

const OPTIONS: OptionNames<PrefixCacheOptions> = { maxBytes: true, every: true };

/**
 * Why a prompt, or a part of it, was read again. `begun`: the conversation had begun, and went on from its own state. `whole`: the
 * model reads so long a prompt in one piece only (its `divisibleLength`).
 * `short`: the prompt has less than `every` tokens. `unseen`: no earlier prompt began so. `dropped`: one did, but its state was
 * not kept or went for room. `rest`: the state at the last multiple was taken, and what lies behind it was read.
 */
export type PrefixReason = 'begun' | 'whole' | 'short' | 'unseen' | 'dropped' | 'rest';

/** What a prompt had from a `PrefixCache`. */
export interface PrefixUse {
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** So many of them, in whole blocks of `every`, an earlier prompt began with. */
  readonly matchedTokens: number;
  /** So many of them were not read, but their state was taken. */
  readonly reusedTokens: number;
  /** Why the others were read; null where there are none. */
  readonly reason: PrefixReason | null;
}

/** What is in a `PrefixCache`, and what it was good for. */
export interface PrefixNumbers {
  /** States that are kept. */
  readonly states: number;
  /** What they take, as `maxBytes` counts it. */
  readonly bytes: number;
  /** Prompts that began a conversation. */
  readonly prompts: number;
  /** Those of them that took a state. */
  readonly hits: number;
  /** Tokens of all of them. */
  readonly promptTokens: number;
  /** Those that were not read. */
  readonly reusedTokens: number;
  /** States that went for room. */
  readonly dropped: number;
}

/**
 * A prompt that begins a conversation with the tokens of an earlier one goes on from the state that was kept there, whatever the
 * family of the model. Sessions with the cache cut their first prompt at multiples of `every` tokens, whether there is anything
 * in the cache or not; a state is one that such cuts lead to. So an answer has the same bits with and without a hit. The ids
 * themselves are compared, not only their hashes.
 *
 * Kept are the states at the last multiple before the end of a prompt, before the ends of its messages where the caller tells
 * them, and where it parts from an earlier prompt. For room one goes of the owner whose states take most, so that an owner keeps
 * whatever fits into an equal share of `maxBytes` among those who have any; of an owner's those go first that were used least for
 * what they take, and whose use lies back the longest (Cao and Irani 1997, "GreedyDual-Size"). A state lies in the same memory as
 * those of sessions and snapshots until one of them goes on.
 *
 * It holds for the weights that the model has: when they change, everything is forgotten. `dispose` frees the states.
 */
export class PrefixCache {
  /** States are kept at multiples of so many tokens. */
  readonly every: number;
  private readonly maxBytes: number;
  /** By owner. */
  private shares = new Map<string, Share>();
  private weights: readonly (readonly [object, number])[] = [];
  private readonly counts = { prompts: 0, hits: 0, promptTokens: 0, reusedTokens: 0, dropped: 0 };

  constructor(
    /** Whose states they are. */
    readonly model: RecurrentModel,
    options: PrefixCacheOptions,
  ) {
    const where = 'PrefixCache';
    checkModel(where, model);
    checkOptions(where, options, OPTIONS);
    this.maxBytes = checkInteger(where, 'maxBytes', options.maxBytes);
    this.every = checkInteger(where, 'every', options.every ?? 128, 2);
    this.weights = weightsOf(model);
  }

  /** What is in it, and what it was good for. */
  get numbers(): PrefixNumbers {
    const states = [...this.shares.values()].reduce((sum, share) => sum + share.states, 0);
    return { states, bytes: this.bytes, ...this.counts };
  }

  private get bytes(): number {
    let bytes = 0;
    for (const share of this.shares.values()) bytes += share.bytes;
    return bytes;
  }

  /** Forgets everything. */
  clear(): void {
    for (const share of this.shares.values()) share.dispose();
    this.shares = new Map();
  }

  /** Frees all states; the cache is empty then. */
  dispose(): void {
    this.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * @internal Begins a prompt; those of one owner know nothing of those of another, nor those that are read with one adapter, by
   * its identity or '', of those of another.
   */
  begin(owner: string, adapter: string, ids: Int32Array, ends: readonly number[]): PrefixPath {
    this.checkWeights();
    const share = this.shares.get(owner) ?? new Share();
    this.shares.set(owner, share);
    const path = new PrefixPath(this.every, share.root(adapter), ids, ends, {
      keep: (block, memory) => this.keep(owner, share, block, memory),
      ended: () => {
        share.prune();
        this.forget(owner, share);
      },
    });
    if (path.found) share.use(path.found);
    this.counts.prompts++;
    this.counts.hits += Number(path.found !== null);
    this.counts.promptTokens += ids.length;
    this.counts.reusedTokens += path.use.reusedTokens;
    return path;
  }

  /** Keeps the state after a block, where there is room for it. */
  private keep(owner: string, share: Share, block: Block, memory: Memory): void {
    // Meanwhile everything may have been forgotten.
    if (block.memory || !block.alive || this.shares.get(owner) !== share) return;
    const copy = memory.copy('PrefixCache');
    copy.history = null;
    const bytes = copy.bytes + 4 * block.gain;
    if (bytes > this.maxBytes) return copy.dispose();
    share.add(block, copy, bytes);
    while (this.bytes > this.maxBytes) {
      const [name, most] = [...this.shares].reduce((a, b) => (b[1].bytes > a[1].bytes ? b : a));
      most.drop(block);
      this.counts.dropped++;
      this.forget(name, most);
    }
  }

  /** A share that there is nothing in. */
  private forget(owner: string, share: Share): void {
    if (share.empty && this.shares.get(owner) === share) this.shares.delete(owner);
  }

  private checkWeights(): void {
    const weights = weightsOf(this.model);
    const same = (at: number): boolean =>
      weights[at][0] === this.weights[at][0] && weights[at][1] === this.weights[at][1];
    if (weights.length === this.weights.length && weights.every((_, at) => same(at))) return;
    this.clear();
    this.weights = weights;
  }
}

/** The memory of each weight, and how often it was changed. */
function weightsOf(model: RecurrentModel): [object, number][] {
  return (model.parameters?.() ?? []).map(({ storage }) => [storage, storage.version]);
}

/** The way of one prompt through a cache. */
export class PrefixPath {
  /** The block whose state it takes. */
  readonly found: Block | null = null;
  readonly use: PrefixUse;
  /** In order, each `every` tokens farther. */
  private readonly blocks: Block[] = [];
  /** Tokens behind which a state is to be kept. */
  private readonly wanted: ReadonlySet<number>;

  constructor(
    private readonly every: number,
    root: Block,
    private readonly ids: Int32Array,
    ends: readonly number[],
    private readonly cache: { keep(block: Block, memory: Memory): void; ended(): void },
  ) {
    let block: Block = root;
    let matched = 0;
    for (let at = every; at <= ids.length; at += every) {
      const part = ids.subarray(at - every, at);
      if (block.find(part)) matched = at;
      block = block.reach(part);
      this.blocks.push(block);
      if (block.memory) this.found = block;
    }
    const marks = [...ends, ids.length, matched];
    this.wanted = new Set(marks.map((end) => end - (end % every)));
    const reused = this.found?.tokens ?? 0;
    this.use = {
      promptTokens: ids.length,
      matchedTokens: matched,
      reusedTokens: reused,
      reason: reasonOf(ids.length, matched, reused, every),
    };
  }

  /** Ends of the calls that read the prompt from some token on, with at most so many in each. */
  *cuts(from: number, slice: number): Generator<number> {
    const { every } = this;
    for (let at = from; at < this.ids.length;) {
      at = Math.min(at + slice, at - (at % every) + every, this.ids.length);
      yield at;
    }
  }

  /** The state that there is to go on from, for whoever asks first. */
  take(where: string): Memory | null {
    return this.found?.memory?.copy(where) ?? null;
  }

  /** Offers the state of so many tokens. */
  offer(memory: Memory): void {
    const { every } = this;
    const { tokens } = memory;
    if (tokens % every === 0 && this.wanted.has(tokens)) this.cache.keep(this.blocks[tokens / every - 1], memory);
  }

  /** When the prompt has been read, or was broken off. */
  end(): void {
    this.blocks.at(-1)?.prune();
    this.cache.ended();
  }
}

function reasonOf(tokens: number, matched: number, reused: number, every: number): PrefixReason | null {
  if (reused === tokens) return null;
  if (tokens < every) return 'short';
  if (matched === 0) return 'unseen';
  return reused < matched ? 'dropped' : 'rest';
}

/** Requires a cache of this model, or of the one that it adapts. */
export function checkPrefixCache(where: string, cache: unknown, model: RecurrentModel): PrefixCache {
  if (cache instanceof PrefixCache && cache.model === (model.base ?? model)) return cache;
  const found = cache instanceof PrefixCache ? 'one of another model' : describe(cache);
  throw argumentError('INVALID_ARGUMENT', where, 'prefixCache', 'a PrefixCache of this model', found);
}
