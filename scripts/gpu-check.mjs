// Everything that only a GPU can tell, in one run without a network: the card, the tests on it, NVIDIA's sanitizer, the
// benchmark. What matters most comes first, and every result is on disk as soon as it is known.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { addon } from './build-cuda.mjs';
import { Failure, isMain, root, runMain } from './support.mjs';

const HELP = `Usage: npm run gpu-check -- [options]

  --out <folder>     where results go, a JSON file each, and summary.json (default: gpu-check)
  --minutes <n>      stop after this time (default: 10); the next run with the same folder goes on where this one stopped
  --jobs <n>         test processes at a time (default: half of the cores, at most 8, and as the card's memory allows)
  --only <text>      only steps with this text in their name
  --fresh            forget earlier results
  --device <name>    another device, to try this script without a GPU
  --python <path>    a Python with torch and fla on the GPU: the benchmark runs them beside the library
  --help

Exit code 0: everything ran and passed; 1: something failed, or there is no GPU; 2: nothing failed, but time ran out.
FAST_WEIGHTS_CUDA_DEVICE chooses the card. NVIDIA_TF32_OVERRIDE must not be set to anything but 0.`;

/** Files of tests, the most telling first; each is a process. */
const TESTS = [
  ...['rules/golden', 'rules/conformance', 'ops/kernels', 'ops/golden', 'rules/steps', 'ops/indices'],
  ...['optim/optim', 'autograd/accumulation', 'models/golden', 'models/families', 'inference/session'],
  ...['core/tensor', 'autograd/tape', 'ops/precision', 'autograd/operators', 'nn/module', 'core/temporaries'],
  ...['rules/errors', 'optim/errors', 'inference/history', 'train/trainer', 'ops/cublas'],
];

/** What the sanitizer looks at, since it makes kernels some hundred times slower: a file and names of its tests. */
const SANITIZED = {
  rules: ['rules/conformance', '^conformance: \\w+(, \\w+ gate)? (T 65|packed).* on DEVICE\\b'],
  ops: ['ops/kernels', '^operators on DEVICE\\b(?!.* of \\d+$)(?!.*(300|\\d{4}))'],
};
/** With what it runs. What the cache hands out is all in use to the sanitizer, and was written before: without it every
 * block is an allocation, beyond whose end an access is seen, and of which nobody has written anything. */
const EXACT_BLOCKS = { FAST_WEIGHTS_CUDA_CACHE: 'off', FAST_WEIGHTS_POISON: '' };
const SANITIZERS = { memcheck: EXACT_BLOCKS, racecheck: {}, synccheck: {}, initcheck: EXACT_BLOCKS };

/** Bytes of a card that a process of tests may take: its context, and the largest of the tests. */
const BYTES_PER_JOB = 3 * 2 ** 30;

/** How many processes of tests fit the machine. */
export function jobsFor(cores, freeBytes = Infinity) {
  return Math.max(1, Math.min(8, Math.floor(cores / 2), Math.floor(freeBytes / BYTES_PER_JOB)));
}

/** Minutes that one case of the benchmark may take. */
const LONGEST_CASE = 0.5;

/** Shares of the time after which no further step of a phase starts. */
const UNTIL = { conformance: 0.6, sanitizer: 0.8, bench: 1 };

const MOCHA = [
  ...['--expose-gc', '--import=tsx', join('node_modules', 'mocha', 'bin', 'mocha.js'), '--no-config'],
  ...['--require=test/support/setup.ts', '--extension=ts', '--timeout=300000', '--reporter=json-stream'],
];

/** What runs now; each in a process group of its own, so that nothing of it survives. */
const children = new Set();
const kill = (child) => process.kill(-child.pid, 'SIGKILL');
process.on('exit', () => children.forEach(kill));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

/** Runs a command until it ends or its time is over; resolves with its output and how it ended. */
function run([command, ...args], { environment = {}, deadline }) {
  return new Promise((settle, reject) => {
    const env = { ...process.env, ...environment };
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let [stdout, stderr, late] = ['', '', false];
    children.add(child);
    const stop = () => {
      late = true;
      kill(child);
    };
    const timer = setTimeout(stop, Math.max(0, deadline - Date.now()));
    child.stdout.on('data', (part) => (stdout += part));
    child.stderr.on('data', (part) => (stderr += part));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      children.delete(child);
      settle({ code: code ?? signal, late, stdout, stderr });
    });
  });
}

/** What mocha's stream of JSON lines says; complete up to where the process ended. */
function readTests(stdout) {
  const events = stdout.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
  const failures = events.filter(([kind]) => kind === 'fail');
  return {
    passed: events.filter(([kind]) => kind === 'pass').length,
    failed: failures.length,
    complete: events.some(([kind]) => kind === 'end'),
    failures: failures.map(([, { fullTitle, err }]) => ({ title: fullTitle, message: err })),
  };
}

