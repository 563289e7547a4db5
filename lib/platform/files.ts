// Files and paths.
export type { FileHandle } from 'node:fs/promises';

export const { closeSync, existsSync, openSync, readFileSync, readSync, rmSync, statSync } =
  process.getBuiltinModule('node:fs');
export const { appendFile, mkdir, open, readdir, readFile, rename, rm, rmdir, stat } =
  process.getBuiltinModule('node:fs/promises');
export const { tmpdir } = process.getBuiltinModule('node:os');
export const { basename, dirname, join, parse, resolve, sep } = process.getBuiltinModule('node:path');
