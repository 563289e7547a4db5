// What child processes load: the compiled library where it is as new as its sources, which takes a fifth of the time, and the
// sources where it is not.
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

export const repository = path.resolve(__dirname, '../..');

/** The latest change of a file below a folder, in milliseconds. */
function lastChange(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Math.max(...files.map((entry) => statSync(path.join(entry.parentPath, entry.name)).mtimeMs));
}

function isBuilt(): boolean {
  const built = statSync(path.join(repository, 'dist', 'index.mjs'), { throwIfNoEntry: false });
  return built !== undefined && built.mtimeMs >= lastChange(path.join(repository, 'lib'));
}

const built = isBuilt();
const [folder, ending] = built ? ['dist', 'js'] : ['lib', 'ts'];
const file = (name: string): string => path.join(repository, folder, `${name}.${ending}`);

export const LIBRARY = file('index');
/** A server begins threads with files of its own. */
export const SERVER = file('server/index');
export const PROGRAM = file('cli/main');
/** What Node.js is given to run the program. */
export const LOADER = built ? [] : ['--import=tsx'];
