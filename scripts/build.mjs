// Sets a clone up: the native addon where a compiler is there for it, then the TypeScript. Does nothing that is done.
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { buildNative, missingTool } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { current, root } from './support.mjs';

const addon = join('build', 'Release', 'fast_weights.node');

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
