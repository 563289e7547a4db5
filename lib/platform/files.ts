// Files and paths.
export { closeSync, existsSync, openSync, readFileSync, readSync, rmSync, statSync } from 'node:fs';
export { appendFile, type FileHandle, mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
export { tmpdir } from 'node:os';
export { basename, dirname, join, parse, resolve, sep } from 'node:path';
