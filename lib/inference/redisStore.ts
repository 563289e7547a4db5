// States in Redis, which any number of processes share: each state has one writer at a time, and a stale one is refused.
import {
  argumentError,
  checkInteger,
  checkOptions,
  checkString,
  describe,
  FastWeightsError,
  type OptionNames,
} from '../core';
import { asBuffer, randomHex, sha256 } from '../platform';
import { checkModel, type RecurrentModel } from './model';
import { checkSnapshotOptions, Snapshot } from './snapshot';
import type { SnapshotOptions } from './snapshotFile';
import { checkKey, checkPage, checkPrefix, checkSnapshot, type PageOptions, type StateStore } from './stateStore';

/** What is used of a client of the package `ioredis`; one that is connected, or connects by itself. */
export interface RedisClient {
  /** The value of a key. */
  getBuffer(key: string): Promise<Uint8Array | null>;
  /** Runs a Lua script on keys and arguments. */
  eval(script: string, keys: number, ...args: (string | Uint8Array | number)[]): Promise<unknown>;
  /** The length of a value in bytes. */
  strlen(key: string): Promise<number>;
}

/** Options of `RedisStore`. */
export interface RedisStoreOptions extends SnapshotOptions {
  /** What all keys begin with, 'fast-weights' by default; a hash of the model's identity follows. */
  prefix?: string;
  /** Seconds after which a state is forgotten that nobody has set or got; for ever by default. */
  expireSeconds?: number;
}

const OPTIONS: OptionNames<RedisStoreOptions> = { prefix: true, expireSeconds: true, dtype: true };

/** The right to write the state of a key, until somebody else claims it. */
export interface Claim {
  /** The state that it is for. */
  readonly key: string;
  /** Another one for every claim. */
  readonly id: string;
}

/** Options of `RedisStore.set`. */
export interface SetOptions {
  /** Refuses the snapshot where the key has been claimed, set without a claim, or deleted since. */
  claim?: Claim;
}

const SET: OptionNames<SetOptions> = { claim: true };

/** Of a value in Redis. */
const MOST_BYTES = 512 * 2 ** 20;
/** A claim outlives its state so that a writer who was away finds out. */
const CLAIM_SECONDS = 7 * 24 * 3600;
/** Keys that one script looks at. */
const LISTED = 1000;

/**
 * KEYS state, claim, index; ARGV the bytes, the claim that must hold or '', the new claim, seconds of state and claim or 0, the key,
 * and what places of states begin with. Where states expire, some keys of the index are looked at each time: no more are left of
 * them than there are states.
 */
const SET_SCRIPT = `
if ARGV[2] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[5])
redis.call('ZADD', KEYS[3], 0, ARGV[6])
if ARGV[4] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
  for _, key in ipairs(redis.call('ZRANDMEMBER', KEYS[3], 4)) do
    if redis.call('EXISTS', ARGV[7] .. key) == 0 then redis.call('ZREM', KEYS[3], key) end
  end
end
return 1`;
const CLAIM_SCRIPT = `return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])`;
/** KEYS state, claim, index; ARGV the new claim, its seconds, the key. */
const DELETE_SCRIPT = `
redis.call('ZREM', KEYS[3], ARGV[3])
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2]) end
return redis.call('DEL', KEYS[1])`;
/**
 * KEYS index; ARGV what places of states begin with, the bounds of the keys, and how many. What the index has of states that have
 * expired is taken out of it.
 */
const PAGE_SCRIPT = `
local page, max, most = {}, ARGV[2], tonumber(ARGV[4])
while #page < 2 * most do
  local keys = redis.call('ZREVRANGEBYLEX', KEYS[1], max, ARGV[3], 'LIMIT', 0, most - #page / 2)
  if #keys == 0 then break end
  for _, key in ipairs(keys) do
    local bytes = redis.call('STRLEN', ARGV[1] .. key)
    if bytes > 0 then
      page[#page + 1] = key
      page[#page + 1] = bytes
    else redis.call('ZREM', KEYS[1], key) end
  end
  max = '(' .. keys[#keys]
end
return page`;
const TOUCH_SCRIPT = `return redis.call('EXPIRE', KEYS[1], ARGV[1])`;

