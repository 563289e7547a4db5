// States as files of a folder, which other processes find there.
import { FastWeightsError } from '../core';
import { checkPath, createFolder, ioError, systemCode } from '../io';
import { join, readdir, resolve, rm, stat } from '../platform';
import { checkModel, type RecurrentModel } from './model';
import { checkSnapshotOptions, Snapshot } from './snapshot';
import type { SnapshotOptions } from './snapshotFile';
import {
  checkKey,
  checkPage,
  checkPrefix,
  checkSnapshot,
  isKey,
  pageOf,
  type PageOptions,
  type StateStore,
} from './stateStore';

const NAME = /^state-(.+)\.safetensors$/;

/** There are file systems to which letters of either case are one: `A` is stored as `+a`. */
function nameOf(key: string): string {
  return `state-${key.replace(/[A-Z]/g, (letter) => `+${letter.toLowerCase()}`)}.safetensors`;
}

/** The key of a file that this store has written; null for all others. */
function keyOf(name: string): string | null {
  const key = NAME.exec(name)?.[1].replace(/\+([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return isKey(key) && nameOf(key) === name ? key : null;
}

/** Undefined in place of the error that there is no such file or folder; others are IO errors. */
async function orMissing<T>(where: string, path: string, operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    const cause = error instanceof FastWeightsError ? error.cause : error;
    if (systemCode(cause) === 'ENOENT') return undefined;
    throw ioError(where, path, error);
  }
}

/**
 * Keeps each snapshot in a file of one folder, `state-<key>.safetensors`, with `+a` for a capital A. A file appears whole or
 * not at all, and in place of the one before; what else lies in the folder is left alone. A damaged file, or one of another
 * model, is a FORMAT error of `get`.
 */
export class FileStore implements StateStore {
  private readonly folder: string;

  /**
   * `folder` is made, with its parents, by the first `set`. Snapshots are read for `model`, which needs an `identity`, onto
   * its device, and written with `options`.
   */
  constructor(
    folder: string,
    private readonly model: RecurrentModel,
    private readonly options: SnapshotOptions = {},
  ) {
    const where = 'FileStore';
    this.folder = resolve(checkPath(where, folder, 'dir'));
    checkModel(where, model);
    checkSnapshotOptions(where, options);
    if (model.identity === undefined) {
      throw new FastWeightsError('UNSUPPORTED', `${where}: the model has no identity`, { argument: 'model' });
    }
  }

  async get(key: string): Promise<Snapshot | null> {
    const path = this.pathOf('FileStore.get', key);
    return (await orMissing('FileStore.get', path, Snapshot.load(path, this.model))) ?? null;
  }

  async set(key: string, snapshot: Snapshot): Promise<void> {
    const where = 'FileStore.set';
    const path = this.pathOf(where, key);
    // As it is at the call.
    using copy = checkSnapshot(where, snapshot).copy(where);
    copy.checkFamily(where, this.model);
    try {
      await createFolder(this.folder);
    } catch (error) {
      throw ioError(where, this.folder, error);
    }
    await copy.save(path, this.options);
  }

  async delete(key: string): Promise<boolean> {
    const path = this.pathOf('FileStore.delete', key);
    return (
      (await orMissing(
        'FileStore.delete',
        path,
        rm(path).then(() => true),
      )) ?? false
    );
  }

  async has(key: string): Promise<boolean> {
    const where = 'FileStore.has';
    const path = this.pathOf(where, key);
    return (await orMissing(where, path, stat(path))) !== undefined;
  }

  async keys(prefix?: string): Promise<string[]> {
    const where = 'FileStore.keys';
    const begin = checkPrefix(where, prefix);
    const names = (await orMissing(where, this.folder, readdir(this.folder))) ?? [];
    return names
      .flatMap((name) => keyOf(name) ?? [])
      .filter((key) => key.startsWith(begin))
      .sort();
  }

  async sizes(prefix?: string): Promise<Map<string, number>> {
    return new Map(await this.sizesOf('FileStore.sizes', await this.keys(prefix)));
  }

  async page(options?: PageOptions): Promise<[key: string, bytes: number][]> {
    const where = 'FileStore.page';
    const page = checkPage(where, options);
    return this.sizesOf(where, pageOf(await this.keys(page.prefix), page));
  }

  private async sizesOf(where: string, keys: readonly string[]): Promise<[key: string, bytes: number][]> {
    const sizes: [string, number][] = [];
    for (const key of keys) {
      const path = this.pathOf(where, key);
      // Another process may delete it meanwhile.
      const found = await orMissing(where, path, stat(path));
      if (found) sizes.push([key, found.size]);
    }
    return sizes;
  }

  private pathOf(where: string, key: string): string {
    return join(this.folder, nameOf(checkKey(where, key)));
  }
}
