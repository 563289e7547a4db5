// Builds the emulated card, which watches each access, and runs the tests of its kernels there: as the sources say, and
// where the compiler contracts products and sums, as it does for a card; the recurrence both ways, every other suite one of
// them; and some with the sanitizers of addresses and of undefined behaviour. Says what is missing where it cannot be built.
// Usage: node scripts/test-emulation.mjs [--all]; without --all what is made of operators, which have tests of their own, runs
// once as usual, and the recurrence as the sources say at some sizes only.
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

async function main() {
  const all = process.argv.includes('--all');
  for (const tool of ['cmake', compiler]) {
    if (works(tool, '--version')) continue;
    console.log(`NOT tested on the emulated card: ${tool} is not installed`);
    return;
  }
  console.log('testing the emulation itself');
  build('build-selftest', '-S', 'test/emulation');
  const selftest = spawnSync(join(root, 'build-selftest', 'selftest'), { stdio: 'inherit' });
  const failed = selftest.status === 0 ? [] : ['build-selftest/selftest'];
  console.log('building the emulated card, with contraction and with sanitizers, too (minutes the first time)');
  build('build-emulation', '-DFAST_WEIGHTS_EMULATION=ON');
  build('build-emulation-contracted', '-DFAST_WEIGHTS_EMULATION=ON', '-DFAST_WEIGHTS_CONTRACT=ON');
  build('build-emulation-sanitized', '-DFAST_WEIGHTS_EMULATION=ON', '-DFAST_WEIGHTS_SANITIZE=address,undefined');
  const { stdout } = spawnSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  const sanitizers = { LD_PRELOAD: stdout.trim(), ASAN_OPTIONS: 'detect_leaks=0' };
  const on = (folder, suites, env) =>
    suites.map((suite) => ({ suite, env: { FAST_WEIGHTS_EMULATION_BUILD: folder, ...env } }));
  const suites = [
    ...on('build-emulation-contracted', contracted(all)),
    ...on('build-emulation', literal(all)),
    ...on('build-emulation-sanitized', SANITIZED, sanitizers),
  ];
  failed.push(...(await share(suites, passes)).map(({ suite }) => suite[0]));
  if (failed.length > 0) throw new Failure(`failed on the emulated card: ${failed.join(', ')}`);
}

if (isMain(import.meta.url)) await runMain(main);