/**
 * Keeps snapshots in Redis, under `<prefix>:<hash of the model's family and configuration>:state:<key>`; what models of other ones
 * keep there is not seen. Models that differ in their weights alone need prefixes of their own. One
 * of more than 512 MiB is refused with UNSUPPORTED. What goes wrong between here and there is an IO error, with the client's as
 * its cause.
 *
 * Processes that share states `claim` a key before they go on from it, and `set` it with the claim: whoever claimed the
 * key before is refused from then on (INVALID_ARGUMENT, argument `claim`), so that of two that go on with one conversation
 * one alone is kept. A `set` without a claim, and `delete`, take the key from whoever has claimed it.
 *
 * Keys are listed from an index, `<prefix>:<hash>:index`, which changes together with the states: nothing else in Redis is looked at.
 * A Redis that may drop keys for room (`maxmemory-policy`) must not drop that one.
 *
 * A `set` that has resolved is as safe as Redis keeps it: with `appendonly yes` and `appendfsync always` it is on the disk.
 */
export class RedisStore implements StateStore {
  private readonly base: string;
  private readonly expireSeconds: number;
  private readonly snapshots: SnapshotOptions;

  /** `client` stays the caller's to close; snapshots are read for `model`, which needs an `identity`, onto its device. */
  constructor(
    private readonly client: RedisClient,
    private readonly model: RecurrentModel,
    options: RedisStoreOptions = {},
  ) {
    const where = 'RedisStore';
    checkOptions(where, options, OPTIONS);
    const { prefix = 'fast-weights', expireSeconds, ...snapshots } = options;
    checkSnapshotOptions(where, snapshots);
    checkString(where, 'prefix', prefix);
    if (typeof (client as Partial<RedisClient> | null)?.getBuffer !== 'function') {
      throw argumentError('INVALID_ARGUMENT', where, 'client', "a client of the package 'ioredis'", describe(client));
    }
    checkModel(where, model);
    if (model.identity === undefined) {
      throw new FastWeightsError('UNSUPPORTED', `${where}: the model has no identity`, { argument: 'model' });
    }
    this.expireSeconds =
      expireSeconds === undefined ? 0 : checkInteger(where, 'expireSeconds', expireSeconds, 1, 2 ** 31);
    this.snapshots = snapshots;
    const hash = sha256();
    hash.update(new TextEncoder().encode(model.identity));
    this.base = `${prefix}:${hash.hex().slice(0, 16)}`;
  }

  async get(key: string): Promise<Snapshot | null> {
    const where = 'RedisStore.get';
    const place = this.stateOf(where, key);
    const bytes = await this.ask(where, this.client.getBuffer(place));
    if (bytes === null) return null;
    if (this.expireSeconds > 0) await this.ask(where, this.client.eval(TOUCH_SCRIPT, 1, place, this.expireSeconds));
    return Snapshot.fromBytes(bytes, this.model);
  }

  async has(key: string): Promise<boolean> {
    const where = 'RedisStore.has';
    return (await this.ask(where, this.client.strlen(this.stateOf(where, key)))) > 0;
  }

  /** The right to write the key from now on; there need not be a state yet. */
  async claim(key: string): Promise<Claim> {
    const where = 'RedisStore.claim';
    const place = this.claimOf(where, key);
    const id = newClaim();
    await this.ask(where, this.client.eval(CLAIM_SCRIPT, 1, place, id, this.claimSeconds));
    return { key, id };
  }

