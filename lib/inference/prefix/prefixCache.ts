// States after the beginnings of prompts, for other prompts that begin so, too.
import { argumentError, checkInteger, checkOptions, describe, type OptionNames } from '../../core';
import type { Memory } from '../memory';
import { checkModel, type RecurrentModel } from '../model';
import { Block } from './tree';

/** Options of `PrefixCache`. */
export interface PrefixCacheOptions {
  /** What all states together may take, by `Snapshot.bytes`, and 4 bytes for each token; with 0 none is kept. */
  maxBytes: number;
  /** States are kept at multiples of so many tokens, 128 by default. The bits of an answer depend on it, and on nothing else of the cache. */
  every?: number;
}

const OPTIONS: OptionNames<PrefixCacheOptions> = { maxBytes: true, every: true };

/**
 * Why a prompt, or a part of it, was read again. `begun`: the conversation had begun, and went on from its own state.
 * `short`: the prompt has less than `every` tokens. `unseen`: no earlier prompt began so. `dropped`: one did, but its state was
 * not kept or went for room. `rest`: the state at the last multiple was taken, and what lies behind it was read.
 */
export type PrefixReason = 'begun' | 'short' | 'unseen' | 'dropped' | 'rest';

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
 * them, and where it parts from an earlier prompt. For room those go first that were used least for what they take, and whose
 * use lies back the longest (Cao and Irani 1997, "GreedyDual-Size"). A state lies in the same memory as those of sessions and
 * snapshots until one of them goes on.
 *
 * It holds for the weights that the model has: when they change, everything is forgotten. `dispose` frees the states.
 */
export class PrefixCache {
  /** States are kept at multiples of so many tokens. */
  readonly every: number;
  private readonly maxBytes: number;
  private roots = new Map<string, Block>();
  private readonly kept = new Set<Block>();
  private weights: readonly (readonly [object, number])[] = [];
  private bytes = 0;
  /** What a state was worth that went for room. */
  private inflation = 0;
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
    return { states: this.kept.size, bytes: this.bytes, ...this.counts };
  }

  /** Forgets everything. */
  clear(): void {
    for (const block of this.kept) block.memory!.dispose();
    this.kept.clear();
    this.roots = new Map();
    this.bytes = 0;
  }

  /** Frees all states; the cache is empty then. */
  dispose(): void {
    this.clear();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal Begins a prompt; those of one owner know nothing of those of another. */
  begin(owner: string, ids: Int32Array, ends: readonly number[]): PrefixPath {
    this.checkWeights();
    const root = this.roots.get(owner) ?? new Block(null, new Int32Array(), 0);
    this.roots.set(owner, root);
    const path = new PrefixPath(this, root, ids, ends, () => {
      if (root.empty) this.roots.delete(owner);
    });
    if (path.found) this.use(path.found);
    this.counts.prompts++;
    this.counts.hits += Number(path.found !== null);
    this.counts.promptTokens += ids.length;
    this.counts.reusedTokens += path.use.reusedTokens;
    return path;
  }

  /** @internal Keeps the state after a block, where there is room for it. */
  keep(block: Block, memory: Memory): void {
    if (block.memory || !block.alive) return;
    const copy = memory.copy('PrefixCache');
    copy.history = null;
    const bytes = copy.bytes + 4 * block.gain;
    if (bytes > this.maxBytes) return copy.dispose();
    Object.assign(block, { memory: copy, bytes, uses: 0 });
    this.rate(block);
    this.kept.add(block);
    this.bytes += bytes;
    while (this.bytes > this.maxBytes) this.drop(this.cheapest(block));
  }

  private use(block: Block): void {
    block.uses++;
    this.rate(block);
  }

  private rate(block: Block): void {
    block.value = this.inflation + ((1 + block.uses) * block.gain) / block.bytes;
  }

  /** Of those beside one that has just come. */
  private cheapest(but: Block): Block {
    let found: Block | null = null;
    for (const block of this.kept) if (block !== but && (!found || block.value < found.value)) found = block;
    return found ?? but;
  }

  private drop(block: Block): void {
    this.inflation = Math.max(this.inflation, block.value);
    block.memory!.dispose();
    block.memory = null;
    this.bytes -= block.bytes;
    this.kept.delete(block);
    this.counts.dropped++;
    block.prune();
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
    private readonly cache: PrefixCache,
    root: Block,
    private readonly ids: Int32Array,
    ends: readonly number[],
    private readonly ended: () => void,
  ) {
    const { every } = cache;
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
    const { every } = this.cache;
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
    const { every } = this.cache;
    const { tokens } = memory;
    if (tokens % every === 0 && this.wanted.has(tokens)) this.cache.keep(this.blocks[tokens / every - 1], memory);
  }

  /** When the prompt has been read, or was broken off. */
  end(): void {
    this.blocks.at(-1)?.prune();
    this.ended();
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
