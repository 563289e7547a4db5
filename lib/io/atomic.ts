// Files and folders that appear whole or not at all, whatever kills the process.
//
// A file is written beside its target, synced and renamed over it. A folder cannot be renamed over a folder, so its
// swap takes two renames, and three names carry the state:
//   dir               complete
//   dir.tmp-<pid>-<n> being written or being deleted: never read
//   dir.old-<pid>-<n> complete; the last version while `dir` is between the two renames
import {
  basename,
  dirname,
  type FileHandle,
  join,
  mkdir,
  open,
  operatingSystem,
  processBegan,
  processId,
  randomHex,
  readdir,
  rename,
  resolve,
  rm,
  signalsProcess,
  stat,
} from '../platform';
import { FastWeightsError } from '../core';
import { createFolder } from './createFolder';
import { checkPath, ioError, systemCode } from './failure';

type Role = 'tmp' | 'old';

function claim(target: string, role: Role): string {
  return `${target}.${role}-${processId}-${randomHex(4)}`;
}

/** Runs a file operation; undefined instead of an error with one of these codes. */
async function unless<T>(codes: readonly string[], operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (codes.includes(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}

const exists = async (path: string): Promise<boolean> => (await unless(['ENOENT'], stat(path))) !== undefined;

interface Leftover {
  path: string;
  modified: number;
}

/** What earlier saves of `target` left behind, newest first; with `deadOnly`, none that a running save still owns. */
async function leftovers(target: string, role: Role, deadOnly: boolean): Promise<Leftover[]> {
  const prefix = `${basename(target)}.${role}-`;
  const found: Leftover[] = [];
  for (const name of (await unless(['ENOENT'], readdir(dirname(target)))) ?? []) {
    const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-f]{8}$/.exec(name.slice(prefix.length))?.[1] : undefined;
    if (pid === undefined) continue;
    const path = join(dirname(target), name);
    const modified = (await unless(['ENOENT'], stat(path)))?.mtimeMs;
    if (modified === undefined || (deadOnly && isOwned(Number(pid), modified))) continue;
    found.push({ path, modified });
  }
  return found.sort((a, b) => b.modified - a.modified);
}

/** Whether what a process wrote at a time is still its own. A process number comes back after a restart: what is older than this process is not its own. */
export function isOwned(pid: number, modified: number): boolean {
  if (pid === processId) return modified >= processBegan - 1;
  try {
    return signalsProcess(pid);
  } catch (error) {
    return systemCode(error) === 'EPERM';
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes renames inside a folder durable; Windows does not open folders and needs no such call. */
async function syncFolder(path: string): Promise<void> {
  if (operatingSystem !== 'win32') await sync(path);
}

async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) await sync(path);
  }
  await syncFolder(folder);
}

/** Replaces the file at `path` by what `write` puts into the handle; readers see the old or the new file, whole. */
export async function writeFileAtomic(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const target = resolve(checkPath('writeFileAtomic', path));
  const temporary = claim(target, 'tmp');
  try {
    for (const dead of await leftovers(target, 'tmp', true)) await rm(dead.path, { force: true, recursive: true });
    const file = await open(temporary, 'wx');
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
    await syncFolder(dirname(target));
  } catch (error) {
    // Where it was never made, or its folder is none, there is nothing to remove.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw ioError('writeFileAtomic', path, error);
  }
}

/**
 * Replaces the folder `dir` by what `fill` writes into the folder it is given. Whenever the process dies, the old or
 * the new version is complete, and `findFolder` finds it.
 */
export async function writeFolderAtomic(dir: string, fill: (folder: string) => Promise<unknown>): Promise<void> {
  const target = resolve(checkPath('writeFolderAtomic', dir, 'dir'));
  const temporary = claim(target, 'tmp');
  try {
    await createFolder(dirname(target));
    await recover(target);
    await mkdir(temporary);
    await fill(temporary);
    await syncTree(temporary);
    const old = await swap(temporary, target);
    await syncFolder(dirname(target));
    for (const path of old) await discard(path, target);
  } catch (error) {
    await rm(temporary, { force: true, recursive: true });
    throw ioError('writeFolderAtomic', dir, error);
  }
}

/** Finishes what killed saves began: a version that was moved away comes back, unfinished ones go. */
async function recover(target: string): Promise<void> {
  const old = await leftovers(target, 'old', true);
  if (old.length > 0 && !(await exists(target))) await rename(old.shift()!.path, target);
  for (const { path } of old) await discard(path, target);
  for (const { path } of await leftovers(target, 'tmp', true)) await rm(path, { force: true, recursive: true });
}

/** Deletes a complete version under a name that nobody reads, for a deletion can be cut short too. */
async function discard(path: string, target: string): Promise<void> {
  const doomed = claim(target, 'tmp');
  await rename(path, doomed);
  await rm(doomed, { force: true, recursive: true });
}

/** Renames `temporary` to `target`; returns where versions that stood in the way were moved. */
async function swap(temporary: string, target: string): Promise<string[]> {
  const occupied = ['ENOTEMPTY', 'EEXIST', ...(operatingSystem === 'win32' ? ['EPERM', 'EACCES'] : [])];
  const move = async (from: string, to: string): Promise<true> => rename(from, to).then(() => true);
  const old: string[] = [];
  while (!(await unless(occupied, move(temporary, target)))) {
    const aside = claim(target, 'old');
    if (await unless(['ENOENT'], move(target, aside))) old.push(aside);
  }
  return old;
}

/** The newest complete version of a folder that `writeFolderAtomic` writes: `dir` itself, or the one moved away. */
export async function findFolder(dir: string): Promise<string> {
  const target = resolve(checkPath('findFolder', dir, 'dir'));
  try {
    // A save that runs meanwhile can end between the two looks; then the next look finds `dir`.
    for (let attempt = 0; attempt < 3; attempt++) {
      if (await exists(target)) return target;
      const [newest] = await leftovers(target, 'old', false);
      if (newest) return newest.path;
    }
  } catch (error) {
    throw ioError('findFolder', dir, error);
  }
  throw new FastWeightsError('IO', `findFolder: ${dir} does not exist`, { argument: dir, expected: 'a folder' });
}
