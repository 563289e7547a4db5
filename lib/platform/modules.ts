// Loading code: addons and packages from where the library lies, and functions from text.
import { dirname, join, readFileSync, resolve } from './files';

const { createRequire } = process.getBuiltinModule('node:module');
const { pathToFileURL } = process.getBuiltinModule('node:url');
const { compileFunction } = process.getBuiltinModule('node:vm');

const NAME = 'fast-weights';

/** What this code is in. An ES module has no such name: the library is part of a bundle then, most likely the program. */
const file = typeof __filename === 'string' ? __filename : resolve(process.argv[1] ?? 'program');

/** The exports of an addon or a package, which a folder other than the library's may know. */
export function loadModule(name: string, folder?: string): unknown {
  return createRequire(folder === undefined ? file : join(folder, 'package.json'))(name);
}

/** Runs a file of the user's as a module, ES or CommonJS. */
export async function importFile(path: string): Promise<void> {
  await import(pathToFileURL(path).href);
}

/** The file that `loadModule` would load, or undefined. */
export function findModule(name: string): string | undefined {
  try {
    return createRequire(file).resolve(name);
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
function ownFolder(): string | undefined {
  return (foundFolder ??= { path: findOwnFolder() }).path;
}

let foundFolder: { path: string | undefined } | undefined;

function findOwnFolder(): string | undefined {
  for (let dir = dirname(file); dir !== dirname(dir); dir = dirname(dir)) {
    if (packageIn(dir).name === NAME) return dir;
  }
  return undefined;
}

/** The library's package; that of a bundle is looked for where the bundle would find it as a module. */
export function packageFolder(): string | undefined {
  const own = ownFolder();
  if (own !== undefined) return own;
  const manifest = findModule(`${NAME}/package.json`);
  return manifest && dirname(manifest);
}

/** The file of a bundle that the library is part of, away from its package. */
export function bundleFile(): string | undefined {
  return ownFolder() === undefined ? file : undefined;
}

/** In its package.json. */
export function packageVersion(): string {
  return String(packageIn(packageFolder() ?? '').version);
}

/** The text of a file in the package's folder, which is packed with the sources. */
export function packageFile(...names: string[]): string {
  return readFileSync(join(packageFolder() ?? '', ...names), 'utf8');
}

/** A function of these parameters. Unlike `new Function`, this works where code from strings is not allowed. */
export function compile(code: string, parameters: readonly string[], name: string): (...values: unknown[]) => unknown {
  return compileFunction(code, parameters, { filename: name }) as (...values: unknown[]) => unknown;
}
