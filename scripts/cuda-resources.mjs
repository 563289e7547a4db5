// Compares what every kernel takes on every architecture with native/cuda/resources.json, and fails when registers,
// spills, stacks, shared memory or the number of kernels grow. What it reads are the reports of ptxas that the build keeps,
// and, for the shared memory that a launch asks for, the kernel's name, which holds the most that a launch may.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildCuda, isCurrent } from './build-cuda.mjs';
import { Failure, isMain, Missing, MISSING, root, runMain } from './support.mjs';

const HELP = `Usage: npm run check:resources -- [options]

Builds the CUDA addon where that is out of date and compares registers, spilled bytes, stack and shared memory of each
kernel with native/cuda/resources.json. Exit code 1 when they grew or there are more kernels, ${MISSING} when nothing could be built.

  --update   write the table anew
  --built    never build; exit code ${MISSING} when the addon is out of date
  --help`;

const TABLE = join('native', 'cuda', 'resources.json');
export const LOGS = join('build-cuda', 'CMakeFiles', 'fast_weights_cuda.dir', 'native', 'cuda');
/** What a row has one number of per architecture, and what it has one number of. */
const PER_ARCHITECTURE = ['registers', 'spills', 'stack'];
const PER_KERNEL = ['threads', 'shared'];

/** The parts of ptxas's report: an entry function and an architecture, and what follows until the next. */
const ENTRY = /Compiling entry function '(\w+)' for 'sm_(\w+)'\n([^]*?)(?=Compiling entry|$)/g;

function number(text, pattern) {
  return Number(pattern.exec(text)?.[1] ?? 0);
}

/** One object per kernel and architecture, and the seconds of the compiler. */
export function parseLog(file, text) {
  const reports = [...text.matchAll(ENTRY)].map(([, symbol, architecture, report]) => ({
    file,
    symbol,
    architecture,
    registers: number(report, /Used (\d+) registers/),
    spills: number(report, /(\d+) bytes spill stores/) + number(report, /(\d+) bytes spill loads/),
    // Arrays that a thread indexes, beside what spills.
    stack: number(report, /(\d+) bytes stack frame/),
    static: number(report, /(\d+) bytes smem/),
  }));
  return { reports, seconds: number(text, /^([\d.]+) seconds/) };
}

function readLogs() {
  const sources = readdirSync(join(root, 'native', 'cuda'), { recursive: true }).filter((name) => name.endsWith('.cu'));
  const logs = sources.sort().map((name) => parseLog(name, readFileSync(join(root, LOGS, `${name}.o.log`), 'utf8')));
  return { reports: logs.flatMap((log) => log.reports), seconds: logs.reduce((sum, log) => sum + log.seconds, 0) };
}

/** What the symbols of fw::cuda::entry<kernel, threads, most shared bytes> say. */
export function demangle(symbols) {
  const { status, stdout } = spawnSync('c++filt', ['-p'], { input: symbols.join('\n'), encoding: 'utf8' });
  if (status !== 0) throw new Missing('no c++filt found (binutils)');
  return stdout.trimEnd().split('\n').map(parseName);
}

/** A kernel's type without our namespaces and the types of enumerators. */
export function shortName(type) {
  return type.replaceAll(/fw::cuda::|\(anonymous namespace\)::|\([\w:]+\)(?=\d)/g, '');
}

function parseName(name) {
  const [, kernel, threads, shared] = /^fw::cuda::entry<(.*), (\d+), (\d+)ul>$/.exec(name) ?? [];
  if (!kernel) throw new Failure(`${name} is not started by launch<Kernel>`);
  return {
    kernel: shortName(kernel),
    threads: Number(threads),
    shared: Number(shared),
  };
}

/** The table of these reports; a row's lists follow `architectures`. */
export function tabulate(reports) {
  const architectures = [...new Set(reports.map((report) => report.architecture))];
  architectures.sort((a, b) => parseInt(a) - parseInt(b));
  const names = demangle(reports.map((report) => report.symbol));
  const kernels = {};
  reports.forEach((report, i) => {
    const { kernel, threads, shared } = names[i];
    const row = (kernels[`${report.file} ${kernel}`] ??= { threads, shared: shared + report.static });
    for (const what of PER_ARCHITECTURE) {
      row[what] ??= architectures.map(() => 0);
      row[what][architectures.indexOf(report.architecture)] = report[what];
    }
  });
  return { architectures, kernels };
}

