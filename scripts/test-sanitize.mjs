// Builds the CPU addon with the sanitizers of addresses and of undefined behaviour, and runs on it the tests of kernels and
// a sample of random programs (test/fuzz). What is built is one instruction set, since that takes minutes.
// Usage: node scripts/test-sanitize.mjs [--build] [options of the fuzzer]; with --build nothing is run.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Failure, finish, isMain, Missing, root, runMain, share, works } from './support.mjs';

const require = createRequire(import.meta.url);
const compiler = process.env.CXX || 'g++';
const folder = 'build-dev';
/** Every one is a process. */
const SUITES = [
  ['test/rules/**/*.test.ts'],
  ['test/ops/**/*.test.ts', 'test/backends/native/encode.test.ts', 'test/backends/native/failures.test.ts'],
];
const SAMPLE = ['--programs', '3000', '--seconds', '180'];

/** The widest set that every machine with vectors has; where there are none, and on other processors, all there are. */
function instructionSet() {
  if (process.arch !== 'x64' || process.platform !== 'linux') return '';
  return / avx2 /.test(readFileSync('/proc/cpuinfo', 'utf8')) ? 'avx2' : '';
}

function run(command, args, env = {}) {
  return spawnSync(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: 'inherit' }).status === 0;
}

async function main() {
  for (const tool of ['cmake', compiler]) {
    if (!works(tool, '--version')) throw new Missing(`NOT tested with sanitizers: ${tool} is not installed`);
  }
  const sanitizers = 'address,undefined,float-cast-overflow';
  const options = [`-DFAST_WEIGHTS_SANITIZE=${sanitizers}`, `-DFAST_WEIGHTS_INSTRUCTION_SET=${instructionSet()}`];
  if (!run('cmake', ['-B', folder, ...options]) || !run('cmake', ['--build', folder, '--parallel', '2'])) {
    throw new Failure('the addon could not be built with sanitizers');
  }
  if (process.argv[2] === '--build') return;
  const { stdout } = spawnSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  const env = {
    LD_PRELOAD: stdout.trim(),
    // Wide red zones, so that what misses a block by a row does not meet the next one.
    ASAN_OPTIONS: 'detect_leaks=0:redzone=512:quarantine_size_mb=64',
    UBSAN_OPTIONS: 'print_stacktrace=1',
    FAST_WEIGHTS_NATIVE_PATH: join(root, folder, 'fast_weights.node'),
  };
  const chosen = process.argv.slice(2);
  const fuzz = (args) => ['--import=tsx', 'test/fuzz/main.ts', ...args];
  if (chosen.length > 0) {
    if (!run(process.execPath, fuzz(chosen), env)) throw new Failure('failed with sanitizers');
    return;
  }
  const mocha = [require.resolve('mocha/bin/mocha.js'), '--timeout', '300000', '--grep', 'cpu'];
  const passes = async (command) => {
    const { code, output } = await finish(process.execPath, command, { env: { ...process.env, ...env } });
    process.stdout.write(output);
    return code === 0;
  };
  const failed = await share([...SUITES.map((files) => [...mocha, ...files]), fuzz(SAMPLE)], passes);
  if (failed.length > 0) throw new Failure('failed with sanitizers');
}

if (isMain(import.meta.url)) await runMain(main);
