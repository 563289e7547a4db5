// Assembles the package fast-weights-cuda-linux-x64 from the built CUDA addon, in build-cuda/package, for npm to pack
// or publish. Requiring the package gives the exports of the addon.
// Usage: npm run pack:cuda && npm publish build-cuda/package
import { copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { addon, isCurrent } from './build-cuda.mjs';
import { isMain, mebibytes, Missing, root, runMain } from './support.mjs';

const NAME = 'fast-weights-cuda-linux-x64';

const README = `# ${NAME}

The CUDA kernels of [fast-weights](https://www.npmjs.com/package/fast-weights), for Linux on x86-64 with glibc 2.34 or
newer. Install it beside \`fast-weights\`, in the same version:

    npm install fast-weights ${NAME}

It needs a driver of CUDA 13 (580 or newer) and a card of compute capability 8.0 or higher; without them the library
computes on the processor, and \`npx fast-weights doctor\` says why. Nothing else of CUDA has to be installed: the CUDA
runtime, NVIDIA's, under the CUDA Toolkit End User License Agreement, is linked into the addon.
`;

/** Returns the folder of the package. */
export function assemble() {
  if (!isCurrent()) throw new Missing('the CUDA addon is out of date: npm run build:cuda');
  const folder = join(root, 'build-cuda', 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { version, license, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const manifest = {
    name: NAME,
    version,
    description: 'CUDA kernels of fast-weights for Linux on x86-64',
    license,
    engines,
    os: ['linux'],
    cpu: ['x64'],
    libc: ['glibc'],
    type: 'commonjs',
    main: `./${basename(addon)}`,
    files: [basename(addon)],
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  writeFileSync(join(folder, 'README.md'), README);
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  copyFileSync(join(root, addon), join(folder, basename(addon)));
  return folder;
}

function main() {
  const folder = assemble();
  console.log(`${folder}: ${mebibytes(statSync(join(folder, basename(addon))).size)}`);
}

if (isMain(import.meta.url)) await runMain(main);
