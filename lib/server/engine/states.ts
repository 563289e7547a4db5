// Stored states of conversations: in memory by a budget of bytes, and on disk where a folder is given, or in Redis, where other
// servers go on with them.
import { FastWeightsError } from '../../core';
import type { Claim, PageOptions, RecurrentModel, RedisStore, Snapshot } from '../../inference';
import { ApiError } from '../errors';
import { FairMemory } from './fairMemory';
import { ownerOf } from './owner';
import { OwnerFolders } from './ownerFolders';
import { Writers } from './writers';

export interface StatesOptions {
  /** What those in memory may take. */
  bytes: number;
  /** Every state is written there before it counts as stored. */
  folder?: string;
  /** In place of a folder and of memory. */
  redis?: RedisStore;
  /** How many a key may have. */
  most: number;
}

/** Milliseconds that the number of states in Redis is believed. */
const COUNTED = 10_000;

/** The keys of an owner: by one look at where they lie, and by what was done since. */
interface Owned {
  keys: Promise<Set<string>>;
  at: number;
}

/**
 * What is stored is in the folder, if there is one, and in memory so long as the budget lasts; without a folder those used
 * least recently are forgotten.
 */
export class States {
  private readonly memory: FairMemory;
  private readonly disk: OwnerFolders | RedisStore | null;
  /** Where others may write, too: nothing is remembered of what lies there, and who writes a key holds a claim. */
  private readonly shared: RedisStore | null;
  private readonly claims = new Map<string, Claim>();
  private readonly writers = new Writers();
  private readonly owned = new Map<string, Owned>();
  /** The last that waits for the state of a key: a file is not read while it is written, nor memory from an older one. */
  private readonly lines = new Map<string, Promise<unknown>>();

  constructor(
    model: RecurrentModel,
    private readonly options: StatesOptions,
  ) {
    this.memory = new FairMemory(options.bytes);
    this.shared = options.redis ?? null;
    this.disk = this.shared ?? (options.folder === undefined ? null : new OwnerFolders(options.folder, model));
  }

  /** Of those in memory; asked for every second, of any number. */
  get stats(): { states: number; stateBytes: number } {
    return { states: this.memory.count, stateBytes: this.memory.bytes };
  }

  /** Whether other servers may write, too. */
  get isShared(): boolean {
    return this.shared !== null;
  }

  /** The caller disposes what it gets; a key that is not there, or that cannot be read, is a failure of the request. */
  get(key: string): Promise<Snapshot> {
    return this.inLine(key, async () => {
      const kept = await this.memory.get(key);
      if (kept) return kept;
      const stored = await this.read(key);
      if (!stored) throw missing(key);
      await this.remember(key, stored);
      return stored;
    });
  }

  /** Resolves when the state would survive the end of the process, where there is a folder. */
  set(key: string, snapshot: Snapshot): Promise<void> {
    return this.inLine(key, async () => {
      const keys = await this.roomFor(key);
      if (this.shared) await this.share(this.shared, key, snapshot);
      else await this.disk?.set(key, snapshot);
      keys?.add(key);
      await this.remember(key, snapshot);
    });
  }

  delete(key: string): Promise<boolean> {
    return this.inLine(key, async () => {
      const there = await this.memory.delete(key);
      (await this.owned.get(ownerOf(key))?.keys)?.delete(key);
      return (await this.disk?.delete(key)) || there;
    });
  }

  /** Whether there is one, without reading it. */
  has(key: string): Promise<boolean> {
    return this.inLine(key, () => (this.disk ?? this.memory).has(key));
  }

  keys(prefix?: string): Promise<string[]> {
    return (this.disk ?? this.memory).keys(prefix);
  }

  sizes(prefix?: string): Promise<Map<string, number>> {
    return (this.disk ?? this.memory).sizes(prefix);
  }

  /** Of one owner, whom the prefix names. */
  page(options: PageOptions & { prefix: string }): Promise<[key: string, bytes: number][]> {
    return (this.disk ?? this.memory).page(options);
  }