/** The version of the compiler that CMake found. */
export function compilerVersion() {
  const settings = join(root, 'build-cuda', 'CMakeFiles');
  const [file] = readdirSync(settings, { recursive: true }).filter((name) => name.endsWith('CMakeCUDACompiler.cmake'));
  const text = readFileSync(join(settings, file), 'utf8');
  return /CMAKE_CUDA_COMPILER_VERSION "([\d.]+)"/.exec(text)[1];
}

/** A line per kernel, so that a change reads well. */
function format({ compiler, architectures, kernels }) {
  const names = Object.keys(kernels).sort();
  const lines = names.map((name) => {
    const fields = Object.entries(kernels[name]).map(([key, value]) => `"${key}": ${JSON.stringify(value)}`);
    return `    ${JSON.stringify(name)}: { ${fields.join(', ')} }`;
  });
  const head = Object.entries({ compiler, architectures, count: names.length });
  const settings = head.map(([key, value]) => `  "${key}": ${JSON.stringify(value)},\n`);
  return `{\n${settings.join('')}  "kernels": {\n${lines.join(',\n')}\n  }\n}\n`;
}

/** What a row says, by a readable key. */
function numbers(row, architectures) {
  const each = PER_ARCHITECTURE.flatMap((what) =>
    architectures.map((name, i) => [`${what} sm_${name}`, row[what]?.[i]]),
  );
  return new Map([...PER_KERNEL.map((what) => [what, row[what]]), ...each]);
}

/** What changed, a line each; `grown` is what makes the check fail. */
export function compare(before, after) {
  const grown = [];
  const other = [];
  for (const [name, row] of Object.entries(after.kernels)) {
    const known = before.kernels[name] && numbers(before.kernels[name], before.architectures);
    if (!known) grown.push(`new      ${name}: ${JSON.stringify(row)}`);
    for (const [key, value] of known ? numbers(row, after.architectures) : []) {
      const line = `${name}: ${key} ${known.get(key)} -> ${value}`;
      if (value > known.get(key)) grown.push(`grown    ${line}`);
      if (value < known.get(key)) other.push(`less     ${line}`);
    }
  }
  for (const name of Object.keys(before.kernels)) if (!after.kernels[name]) other.push(`gone     ${name}`);
  return { grown, other };
}

function summary({ architectures, kernels }, seconds) {
  const rows = Object.values(kernels);
  const most = Math.max(0, ...rows.flatMap((row) => row.registers));
  const spilling = rows.filter((row) => row.spills.some((bytes) => bytes > 0)).length;
  const where = architectures.map((name) => `sm_${name}`).join(' ');
  return `${rows.length} kernels for ${where}: up to ${most} registers, ${spilling} spill; nvcc took ${seconds.toFixed(0)} s in all`;
}

function main() {
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({ options: { update: flag, built: flag, help: flag } });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (!values.built) buildCuda();
  else if (!isCurrent()) throw new Missing('the CUDA addon is out of date: npm run build:cuda');
  const { reports, seconds } = readLogs();
  const table = { compiler: `nvcc ${compilerVersion()}`, ...tabulate(reports) };
  const path = join(root, TABLE);
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { ...table, kernels: {} };
  if (before.compiler !== table.compiler && !values.update) {
    throw new Missing(`${TABLE} is for ${before.compiler}, the addon was built by ${table.compiler}`);
  }
  const { grown, other } = compare(before, table);
  console.log([...grown, ...other, summary(table, seconds)].join('\n'));
  if (values.update) {
    writeFileSync(path, format(table));
    return 0;
  }
  if (grown.length > 0) console.log(`${TABLE} allows less; npm run check:resources -- --update writes it anew`);
  return grown.length > 0 ? 1 : 0;
}

if (isMain(import.meta.url)) await runMain(main);
