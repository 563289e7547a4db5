// Where states of conversations are kept by a name, whatever keeps them.
import { argumentError, checkInstance, checkString, describe } from '../core';
import { Snapshot } from './snapshot';

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
}

export function isKey(key: unknown): key is string {
  return typeof key === 'string' && /^[A-Za-z0-9._-]{1,100}$/.test(key);
}

export function checkKey(where: string, key: unknown): string {
  if (isKey(key)) return key;
  const expected = "1 to 100 letters, digits, '.', '_' and '-'";
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    'key',
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

export function checkSnapshot(where: string, snapshot: unknown): Snapshot {
  checkInstance(where, 'snapshot', snapshot, Snapshot);
  return snapshot;
}
