// Files and paths.
export { existsSync, readFileSync } from 'node:fs';
export { appendFile, type FileHandle, mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
export { basename, dirname, join, parse, resolve, sep } from 'node:path';
