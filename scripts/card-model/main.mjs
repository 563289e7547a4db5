// Predicts what the kernels of a card take, from their machine code, and holds it against native/cuda/predictions.json.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isNewest } from '../build-cuda.mjs';
import { compilerVersion } from '../cuda-resources.mjs';
import { Failure, isMain, Missing, MISSING, root, runMain } from '../support.mjs';
import { CASES } from './cases.mjs';
import { hotLoopsOf } from './counts.mjs';
import { estimate, recordingsOf } from './estimate.mjs';
import { ARCHITECTURE } from './machineCode.mjs';
import { markdown } from './page.mjs';
import { caseOf, compare, format } from './table.mjs';

const HELP = `Usage: npm run check:predictions -- [options]

Predicts the time of kernels on an H200 from the machine code of the built CUDA addon and from what the library launches on the
emulated card, and compares with native/cuda/predictions.json (docs/card-model.md). Exit code 1 when something got worse or is
new, ${MISSING} when the addon or the emulated card is not built.

  --case <text>   only cases whose names contain the text
  --table <path>  compare with another table
  --loops         hot loops of the kernels, by source line after npm run build:cuda -- --line-info
  --update        write the table anew, of the cases asked for, and the one in docs/card-model.md
  --help`;

const TABLE = join('native', 'cuda', 'predictions.json');
const PAGE = join('docs', 'card-model.md');

function show(name, { microseconds, kernels }) {
  console.log(`${name}: ${(microseconds / 1000).toFixed(3)} ms`);
  for (const [kernel, { time, bound, launches }] of Object.entries(kernels)) {
    if (time >= 0.01 * microseconds) console.log(`  ${(time / 1000).toFixed(3)} ms, ${bound}: ${launches} x ${kernel}`);
  }
}

/** The hot loops of the kernels that take longest; with lines of the source where the addon was built with them. */
function showLoops(kernels) {
  for (const { kernel, launches } of kernels) {
    const { counts } = launches.reduce((a, b) => (b.seconds > a.seconds ? b : a));
    for (const { begin, share, perTensor } of hotLoopsOf(counts)) {
      const { lines } = kernel.code[kernel.at.get(parseInt(begin, 16))];
      const place = lines.map(({ file, line }) => `${file.split('/').at(-1)}:${line}`).join(' < ');
      const work = perTensor ? `, ${perTensor.toFixed(1)} for each of tensor cores` : '';
      console.log(`    ${kernel.name} loop at ${begin} ${place}: ${(100 * share).toFixed(0)} % of instructions${work}`);
    }
  }
}

function update(before, table) {
  const known = new Set(CASES.map(({ name }) => name));
  const cases = { ...before.cases, ...table.cases };
  const kept = CASES.filter(({ name }) => name in cases && known.has(name)).map(({ name }) => [name, cases[name]]);
  const whole = { ...table, cases: Object.fromEntries(kept) };
  writeFileSync(join(root, TABLE), format(whole));
  const page = readFileSync(join(root, PAGE), 'utf8');
  writeFileSync(join(root, PAGE), markdown(page, whole));
}

function main() {
  const flag = { type: 'boolean', default: false };
  const { values } = parseArgs({
    options: { case: { type: 'string' }, table: { type: 'string' }, loops: flag, update: flag, help: flag },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (!isNewest()) throw new Missing('the CUDA addon is out of date: npm run build:cuda');
  const compiler = `nvcc ${compilerVersion()}`;
  const path = values.table ?? join(root, TABLE);
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { compiler, cases: {} };
  if (before.compiler !== compiler && !values.update) {
    throw new Missing(`${TABLE} is for ${before.compiler}, the addon was built by ${compiler}`);
  }
  const tasks = CASES.filter(({ name }) => name.includes(values.case ?? ''));
  if (tasks.length === 0)
    throw new Failure(`no case is called ${values.case}: ${CASES.map(({ name }) => name).join(', ')}`);
  const table = { compiler, architecture: ARCHITECTURE, cases: {} };
  // All are recorded first: the garbage of tensors is collected often, and cheaply while no listing is in memory.
  const recordings = tasks.map(recordingsOf);
  for (const [i, task] of tasks.entries()) {
    const kernels = estimate(task, recordings[i]);
    table.cases[task.name] = caseOf(task, kernels);
    show(task.name, table.cases[task.name]);
    if (values.loops) showLoops(kernels);
  }
  const { worse, better } = compare(before, table);
  console.log([...worse, ...better].join('\n'));
  if (values.update) {
    update(before, table);
    return 0;
  }
  if (worse.length > 0) console.log(`${TABLE} says otherwise; npm run check:predictions -- --update writes it anew`);
  return worse.length > 0 ? 1 : 0;
}

if (isMain(import.meta.url)) await runMain(main);