  async set(key: string, snapshot: Snapshot, options: SetOptions = {}): Promise<void> {
    const where = 'RedisStore.set';
    const places = this.placesOf(where, key);
    checkOptions(where, options, SET);
    const held = options.claim === undefined ? '' : claimFor(where, key, options.claim);
    // As it is at the call.
    using copy = checkSnapshot(where, snapshot).copy(where);
    copy.checkFamily(where, this.model);
    const bytes = await copy.toBytes(this.snapshots);
    if (bytes.length > MOST_BYTES) throw tooLarge(where, bytes.length);
    const args = [asBuffer(bytes), held, held || newClaim()];
    const seconds = [this.expireSeconds, this.claimSeconds];
    const index = [key, this.statePrefix];
    const done = await this.ask(where, this.client.eval(SET_SCRIPT, 3, ...places, ...args, ...seconds, ...index));
    if (done === 1) return;
    const expected = `the last one of '${key}'; claim it again and go on from what is there`;
    throw argumentError('INVALID_ARGUMENT', where, 'claim', expected, 'one that somebody else has claimed since');
  }

  async delete(key: string): Promise<boolean> {
    const where = 'RedisStore.delete';
    const places = this.placesOf(where, key);
    const args = [newClaim(), this.claimSeconds, key];
    const deleted = await this.ask(where, this.client.eval(DELETE_SCRIPT, 3, ...places, ...args));
    return deleted === 1;
  }

  async keys(prefix?: string): Promise<string[]> {
    return (await this.all('RedisStore.keys', prefix)).map(([key]) => key);
  }

  async sizes(prefix?: string): Promise<Map<string, number>> {
    return new Map(await this.all('RedisStore.sizes', prefix));
  }

  async page(options?: PageOptions): Promise<[key: string, bytes: number][]> {
    const where = 'RedisStore.page';
    const { prefix, before, limit } = checkPage(where, options);
    const found: [string, number][] = [];
    for (let last = before; found.length < limit; last = found.at(-1)![0]) {
      const wanted = Math.min(LISTED, limit - found.length);
      const page = await this.look(where, prefix, last, wanted);
      found.push(...page);
      if (page.length < wanted) break;
    }
    return found;
  }

  /** In rising order. */
  private async all(where: string, given: string | undefined): Promise<[key: string, bytes: number][]> {
    const prefix = checkPrefix(where, given);
    return (await this.page({ prefix, limit: Number.MAX_SAFE_INTEGER })).reverse();
  }

  private async look(
    where: string,
    prefix: string,
    before: string | undefined,
    limit: number,
  ): Promise<[key: string, bytes: number][]> {
    // Behind all letters of keys.
    const end = `${prefix}\x7f`;
    const bounds = [`(${before !== undefined && before < end ? before : end}`, `[${prefix}`];
    const answer = this.client.eval(PAGE_SCRIPT, 1, this.index, this.statePrefix, ...bounds, limit);
    const page = (await this.ask(where, answer)) as (string | number)[];
    return Array.from({ length: page.length / 2 }, (_, i) => [String(page[2 * i]), Number(page[2 * i + 1])]);
  }

  private get claimSeconds(): number {
    return Math.max(CLAIM_SECONDS, 2 * this.expireSeconds);
  }

  private get statePrefix(): string {
    return `${this.base}:state:`;
  }

  private get index(): string {
    return `${this.base}:index`;
  }

  /** What a change of a key changes. */
  private placesOf(where: string, key: string): [state: string, claim: string, index: string] {
    return [this.stateOf(where, key), this.claimOf(where, key), this.index];
  }

  private stateOf(where: string, key: string): string {
    return this.statePrefix + checkKey(where, key);
  }

  private claimOf(where: string, key: string): string {
    return `${this.base}:claim:${checkKey(where, key)}`;
  }

  private async ask<T>(where: string, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FastWeightsError('IO', `${where}: Redis: ${why}`, { cause });
    }
  }
}

const newClaim = (): string => randomHex(16);

function claimFor(where: string, key: string, claim: unknown): string {
  const { key: of, id } = (claim ?? {}) as Partial<Claim>;
  if (of === key && typeof id === 'string' && id !== '') return id;
  throw argumentError('INVALID_ARGUMENT', where, 'claim', `one of '${key}'`, of ? `one of '${of}'` : describe(claim));
}

function tooLarge(where: string, bytes: number): FastWeightsError {
  const message = `${where}: a value in Redis has at most ${MOST_BYTES} bytes, the snapshot ${bytes}`;
  return new FastWeightsError('UNSUPPORTED', message, { argument: 'snapshot' });
}