  /** One request at a time changes what is stored under a key. */
  async alone<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.hold(key, signal);
    try {
      await this.claim(key);
      return await work();
    } finally {
      this.release(key);
    }
  }

  /** Makes this request the only one here that writes the key; `signal` says when it is to end. */
  hold(key: string, signal: AbortSignal): Promise<void> {
    return this.writers.hold(key, signal);
  }

  /** Makes it the only one on all servers that share it: whoever held the key before has lost it. */
  async claim(key: string): Promise<void> {
    if (this.shared) this.claims.set(key, await this.shared.claim(key));
  }

  /** Requires a state, where looking for one costs less than reading it. */
  async checkThere(key: string): Promise<void> {
    if (this.shared && !(await this.shared.has(key))) throw missing(key);
  }

  release(key: string): void {
    this.claims.delete(key);
    this.writers.release(key);
  }

  dispose(): void {
    this.memory.dispose();
  }

  private async read(key: string): Promise<Snapshot | null> {
    try {
      return (await this.disk?.get(key)) ?? null;
    } catch (cause) {
      if (!(cause instanceof FastWeightsError) || cause.code !== 'FORMAT') throw cause;
      const message = `The state of '${nameOf(key)}' cannot be read: it is damaged, or of another model. It can be deleted.`;
      throw new ApiError(410, message, { code: 'state_damaged', cause });
    }
  }

  /** Runs work on a key when all that came before it has ended. */
  private async inLine<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.lines.get(key);
    const run = before ? before.then(work, work) : work();
    this.lines.set(key, run);
    try {
      return await run;
    } finally {
      if (this.lines.get(key) === run) this.lines.delete(key);
    }
  }

  /** Requires room for a key among those of its owner; gives these where they lie beside memory, which counts its own. */
  private async roomFor(key: string): Promise<Set<string> | null> {
    const keys = this.disk && (await this.keysOf(ownerOf(key)));
    const { most } = this.options;
    if (keys?.has(key) ?? (await this.memory.has(key))) return keys;
    if ((keys?.size ?? this.memory.countOf(key)) < most) return keys;
    const message = `A key may have ${most} stored states here, and this one has: delete some first.`;
    throw new ApiError(400, message, { code: 'too_many_states' });
  }

  private async keysOf(owner: string): Promise<Set<string>> {
    const look = async (): Promise<Set<string>> => new Set(await this.keys(`${owner}.`));
    const now = performance.now();
    const known = this.owned.get(owner);
    if (known && !(this.shared && now - known.at > COUNTED)) return known.keys;
    const owned = { keys: look(), at: now };
    this.owned.set(owner, owned);
    // A look that failed is not believed.
    owned.keys.catch(() => this.owned.delete(owner));
    return owned.keys;
  }

  private async share(shared: RedisStore, key: string, snapshot: Snapshot): Promise<void> {
    try {
      await shared.set(key, snapshot, { claim: this.claims.get(key) });
    } catch (error) {
      if (!(error instanceof FastWeightsError) || error.argument !== 'claim') throw error;
      const message = 'Another server has gone on with this session meanwhile; what was written here is not kept.';
      throw new ApiError(409, message, { code: 'session_taken', cause: error });
    }
  }

  private async remember(key: string, snapshot: Snapshot): Promise<void> {
    if (this.shared) return;
    try {
      await this.memory.set(key, snapshot);
    } catch (error) {
      const large = error instanceof FastWeightsError && error.argument === 'snapshot';
      if (!large) throw error;
      if (this.disk) return;
      const message = `The state takes ${snapshot.bytes} bytes, more than the server keeps of all states together.`;
      throw new ApiError(507, message, { code: 'state_too_large' });
    }
  }
}

function missing(key: string): ApiError {
  const message = `No state of '${nameOf(key)}' is stored, or it is no longer.`;
  return new ApiError(404, message, { code: 'state_not_found' });
}

/** Without its owner. */
function nameOf(key: string): string {
  return key.slice(key.indexOf('.') + 1);
}
