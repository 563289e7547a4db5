// Where states of conversations are kept by a name, whatever keeps them.
import { argumentError, checkInstance, describe } from '../core';
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
  /** All there are. */
  keys(): Promise<string[]>;
  /** The bytes that the snapshot of each key takes in this store, in the order of `keys`. */
  sizes(): Promise<Map<string, number>>;
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

export function checkSnapshot(where: string, snapshot: unknown): Snapshot {
  checkInstance(where, 'snapshot', snapshot, Snapshot);
  return snapshot;
}
