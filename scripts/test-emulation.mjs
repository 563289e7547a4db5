// Builds the emulated card and runs the tests of its kernels there: those made for it, and the library's own suites that
// reach every kernel. Says what is missing where it cannot be built.
// Usage: node scripts/test-emulation.mjs [options of mocha]
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Failure, isMain, Missing, root, runMain, works } from './support.mjs';

const require = createRequire(import.meta.url);
const folder = join(root, 'build-emulation');

/** The modes 'chunk' and 'recurrent' of a rule are one on the card. */
const SUITES = [
  ['test/emulation/**/*.test.ts'],
  ['test/rules/conformance.test.ts', '--grep', 'recurrent on', '--invert'],
  ['test/rules/golden.test.ts', '--grep', 'mode recurrent', '--invert'],
  ['test/rules/steps.test.ts'],
  [
    'test/ops/*.test.ts',
    'test/optim/optim.test.ts',
    'test/nn/*.test.ts',
    'test/autograd/*.test.ts',
    'test/core/*.test.ts',
  ],
];

function buildEmulation() {
  if (!works('cmake', '--version')) throw new Missing('cmake is not installed: the emulated card cannot be built');
  if (!works(process.env.CXX || 'g++', '--version'))
    throw new Missing('g++ is not installed: the emulated card cannot be built');
  for (const args of [
    ['-B', folder, '-DFAST_WEIGHTS_EMULATION=ON'],
    ['--build', folder, '--parallel', '2'],
  ]) {
    const { status, stdout, stderr } = spawnSync('cmake', args, { cwd: root, encoding: 'utf8' });
    if (status !== 0) throw new Failure(`${stdout}${stderr}`.trim().split('\n').slice(-40).join('\n'));
  }
}

function main() {
  console.log('building the emulated card (about a minute the first time)');
  try {
    buildEmulation();
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.log(`NOT tested: ${error.message}`);
    return;
  }
  const env = { ...process.env, FAST_WEIGHTS_DEVICE: 'cuda-emulation' };
  const mocha = require.resolve('mocha/bin/mocha.js');
  const failed = SUITES.filter((suite) => {
    const args = [mocha, '--timeout', '120000', '--reporter', 'dot', ...suite, ...process.argv.slice(2)];
    return spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' }).status !== 0;
  });
  if (failed.length > 0) throw new Failure(`failed on the emulated card: ${failed.map(([files]) => files).join(', ')}`);
}

if (isMain(import.meta.url)) runMain(main);
