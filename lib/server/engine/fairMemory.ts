// States in memory, by one budget that the owners of keys share.
import { MemoryStore, type PageOptions, type Snapshot } from '../../inference';
import { ownerOf } from './owner';

/** Where there is no room for a state, those of the owner go who holds most, with it, and of these the one used least recently. */
export class FairMemory {
  private readonly stores = new Map<string, MemoryStore>();

  constructor(private readonly maxBytes: number) {}

  /** That of all snapshots together. */
  get bytes(): number {
    return [...this.stores.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** How many there are. */
  get count(): number {
    return [...this.stores.values()].reduce((sum, { count }) => sum + count, 0);
  }

  /** How many the owner of a key has. */
  countOf(key: string): number {
    return this.of(key).count;
  }

  get(key: string): Promise<Snapshot | null> {
    return this.of(key).get(key);
  }

  /** One that alone is larger than the budget is refused with INVALID_ARGUMENT. */
  async set(key: string, snapshot: Snapshot): Promise<void> {
    const own = this.of(key);
    await own.delete(key);
    if (snapshot.bytes <= this.maxBytes) {
      while (this.bytes + snapshot.bytes > this.maxBytes) {
        const most = this.largest(own, snapshot.bytes);
        const [oldest] = await most.keys();
        await most.delete(oldest);
      }
    }
    await own.set(key, snapshot);
  }

  delete(key: string): Promise<boolean> {
    return this.of(key).delete(key);
  }

  has(key: string): Promise<boolean> {
    return this.of(key).has(key);
  }

  async keys(prefix = ''): Promise<string[]> {
    return [...(await this.sizes(prefix)).keys()];
  }

  async sizes(prefix = ''): Promise<Map<string, number>> {
    if (prefix.includes('.')) return this.of(prefix).sizes(prefix);
    const all = await Promise.all([...this.stores.values()].map((store) => store.sizes(prefix)));
    return new Map(all.flatMap((sizes) => [...sizes]));
  }

  /** Of one owner, whom the prefix names. */
  page(options: PageOptions & { prefix: string }): Promise<[key: string, bytes: number][]> {
    return this.of(options.prefix).page(options);
  }

  dispose(): void {
    for (const store of this.stores.values()) store.dispose();
  }

  /** Of those that hold anything, with `more` bytes for one of them. */
  private largest(own: MemoryStore, more: number): MemoryStore {
    const sizeOf = (store: MemoryStore): number => store.bytes + (store === own ? more : 0);
    const holding = [...this.stores.values()].filter(({ bytes }) => bytes > 0);
    return holding.reduce((most, store) => (sizeOf(store) > sizeOf(most) ? store : most));
  }

  private of(key: string): MemoryStore {
    const owner = ownerOf(key);
    const store = this.stores.get(owner) ?? new MemoryStore({ maxBytes: this.maxBytes });
    this.stores.set(owner, store);
    return store;
  }
}
