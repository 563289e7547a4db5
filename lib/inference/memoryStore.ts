// States in the memory of their device, as many as a budget of bytes takes.
import { argumentError, checkInteger, checkOptions, type OptionNames } from '../core';
import type { Snapshot } from './snapshot';
import {
  checkKey,
  checkPage,
  checkPrefix,
  checkSnapshot,
  pageOf,
  type PageOptions,
  type StateStore,
} from './stateStore';

/** Options of `MemoryStore`. */
export interface MemoryStoreOptions {
  /** What all snapshots together may take, each counted by its `bytes`; at least 1. */
  maxBytes: number;
}

const OPTIONS: OptionNames<MemoryStoreOptions> = { maxBytes: true };

interface Kept {
  snapshot: Snapshot;
  bytes: number;
}

/**
 * Keeps snapshots where their states lie, without copying them. Where they would take more than `maxBytes`, those go that were
 * set or got least recently; `keys` names these first. A snapshot that alone is larger is refused with INVALID_ARGUMENT,
 * and what there was stays.
 */
export class MemoryStore implements StateStore {
  /** Least recently used first. */
  private readonly kept = new Map<string, Kept>();
  private readonly maxBytes: number;
  private used = 0;

  constructor(options: MemoryStoreOptions) {
    checkOptions('MemoryStore', options, OPTIONS);
    this.maxBytes = checkInteger('MemoryStore', 'maxBytes', options.maxBytes, 1);
  }

  /** That of all snapshots together. */
  get bytes(): number {
    return this.used;
  }

  /** How many there are. */
  get count(): number {
    return this.kept.size;
  }

  async get(key: string): Promise<Snapshot | null> {
    const kept = this.kept.get(checkKey('MemoryStore.get', key));
    if (!kept) return null;
    this.kept.delete(key);
    this.kept.set(key, kept);
    return kept.snapshot.copy('MemoryStore.get');
  }

  async set(key: string, snapshot: Snapshot): Promise<void> {
    const where = 'MemoryStore.set';
    checkKey(where, key);
    const { bytes } = checkSnapshot(where, snapshot);
    if (bytes > this.maxBytes) {
      throw argumentError('INVALID_ARGUMENT', where, 'snapshot', `at most ${this.maxBytes} bytes`, `${bytes}`);
    }
    const copy = snapshot.copy(where);
    this.free(key);
    for (const oldest of this.kept.keys()) {
      if (this.used + bytes <= this.maxBytes) break;
      this.free(oldest);
    }
    this.kept.set(key, { snapshot: copy, bytes });
    this.used += bytes;
  }

  async delete(key: string): Promise<boolean> {
    return this.free(checkKey('MemoryStore.delete', key));
  }

  async has(key: string): Promise<boolean> {
    return this.kept.has(checkKey('MemoryStore.has', key));
  }

  async keys(prefix?: string): Promise<string[]> {
    const begin = checkPrefix('MemoryStore.keys', prefix);
    return [...this.kept.keys()].filter((key) => key.startsWith(begin));
  }

  async sizes(prefix?: string): Promise<Map<string, number>> {
    const begin = checkPrefix('MemoryStore.sizes', prefix);
    const found = [...this.kept].filter(([key]) => key.startsWith(begin));
    return new Map(found.map(([key, { bytes }]) => [key, bytes]));
  }

  async page(options?: PageOptions): Promise<[key: string, bytes: number][]> {
    const page = checkPage('MemoryStore.page', options);
    return pageOf(await this.keys(page.prefix), page).map((key) => [key, this.kept.get(key)!.bytes]);
  }

  /** Frees all of them; the store is empty then. */
  dispose(): void {
    for (const key of this.kept.keys()) this.free(key);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private free(key: string): boolean {
    const kept = this.kept.get(key);
    if (!kept) return false;
    this.kept.delete(key);
    this.used -= kept.bytes;
    kept.snapshot.dispose();
    return true;
  }
}