/** The tests of other devices: they ran before there was a GPU. */
function others(device) {
  const names = ['js', 'cpu', 'cuda'].filter((name) => !device.startsWith(name));
  return ` on (${names.join('|')})\\b`;
}

async function runTests(context, deadline, file, selection, wrapper = [], settings = {}) {
  const environment = { FAST_WEIGHTS_DEVICE: context.device, ...settings };
  const command = [...wrapper, process.execPath, ...MOCHA, ...selection, join('test', `${file}.test.ts`)];
  const { code, late, stdout, stderr } = await run(command, { environment, deadline });
  const tests = readTests(stdout);
  const ended = code === 0 && tests.complete;
  if (ended && tests.passed === 0) return { status: 'skipped', reason: 'there are no such tests here' };
  const passed = ended && tests.failed === 0;
  const status = passed ? 'passed' : late ? 'out of time' : 'failed';
  return { status, code, ...tests, ...(!passed && { output: stderr.slice(-8000) }) };
}

function findSanitizer() {
  const home = process.env.CUDA_HOME ?? '/usr/local/cuda';
  const folders = [...(process.env.PATH ?? '').split(delimiter), join(home, 'bin'), join(home, 'compute-sanitizer')];
  return folders.map((folder) => join(folder, 'compute-sanitizer')).find((path) => existsSync(path));
}

async function sanitize(context, deadline, tool, [file, pattern]) {
  const sanitizer = findSanitizer();
  if (!sanitizer) return { status: 'skipped', reason: 'no compute-sanitizer found' };
  const log = join(context.out, `sanitizer-${tool}-${file.replace('/', '-')}.log`);
  const options = [`--tool=${tool}`, '--error-exitcode=86', `--log-file=${log}`, '--print-limit=50'];
  const selection = [`--grep=${pattern.replace('DEVICE', context.device)}`];
  const result = await runTests(context, deadline, file, selection, [sanitizer, ...options], SANITIZERS[tool]);
  const said = result.status !== 'passed' && existsSync(log) ? readFileSync(log, 'utf8').slice(0, 8000) : undefined;
  return { ...result, sanitizer: said };
}

async function bench(context, deadline) {
  const command = [process.execPath, '--import=tsx', join('bench', 'main.ts')];
  const { stdout: help } = await run([...command, '--help'], { deadline });
  if (!/^ +cuda /m.test(help) || !context.device.startsWith('cuda'))
    return { status: 'skipped', reason: `there is no benchmark of ${context.device}` };
  const figures = join(context.out, 'bench-figures.json');
  // It starts no case that could not end.
  const minutes = Math.max(0, deadline - Date.now()) / 60_000 - LONGEST_CASE;
  const options = ['--quick', `--json=${figures}`, `--minutes=${Math.max(0, minutes)}`];
  if (context.python) options.push(`--python=${context.python}`);
  const environment = { FAST_WEIGHTS_DEVICE: context.device };
  const { code, late, stdout, stderr } = await run([...command, 'cuda', ...options], { environment, deadline });
  const status = code === 0 ? 'passed' : late || code === 2 ? 'out of time' : 'failed';
  return { status, code, output: `${stdout}${stderr}` };
}

const STEPS = [
  ...TESTS.map((file) => ({
    name: `conformance-${file.replace('/', '-')}`,
    phase: 'conformance',
    run: (context, deadline) => runTests(context, deadline, file, [`--grep=${others(context.device)}`, '--invert']),
  })),
  ...Object.keys(SANITIZERS).flatMap((tool) =>
    Object.entries(SANITIZED).map(([name, subset]) => ({
      name: `sanitizer-${tool}-${name}`,
      phase: 'sanitizer',
      run: (context, deadline) => sanitize(context, deadline, tool, subset),
    })),
  ),
  { name: 'bench', phase: 'bench', run: bench },
];

/** The card, its driver and the library's own view of it; throws when there is none. */
function examine(device) {
  const fields = 'name,driver_version,compute_cap,memory.total,clocks.max.sm,power.limit';
  const { stdout, status } = spawnSync('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader'], {
    encoding: 'utf8',
  });
  const driver = status === 0 ? stdout.trim() : 'nvidia-smi does not run here';
  const main = join(root, 'dist', 'cli', 'main.js');
  if (!existsSync(main)) throw new Failure('dist is missing: npm run build');
  const env = { ...process.env, FAST_WEIGHTS_DEVICE: device };
  const doctor = spawnSync(process.execPath, [main, 'doctor', '--json'], { encoding: 'utf8', env });
  if (!doctor.stdout.startsWith('{')) throw new Failure(`the library does not load\n${doctor.stderr}`);
  const report = JSON.parse(doctor.stdout);
  const found = report.devices.find((each) => each.device === device);
  if (!found?.available) {
    const reason = found?.reason ?? 'the library has no such device';
    throw new Failure(`no GPU: the ${device} device is not available\ndriver: ${driver}\n${reason}`);
  }
  return { driver, ...report };
}

