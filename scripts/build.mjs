// Sets a clone up: the native addon where a compiler is there for it, then the TypeScript. Does nothing that is done.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const addon = join('build', 'Release', 'fast_weights.node');

/** The newest change to any of these files or the files below these folders, in milliseconds; 0 for none. */
function newest(...paths) {
  const times = paths.map((path) => {
    const at = join(root, path);
    if (!existsSync(at)) return 0;
    const stat = statSync(at);
    if (!stat.isDirectory()) return stat.mtimeMs;
    // The folder's own time tells of files that were removed.
    return Math.max(stat.mtimeMs, newest(...readdirSync(at).map((name) => join(path, name))));
  });
  return Math.max(0, ...times);
}

/** Whether `output` exists and nothing it is made from changed since. */
function current(output, ...inputs) {
  const made = newest(output);
  return made > 0 && made >= newest(...inputs);
}

function works(command, ...args) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

/** Why the addon cannot be compiled here, or undefined. */
function missingTool() {
  const compiler = process.env.CXX || (process.platform === 'darwin' ? 'clang++' : 'g++');
  if (process.platform === 'win32') return 'the native kernels are not built on Windows';
  if (!works(compiler, '--version')) return `no C++ compiler found (${compiler})`;
  if (!works('make', '--version')) return 'no make found';
  if (!works(process.env.PYTHON || 'python3', '--version')) return 'no python3 found';
  return undefined;
}

/** Returns an exit status: a compiler that fails is an error, a missing one is not. */
function native() {
  if (current(addon, 'native', 'binding.gyp')) return 0;
  const missing = missingTool();
  if (missing) {
    console.log(`${missing}: the library will run in pure JavaScript`);
    return 0;
  }
  console.log('compiling the native kernels (a few minutes the first time)');
  const { status, output } = buildNative({ show: false });
  if (status !== 0) {
    console.error(`${output.trimEnd().split('\n').slice(-40).join('\n')}\nthe native build failed`);
    return 1;
  }
  // make leaves a binary alone whose sources changed only in time.
  utimesSync(join(root, addon), new Date(), new Date());
  return 0;
}

function typeScript() {
  return current('dist/index.mjs', 'lib', 'tsconfig.json', 'scripts/build-ts.mjs') ? 0 : buildTypeScript();
}

process.exitCode = native() || typeScript();
