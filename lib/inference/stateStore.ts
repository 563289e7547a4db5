// Where states of conversations are kept by a name, whatever keeps them.
import {
  argumentError,
  checkInstance,
  checkInteger,
  checkOptions,
  checkString,
  describe,
  type OptionNames,
} from '../core';
import { Snapshot } from './snapshot';

/** Which keys of a store to list. */
export interface PageOptions {
  /** What they begin with; nothing by default. */
  prefix?: string;
  /** Only those that come before this key, the last one of the page before; all by default. */
  before?: string;
  /** At most so many, 100 by default. */
  limit?: number;
}

const PAGE: OptionNames<PageOptions> = { prefix: true, before: true, limit: true };

/**
 * Keeps snapshots by key: a text of 1 to 100 letters, digits, `.`, `_` and `-`, in which case counts. Whatever else is given as
 * a key is an INVALID_ARGUMENT error, in every store.
 */
export interface StateStore {
  /** A snapshot for the caller to restore and to dispose; null where there is none of this key. */
  get(key: string): Promise<Snapshot | null>;
  /** Keeps the snapshot as it is now, in place of what the key had; the caller's own can be disposed. */
  set(key: string, snapshot: Snapshot): Promise<void>;
  /** Whether there was one. */
  delete(key: string): Promise<boolean>;
  /** Whether there is a snapshot of this key, without reading it. */
  has(key: string): Promise<boolean>;
  /** All there are, or those that begin with `prefix`. */
  keys(prefix?: string): Promise<string[]>;
  /** The bytes that the snapshot of each of these keys takes in this store, in the order of `keys`. */
  sizes(prefix?: string): Promise<Map<string, number>>;
  /** Some keys in falling order, the greatest first, and the bytes that the snapshot of each takes in this store. */
  page(options?: PageOptions): Promise<[key: string, bytes: number][]>;
}

export function isKey(key: unknown): key is string {
  return typeof key === 'string' && /^[A-Za-z0-9._-]{1,100}$/.test(key);
}

export function checkKey(where: string, key: unknown, argument = 'key'): string {
  if (isKey(key)) return key;
  const expected = "1 to 100 letters, digits, '.', '_' and '-'";
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    argument,
    expected,
    typeof key === 'string' ? JSON.stringify(key) : describe(key),
  );
}

/** What keys begin with that are asked for; nothing by default. */
export function checkPrefix(where: string, prefix: unknown): string {
  if (prefix === undefined) return '';
  checkString(where, 'prefix', prefix);
  return prefix;
}

export function checkPage(
  where: string,
  options: PageOptions = {},
): Required<Omit<PageOptions, 'before'>> & PageOptions {
  checkOptions(where, options, PAGE);
  const { before, limit = 100 } = options;
  if (before !== undefined) checkKey(where, before, 'before');
  return { prefix: checkPrefix(where, options.prefix), before, limit: checkInteger(where, 'limit', limit, 1) };
}

/** Those of a page. */
export function pageOf(keys: readonly string[], { before, limit }: ReturnType<typeof checkPage>): string[] {
  const found = before === undefined ? [...keys] : keys.filter((key) => key < before);
  return found.sort((a, b) => (a < b ? 1 : -1)).slice(0, limit);
}

export function checkSnapshot(where: string, snapshot: unknown): Snapshot {
  checkInstance(where, 'snapshot', snapshot, Snapshot);
  return snapshot;
}