function save(out, name, value) {
  const path = join(out, `${name}.json`);
  writeFileSync(`${path}.part`, `${JSON.stringify(value, null, 2)}\n`);
  renameSync(`${path}.part`, path);
}

/** The result of an earlier run with the same addon, if the step ended. */
function earlier({ out, build }, name) {
  const path = join(out, `${name}.json`);
  const result = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
  return result?.build === build && ['passed', 'failed'].includes(result.status) ? result : undefined;
}

function describe({ status, seconds, reason, passed, failed }) {
  const tests = passed === undefined ? undefined : `${passed} tests passed${failed ? `, ${failed} failed` : ''}`;
  const time = seconds === undefined ? undefined : `${seconds.toFixed(1)} s`;
  return [status, reason, tests, time].filter(Boolean).join(', ');
}

/** Runs one phase's steps, some at a time, and records each in `results`. */
async function runPhase(context, steps, results, record) {
  const queue = [...steps];
  const worker = async () => {
    for (let step; (step = queue.shift());) {
      const known = earlier(context, step.name);
      const deadline = context.started + context.time * UNTIL[step.phase];
      const began = Date.now();
      let result = known ?? { status: 'not run', reason: 'no time was left' };
      if (!known && began < deadline) {
        result = await step.run(context, context.started + context.time);
        result = { step: step.name, build: context.build, ...result, seconds: (Date.now() - began) / 1000 };
      }
      results[step.name] = result;
      record(step.name, result, known !== undefined);
    }
  };
  const parallel = steps[0]?.phase === 'conformance' ? context.jobs : 1;
  await Promise.all(Array.from({ length: parallel }, worker));
}

function readOptions() {
  const text = { type: 'string' };
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    options: {
      out: { ...text, default: 'gpu-check' },
      minutes: { ...text, default: '10' },
      jobs: text,
      only: { ...text, default: '' },
      device: { ...text, default: 'cuda' },
      python: text,
      fresh: flag,
      help: flag,
    },
  });
  return values;
}

async function main() {
  const options = readOptions();
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  const override = process.env.NVIDIA_TF32_OVERRIDE;
  if (override && override !== '0') {
    throw new Failure(`NVIDIA_TF32_OVERRIDE=${override} makes NVIDIA's libraries round float32 to TF32: unset it`);
  }
  const started = Date.now();
  const out = resolve(options.out);
  if (options.fresh) rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });

  const card = examine(options.device);
  save(out, 'card', card);
  console.log(`${card.driver}\n${card.devices.find((each) => each.device === options.device).name}\n`);

  const binary = join(root, addon);
  const build = existsSync(binary) ? createHash('sha256').update(readFileSync(binary)).digest('hex') : 'none';
  const { device, minutes, python } = options;
  const jobs =
    options.jobs === undefined ? jobsFor(availableParallelism(), card.card.memory?.free) : Number(options.jobs);
  const context = { out, device, python, build, started, time: Number(minutes) * 60_000, jobs };
  const results = {};
  const record = (name, result, old) => {
    if (!old && result.step) save(out, name, result);
    save(out, 'summary', { card: card.driver, version: card.version, build, results });
    console.log(`${name}: ${describe(result)}${old ? ' (earlier)' : ''}`);
    for (const { title, message } of (result.failures ?? []).slice(0, 5))
      console.log(`    ${title}\n        ${message}`);
  };
  for (const phase of Object.keys(UNTIL)) {
    const steps = STEPS.filter((step) => step.phase === phase && step.name.includes(options.only));
    await runPhase(context, steps, results, record);
  }

  const statuses = Object.values(results).map((result) => result.status);
  const count = (status) => statuses.filter((each) => each === status).length;
  const kinds = [...new Set(statuses)].map((status) => `${count(status)} ${status}`);
  console.log(`\n${kinds.join(', ')} in ${((Date.now() - started) / 1000).toFixed(0)} s; results in ${out}`);
  if (count('failed') > 0) return 1;
  return count('not run') + count('out of time') > 0 ? 2 : 0;
}

if (isMain(import.meta.url)) await runMain(main);
