// Files and paths.
export type { FileHandle } from 'node:fs/promises';

export const { existsSync, readFileSync } = process.getBuiltinModule('node:fs');
export const { appendFile, mkdir, open, readdir, readFile, rename, rm, stat } =
  process.getBuiltinModule('node:fs/promises');
export const { basename, dirname, join, parse, resolve, sep } = process.getBuiltinModule('node:path');
