// Packs what `gpu-check` needs for a machine with a GPU and no network: Node.js, the built library with both addons, the
// packages that its tests use, tests, benchmarks, and test vectors where they lie beside the clone.
// Usage: npm run pack:offline; then copy the folder build-offline/ and run its run.sh
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { addon, isCurrent } from './build-cuda.mjs';
import { Failure, isMain, mebibytes, Missing, root, runMain } from './support.mjs';

const LIMIT = 60 * 2 ** 20;
const PACKAGES = ['commander', 'node-gyp-build', '@huggingface/tokenizers', 'mocha', 'chai', 'tsx', 'fast-check'];
const CPU_ADDON = join('build', 'Release', 'fast_weights.node');
const out = join(root, 'build-offline');
const stage = join(out, 'stage');
const archiveOf = (name) => join(out, `${name}.tar.xz`);

const RUN = `#!/bin/sh
# Unpacks into the folder UNPACK_TO (default: unpacked, beside this file), once, and runs gpu-check with the arguments.
set -e
here=$(cd "$(dirname "$0")" && pwd)
to=\${UNPACK_TO:-$here/unpacked}
if [ ! -e "$to/complete" ]; then
  mkdir -p "$to"
  for archive in "$here"/*.tar.xz; do
    if command -v xz > /dev/null; then
      xz -dc "$archive" | tar -xf - -C "$to"
    else
      python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$archive" "$to"
    fi
  done
  touch "$to/complete"
fi
PATH="$to/node/bin:$PATH"
exec node "$to/fast-weights/scripts/gpu-check.mjs" "$@"
`;

/** The folders of packages and of all that they need, below the root. */
function dependencies(names) {
  const found = new Set();
  const visit = (name, from, optional) => {
    const folder = createRequire(join(from, 'package.json'))
      .resolve.paths(name)
      .map((modules) => join(modules, name))
      .find((candidate) => existsSync(join(candidate, 'package.json')));
    if (!folder && optional) return;
    if (!folder) throw new Missing(`${name} is not installed: npm ci`);
    if (found.has(folder)) return;
    found.add(folder);
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    for (const each of Object.keys(manifest.dependencies ?? {})) visit(each, folder, false);
    for (const each of Object.keys(manifest.optionalDependencies ?? {})) visit(each, folder, true);
  };
  for (const name of names) visit(name, root, false);
  return [...found].map((folder) => folder.slice(root.length + 1));
}

function copy(paths, { to = 'fast-weights', without = /$^/ } = {}) {
  for (const path of paths) {
    const filter = (source) => !without.test(source);
    cpSync(join(root, path), join(stage, to, path), { recursive: true, dereference: true, filter });
  }
}

function strip(path) {
  const { status, stderr } = spawnSync('strip', ['--strip-all', path], { encoding: 'utf8' });
  if (status !== 0) throw new Missing(`strip does not work: ${stderr}`);
}

/** Archives by name, each with what fills the stage for it. */
const PARTS = {
  node: () => {
    mkdirSync(join(stage, 'node', 'bin'), { recursive: true });
    cpSync(process.execPath, join(stage, 'node', 'bin', 'node'), { dereference: true });
    strip(join(stage, 'node', 'bin', 'node'));
  },
  // esbuild has a second copy of its binary.
  packages: () => copy(dependencies(PACKAGES), { without: /\.(map|md|d\.[cm]?ts)$|\/esbuild\/bin\// }),
  addons: () => {
    copy([addon, CPU_ADDON]);
    strip(join(stage, 'fast-weights', CPU_ADDON));
  },
  library: () => copy(['package.json', 'tsconfig.json', 'dist', 'lib', 'scripts'], { without: /\.(map|d\.[cm]?ts)$/ }),
  tests: () => copy(['test', 'bench'], { without: /\/node_modules|\/results|\/emulation/ }),
  vectors: () => copyVectors((name) => !name.startsWith('models')),
  models: () => copyVectors((name) => name.startsWith('models')),
};

/** What is left out where there would be too much. */
const OPTIONAL = 'models';

function copyVectors(wanted) {
  const golden = join(dirname(root), 'shared', 'golden');
  if (!existsSync(golden)) return;
  for (const name of readdirSync(golden).filter(wanted)) {
    cpSync(join(golden, name), join(stage, 'shared', 'golden', name), { recursive: true });
  }
}

/** Fills an archive; returns its size. */
function pack(name, fill) {
  rmSync(stage, { recursive: true, force: true });
  mkdirSync(stage, { recursive: true });
  fill();
  const archive = archiveOf(name);
  const environment = { ...process.env, XZ_OPT: `-6 -T${availableParallelism()}` };
  const { status, stderr } = spawnSync('tar', ['-cJf', archive, '-C', stage, '.'], {
    env: environment,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Missing(`tar with xz does not work: ${stderr}`);
  return statSync(archive).size;
}

function main() {
  if (!isCurrent()) throw new Missing('the CUDA addon is out of date: npm run build:cuda');
  for (const path of ['dist', CPU_ADDON]) {
    if (!existsSync(join(root, path))) throw new Missing(`${path} is missing: npm run build`);
  }
  rmSync(out, { recursive: true, force: true });
  let total = 0;
  for (const [name, fill] of Object.entries(PARTS)) {
    const size = pack(name, fill);
    const left = name === OPTIONAL && total + size > LIMIT;
    if (left) rmSync(archiveOf(name));
    else total += size;
    console.log(`${mebibytes(size).padStart(10)}  ${name}${left ? ': left out' : ''}`);
  }
  rmSync(stage, { recursive: true, force: true });
  writeFileSync(join(out, 'run.sh'), RUN);
  chmodSync(join(out, 'run.sh'), 0o755);
  console.log(`${mebibytes(total).padStart(10)}  build-offline`);
  if (total > LIMIT) throw new Failure(`that is more than ${mebibytes(LIMIT)}`);
}

if (isMain(import.meta.url)) await runMain(main);
