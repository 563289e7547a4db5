// Files and folders that appear whole or not at all, whatever kills the process.
//
// A file is written beside its target, synced and renamed over it. A folder cannot be renamed over a folder, so its
// swap takes two renames, and three names carry the state:
//   dir               complete
//   dir.tmp-<pid>-<n> being written or being deleted: never read
//   dir.old-<pid>-<n> complete; the last version while `dir` is between the two renames
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { FastWeightsError } from '../core';
import { ioError, systemCode } from './failure';

let counter = 0;
const mine = new Set<string>();

/** A name beside `path` that belongs to this process until it is forgotten. */
function claim(path: string, role: 'tmp' | 'old'): string {
  const name = `${path}.${role}-${process.pid}-${Date.now().toString(36)}${(counter++).toString(36)}`;
  mine.add(name);
  return name;
}
