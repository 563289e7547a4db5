// Runs before npm packs or publishes: a package without its compiled files or without an addon would install, and compute
// in JavaScript everywhere. Nothing is built here; what to run is said.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { current, Failure, root, runMain } from './support.mjs';

/** The addons that prebuildify made, from the root. */
function prebuilds() {
  if (!existsSync(join(root, 'prebuilds'))) return [];
  const files = readdirSync(join(root, 'prebuilds'), { recursive: true });
  return files.filter((file) => file.endsWith('.node')).map((file) => join('prebuilds', file));
}

function main() {
  if (!current('dist/index.mjs', 'lib', 'tsconfig.json', 'scripts/build-ts.mjs')) {
    throw new Failure('dist is not there or older than lib: run `npm run build` first');
  }
  const addons = prebuilds();
  const here = `${process.platform}-${process.arch}`;
  if (addons.length === 0) throw new Failure(`prebuilds holds no addon: run \`npm run prebuildify\` for ${here} first`);
  for (const addon of addons) {
    if (current(addon, 'native', 'binding.gyp')) continue;
    throw new Failure(`${addon} is older than native: run \`npm run prebuildify\` on its platform, or remove it`);
  }
}

await runMain(main);
