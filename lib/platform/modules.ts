// Loading code: addons and packages from where the library lies, and functions from text.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { compileFunction } from 'node:vm';

const load = createRequire(__filename);

/** The exports of an addon or a package. */
export function loadModule(name: string): unknown {
  return load(name);
}

/** The file that `loadModule` would load, or undefined. */
export function findModule(name: string): string | undefined {
  try {
    return load.resolve(name);
  } catch {
    return undefined;
  }
}

function packageIn(dir: string): { name?: unknown; version?: unknown } {
  try {
    return JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as { name?: unknown; version?: unknown };
  } catch {
    return {};
  }
}

/** The nearest folder upwards with the library's package.json: the same from the compiled files and from the sources. */
export function packageFolder(): string | undefined {
  for (let dir = __dirname; dir !== dirname(dir); dir = dirname(dir)) {
    if (packageIn(dir).name === 'fast-weights') return dir;
  }
  return undefined;
}

/** In its package.json. */
export function packageVersion(): string {
  return String(packageIn(packageFolder() ?? '').version);
}

/** A function of these parameters. Unlike `new Function`, this works where code from strings is not allowed. */
export function compile(code: string, parameters: readonly string[], name: string): (...values: unknown[]) => unknown {
  return compileFunction(code, parameters, { filename: name }) as (...values: unknown[]) => unknown;
}
