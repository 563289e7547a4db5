// States as files, in a folder for each owner: what one has is found without a look at what others have.
import { FileStore, type PageOptions, type RecurrentModel, type Snapshot, type StateStore } from '../../inference';
import { ioError, systemCode } from '../../io';
import { join, readdir } from '../../platform';
import { ownerOf } from './owner';

/** Keys begin with the name of their owner, which is that of the folder. */
export class OwnerFolders implements Omit<StateStore, 'page'> {
  private readonly stores = new Map<string, FileStore>();

  constructor(
    private readonly folder: string,
    private readonly model: RecurrentModel,
  ) {}

  get(key: string): Promise<Snapshot | null> {
    return this.of(ownerOf(key)).get(key);
  }

  set(key: string, snapshot: Snapshot): Promise<void> {
    return this.of(ownerOf(key)).set(key, snapshot);
  }

  delete(key: string): Promise<boolean> {
    return this.of(ownerOf(key)).delete(key);
  }

  has(key: string): Promise<boolean> {
    return this.of(ownerOf(key)).has(key);
  }

  async keys(prefix = ''): Promise<string[]> {
    if (prefix.includes('.')) return this.of(ownerOf(prefix)).keys(prefix);
    const keys: string[] = [];
    for (const owner of await this.owners()) keys.push(...(await this.of(owner).keys(prefix)));
    return keys;
  }

  async sizes(prefix = ''): Promise<Map<string, number>> {
    if (prefix.includes('.')) return this.of(ownerOf(prefix)).sizes(prefix);
    const sizes = new Map<string, number>();
    for (const owner of await this.owners()) {
      for (const [key, bytes] of await this.of(owner).sizes(prefix)) sizes.set(key, bytes);
    }
    return sizes;
  }

  /** Of one owner, whom the prefix names. */
  page(options: PageOptions & { prefix: string }): Promise<[key: string, bytes: number][]> {
    return this.of(ownerOf(options.prefix)).page(options);
  }

  private of(owner: string): FileStore {
    const store = this.stores.get(owner) ?? new FileStore(join(this.folder, owner), this.model);
    this.stores.set(owner, store);
    return store;
  }

  private async owners(): Promise<string[]> {
    try {
      const entries = await readdir(this.folder, { withFileTypes: true });
      return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw ioError('serve', this.folder, error);
    }
  }
}
