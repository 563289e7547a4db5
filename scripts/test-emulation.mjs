// Builds the emulated card, which watches each access, and runs the tests of its kernels there: as the sources say, and
// where the compiler contracts products and sums, as it does for a card; the recurrence both ways, every other suite one of
// them. Says what is missing where it cannot be built.
// Usage: node scripts/test-emulation.mjs [--all | --sanitized]; --sanitized: some kernels with the sanitizers of addresses and of
// undefined behaviour, and nothing else; --all: everything. Without either what is made of operators, which have tests of
// their own, runs once as usual, and the recurrence as the sources say at some sizes only.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Failure, finish, isMain, root, runMain, share, works } from './support.mjs';

const require = createRequire(import.meta.url);
const compiler = process.env.CXX || 'g++';

/** Tests in whose titles no pattern is found. */
const only = (...patterns) => ['--grep', `^(?!.*(${patterns.join('|')}))`];
/** The tests of other devices ran before; the modes 'chunk' and 'recurrent' of a rule are one on the card. */
const ELSEWHERE = ['recurrent on', ' on (cpu|js)\\b', 'mode recurrent'];
/** Of the sequential rules those without kernels of their own, beyond their usual sizes. */
const COMPOSED =
  'sequential: (?!selfReferential|recurrentDelta|deltaRnn|deltaLstm).*(split anywhere|packed as|[A-Z] \\d)';
/** Sizes of the recurrence that differ in numbers only. */
const ALIKE = 'T (1|2|63|64|100|127|200),';

/** What is run on each build, the longest first. */
const literal = (all) => [
  ['test/rules/conformance.test.ts', ...only(...ELSEWHERE, ...(all ? [] : [ALIKE]))],
  ['test/autograd/*.test.ts', 'test/core/*.test.ts', ...only(...ELSEWHERE)],
  ['test/emulation/**/*.test.ts'],
];

const contracted = (all) => [
  ['test/rules/!(conformance).test.ts', ...only(...ELSEWHERE, ...(all ? [] : [COMPOSED]))],
  ['test/rules/conformance.test.ts', ...only(...ELSEWHERE)],
  ['test/ops/*.test.ts', 'test/optim/*.test.ts', 'test/nn/*.test.ts', ...only(...ELSEWHERE)],
  ['test/models/families.test.ts', '--grep', 'bfloat16'],
];

const SANITIZED = [['test/rules/conformance.test.ts', '--grep', 'packed.*chunk'], ['test/ops/kernels.test.ts']];

function build(folder, ...options) {
  for (const args of [
    ['-B', folder, ...options],
    ['--build', folder, '--parallel', '2'],
  ]) {
    const { status, stdout, stderr } = spawnSync('cmake', args, { cwd: root, encoding: 'utf8' });
    if (status !== 0) throw new Failure(`${stdout}${stderr}`.trim().split('\n').slice(-40).join('\n'));
  }
}

/** Runs a suite of tests in a process, and shows what it printed when it has ended. */
async function passes({ suite, env }) {
  const args = [require.resolve('mocha/bin/mocha.js'), '--timeout', '120000', '--reporter', 'dot', ...suite];
  const { code, output } = await finish(process.execPath, args, {
    env: { ...process.env, FAST_WEIGHTS_DEVICE: 'cuda-emulation', ...env },
  });
  process.stdout.write(output);
  return code === 0;
}

const on = (folder, suites, env) =>
  suites.map((suite) => ({ suite, env: { FAST_WEIGHTS_EMULATION_BUILD: folder, ...env } }));

/** Builds the card as the sources say and with contraction; their suites. */
function plain(all) {
  console.log('building the emulated card, and once more with contraction (minutes the first time)');
  build('build-emulation', '-DFAST_WEIGHTS_EMULATION=ON');
  build('build-emulation-contracted', '-DFAST_WEIGHTS_EMULATION=ON', '-DFAST_WEIGHTS_CONTRACT=ON');
  return [...on('build-emulation-contracted', contracted(all)), ...on('build-emulation', literal(all))];
}

/** Builds the card with sanitizers; its suites. */
function sanitized() {
  console.log('building the emulated card with sanitizers (minutes the first time)');
  build('build-emulation-sanitized', '-DFAST_WEIGHTS_EMULATION=ON', '-DFAST_WEIGHTS_SANITIZE=address,undefined');
  const { stdout } = spawnSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  return on('build-emulation-sanitized', SANITIZED, { LD_PRELOAD: stdout.trim(), ASAN_OPTIONS: 'detect_leaks=0' });
}

function selftestFails() {
  console.log('testing the emulation itself');
  build('build-selftest', '-S', 'test/emulation');
  return spawnSync(join(root, 'build-selftest', 'selftest'), { stdio: 'inherit' }).status !== 0;
}

async function main() {
  const [all, alone] = ['--all', '--sanitized'].map((option) => process.argv.includes(option));
  for (const tool of ['cmake', compiler]) {
    if (works(tool, '--version')) continue;
    console.log(`NOT tested on the emulated card: ${tool} is not installed`);
    return;
  }
  const failed = !alone && selftestFails() ? ['build-selftest/selftest'] : [];
  const suites = [...(alone ? [] : plain(all)), ...(all || alone ? sanitized() : [])];
  failed.push(...(await share(suites, passes)).map(({ suite }) => suite[0]));
  if (failed.length > 0) throw new Failure(`failed on the emulated card: ${failed.join(', ')}`);
}

if (isMain(import.meta.url)) await runMain(main);
