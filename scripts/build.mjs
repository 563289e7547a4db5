// Sets a clone up: the native addon where a compiler is there for it, then the TypeScript. Does nothing that is done.
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { buildNative, missingTool } from './build-native.mjs';
import { buildTypeScript } from './build-ts.mjs';
import { current, root } from './support.mjs';

const addon = join('build', 'Release', 'fast_weights.node');

/** Seconds between lines where they stay. */
const INTERVAL = 15;

/** Says how many files have been compiled, and for how long: in one line on a terminal, in a line now and then elsewhere. */
function compilerProgress() {
  const redraws = process.stdout.isTTY && process.env.TERM !== 'dumb';
  const begun = performance.now();
  let files = 0;
  const show = () => {
    const text = `  ${files} files, ${Math.round((performance.now() - begun) / 1000)} s`;
    process.stdout.write(redraws ? `\r\x1b[2K${text}` : `${text}\n`);
  };
  const timer = setInterval(show, redraws ? 1000 : 1000 * INTERVAL);
  return {
    onLine: (line) => void (files += /^\s*(CXX|CC)\(/.test(line) ? 1 : 0),
    done() {
      clearInterval(timer);
      show();
      if (redraws) process.stdout.write('\n');
    },
  };
}

/** Returns an exit status: a compiler that fails is an error, a missing one is not. */
async function native() {
  if (current(addon, 'native', 'binding.gyp')) return 0;
  const missing = missingTool();
  if (missing) {
    console.log(`${missing}: the library will run in pure JavaScript`);
    return 0;
  }
  console.log('compiling the native kernels (a few minutes the first time)');
  const { onLine, done } = compilerProgress();
  const { status, output } = await buildNative({ show: false, onLine });
  done();
  if (status !== 0) {
    console.error(`${output.trimEnd().split('\n').slice(-40).join('\n')}\nthe native build failed`);
    return 1;
  }
  // make leaves a binary alone whose sources changed only in time.
  utimesSync(join(root, addon), new Date(), new Date());
  return 0;
}

function typeScript() {
  if (current('dist/index.mjs', 'lib', 'tsconfig.json', 'scripts/build-ts.mjs')) return 0;
  console.log('compiling the TypeScript');
  return buildTypeScript();
}

process.exitCode = (await native()) || typeScript();
