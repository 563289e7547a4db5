// Loads what stands in bench/package.json: dependencies of the benchmarks, never of the library.
import { createRequire } from 'node:module';
import path from 'node:path';

const load = createRequire(path.resolve(__dirname, '../package.json'));

export const INSTALL = 'npm --prefix bench install';

export function loadPackage<T>(name: string): T {
  return load(name) as T;
}

export function isInstalled(name: string): boolean {
  try {
    load.resolve(name);
    return true;
  } catch {
    return false;
  }
}

export function packageFile(name: string): string {
  return load.resolve(name);
}
