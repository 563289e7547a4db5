// Stored states of conversations: in memory by a budget of bytes, and on disk where a folder is given, or in Redis, where other
// servers go on with them.
import { FastWeightsError } from '../../core';
import {
  type Claim,
  FileStore,
  MemoryStore,
  type RecurrentModel,
  type RedisStore,
  type Snapshot,
  type StateStore,
} from '../../inference';
import { ApiError } from '../errors';

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

/**
 * What is stored is in the folder, if there is one, and in memory so long as the budget lasts; without a folder those used
 * least recently are forgotten.
 */
export class States {
  private readonly memory: MemoryStore;
  private readonly disk: StateStore | null;
  /** Where others may write, too: nothing is remembered of what lies there, and who writes a key holds a claim. */
  private readonly shared: RedisStore | null;
  private readonly claims = new Map<string, Claim>();
  private counted = 0;
  private readonly busy = new Set<string>();
  /** The keys of each owner: by one look at the folder, and by what was done since. */
  private owned: Promise<Map<string, Set<string>>> | null = null;
  /** The last that waits for the state of a key: a file is not read while it is written, nor memory from an older one. */
  private readonly lines = new Map<string, Promise<unknown>>();

  constructor(
    model: RecurrentModel,
    private readonly options: StatesOptions,
  ) {
    this.memory = new MemoryStore({ maxBytes: options.bytes });
    this.shared = options.redis ?? null;
    this.disk = this.shared ?? (options.folder === undefined ? null : new FileStore(options.folder, model));
  }

  get stats(): Promise<{ states: number; stateBytes: number }> {
    return this.memory.keys().then((keys) => ({ states: keys.length, stateBytes: this.memory.bytes }));
  }

  /** The caller disposes what it gets; a key that is not there is a failure of the request. */
  get(key: string): Promise<Snapshot> {
    return this.inLine(key, async () => {
      const kept = await this.memory.get(key);
      if (kept) return kept;
      const stored = await this.disk?.get(key);
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
      keys.add(key);
      await this.remember(key, snapshot);
    });
  }

  delete(key: string): Promise<boolean> {
    return this.inLine(key, async () => {
      const there = await this.memory.delete(key);
      (await this.owned)?.get(ownerOf(key))?.delete(key);
      return (await this.disk?.delete(key)) || there;
    });
  }

  keys(): Promise<string[]> {
    return (this.disk ?? this.memory).keys();
  }

  async sizes(): Promise<Map<string, number>> {
    return (this.disk ?? this.memory).sizes();
  }

  /** One request at a time changes what is stored under a key. */
  async alone<T>(key: string | undefined, work: () => Promise<T>): Promise<T> {
    if (key === undefined) return work();
    this.hold(key);
    try {
      await this.claim(key);
      return await work();
    } finally {
      this.release(key);
    }
  }

  /** Makes this request the only one here that writes the key. */
  hold(key: string): void {
    if (this.busy.has(key)) {
      throw new ApiError(409, 'Another request is at work on this session.', { code: 'session_busy' });
    }
    this.busy.add(key);
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
    this.busy.delete(key);
    this.claims.delete(key);
  }

  dispose(): void {
    this.memory.dispose();
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

  /** The keys of the owner, where there is room for this one among them. */
  private async roomFor(key: string): Promise<Set<string>> {
    const owner = ownerOf(key);
    if (this.shared && performance.now() - this.counted > COUNTED) {
      this.owned = null;
      this.counted = performance.now();
    }
    const owned = await (this.owned ??= this.keys().then(byOwner));
    let keys = owned.get(owner);
    // Memory forgets by itself.
    if (!this.disk && keys && keys.size >= this.options.most) keys = byOwner(await this.memory.keys()).get(owner);
    keys ??= new Set();
    owned.set(owner, keys);
    const { most } = this.options;
    if (keys.has(key) || keys.size < most) return keys;
    const message = `A key may have ${most} stored states here, and this one has: delete some first.`;
    throw new ApiError(400, message, { code: 'too_many_states' });
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
      // An older one must not stand in for it.
      await this.memory.delete(key);
      if (this.disk) return;
      const message = `The state takes ${snapshot.bytes} bytes, more than the server keeps of all states together.`;
      throw new ApiError(507, message, { code: 'state_too_large' });
    }
  }
}

function missing(key: string): ApiError {
  const name = key.slice(key.indexOf('.') + 1);
  return new ApiError(404, `No state of '${name}' is stored, or it is no longer.`, { code: 'state_not_found' });
}

/** Whose it is. */
function ownerOf(key: string): string {
  return key.slice(0, key.indexOf('.'));
}

function byOwner(keys: readonly string[]): Map<string, Set<string>> {
  const owned = new Map<string, Set<string>>();
  for (const key of keys) {
    const owner = ownerOf(key);
    const own = owned.get(owner);
    if (own) own.add(key);
    else owned.set(owner, new Set([key]));
  }
  return owned;
}
