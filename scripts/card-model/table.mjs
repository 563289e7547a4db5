// native/cuda/predictions.json: a row for each case and kernel, and what makes one worse than another.
import { instructionsPerTensor, widthsOf } from './counts.mjs';
import { launchSeconds } from './prediction.mjs';

/** Numbers of a row by whether less of them is better; the others are told and not judged. */
const LESS = [
  ...[
    'registers',
    'stack',
    'spills',
    'generic',
    'launches',
    'instructions',
    'perTensor',
    'divisions',
    'local',
    'bytes',
  ],
  ...['issue', 'tensor', 'shared', 'memory', 'chain', 'time'],
];
const MORE = ['atOnce', 'width'];
/** What is a difference: numbers are written with four digits. */
const SAME = 0.002;

const digits = (x) => (x === undefined ? null : Number(x.toPrecision(4)));

function sum(launches, f) {
  return launches.reduce((all, launch) => all + f(launch), 0);
}

const TIMES = ['issue', 'tensor', 'shared', 'memory', 'chain'];

/** The row of a kernel of a case: `launches` with counts and predictions, as estimate.mjs has them. */
export function rowOf({ kernel, launches }, tokens) {
  const largest = launches.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  const { counts, launch } = largest;
  const perToken = (f) => digits(sum(launches, (each) => each.launch.blocks * f(each.counts)) / tokens);
  const loads = Object.entries(widthsOf(counts));
  const times = TIMES.map((name) => [name, digits(sum(launches, (each) => each.times[name] * 1e6))]);
  return {
    launches: launches.length,
    blocks: launch.blocks,
    atOnce: launch.blocksAtOnce,
    registers: kernel.registers,
    stack: kernel.stack,
    spills: kernel.spills,
    // Of a warp, by token of the case.
    instructions: perToken((each) => each.instructions),
    perTensor: digits(instructionsPerTensor(counts)),
    divisions: perToken((each) => each.divisions),
    generic: perToken((each) => each.generic),
    local: perToken((each) => each.localBytes),
    // Bytes that a thread loads at a time, and loads of a warp under way on the average and at most.
    width: digits(loads.reduce((mean, [bytes, share]) => mean + bytes * share, 0)),
    inFlight: digits(counts.inFlight),
    mostInFlight: counts.mostInFlight === undefined ? null : Math.round(counts.mostInFlight),
    bytes: digits(sum(launches, (each) => each.bytes) / tokens),
    // Microseconds of all launches.
    ...Object.fromEntries(times),
    time: digits(sum(launches, (each) => each.seconds * 1e6)),
    bound: largest.bound,
    assumed: perToken((each) => each.unknownBranches),
  };
}

/** A case of the table from its kernels. */
export function caseOf(task, kernels) {
  const { tokens, useful } = task;
  const launches = kernels.flatMap((each) => each.launches);
  const tensor = sum(launches, ({ counts, launch }) => launch.blocks * counts.tensorOperations);
  return {
    tokens,
    tensorPerUseful: digits(tensor / useful),
    launches: launches.length,
    microseconds: digits(sum(launches, ({ seconds }) => (seconds + launchSeconds) * 1e6)),
    kernels: Object.fromEntries(kernels.map((each) => [each.kernel.name, rowOf(each, tokens)])),
  };
}

/** A line per kernel, so that a change reads well. */
export function format({ cases, ...head }) {
  const settings = Object.entries(head).map(([key, value]) => `  "${key}": ${JSON.stringify(value)},\n`);
  const blocks = Object.entries(cases).map(([name, { kernels, ...numbers }]) => {
    const lines = Object.entries(kernels).map(([kernel, row]) => `        ${JSON.stringify(kernel)}: ${line(row)}`);
    const first = Object.entries(numbers).map(([key, value]) => `"${key}": ${JSON.stringify(value)}, `);
    return `    ${JSON.stringify(name)}: {\n      ${first.join('')}"kernels": {\n${lines.join(',\n')}\n      }\n    }`;
  });
  return `{\n${settings.join('')}  "cases": {\n${blocks.join(',\n')}\n  }\n}\n`;
}

function line(row) {
  return `{ ${Object.entries(row)
    .map(([key, value]) => `"${key}": ${JSON.stringify(value)}`)
    .join(', ')} }`;
}

const grew = (before, after) => after > before + Math.abs(before) * SAME;

/** What changed from one table to another, a line each: `worse` is what fails. */
export function compare(before, after) {
  const [worse, better] = [[], []];
  const judge = (name, key, was, is, less) => {
    if (was == null && is == null) return;
    const text = `${name}: ${key} ${was ?? 'none'} -> ${is ?? 'none'}`;
    const [up, down] = [grew(was ?? 0, is ?? 0), grew(is ?? 0, was ?? 0)];
    if (less ? up : down) worse.push(`worse    ${text}`);
    else if (less ? down : up) better.push(`better   ${text}`);
  };
  for (const [name, task] of Object.entries(after.cases)) {
    const old = before.cases[name];
    if (!old) {
      worse.push(`new      ${name}`);
      continue;
    }
    for (const key of ['tensorPerUseful', 'launches', 'microseconds']) judge(name, key, old[key], task[key], true);
    for (const [kernel, row] of Object.entries(task.kernels)) {
      const known = old.kernels[kernel];
      if (!known) worse.push(`new      ${name}, ${kernel}`);
      else {
        for (const key of LESS) judge(`${name}, ${kernel}`, key, known[key], row[key], true);
        for (const key of MORE) judge(`${name}, ${kernel}`, key, known[key], row[key], false);
      }
    }
    for (const kernel of Object.keys(old.kernels))
      if (!task.kernels[kernel]) better.push(`gone     ${name}, ${kernel}`);
  }
  return { worse, better };
}
