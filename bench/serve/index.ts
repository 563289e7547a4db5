// `npm run bench -- serve`: the program's server in a process of its own, loaded from this one.
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { headOf, machineOf } from '../report';
import { constrainedCases } from './constrained';
import type { Effort, Figure, ServeCase } from './figure';
import { figureTable } from './figureTable';
import { parkedCases } from './parked';
import { streamCases } from './streams';
import { turnCases } from './turns';

const FULL: Effort = { rounds: 3, seconds: 2, share: 1 };
const QUICK: Effort = { rounds: 1, seconds: 0.5, share: 0.05 };

const cases: readonly ServeCase[] = [...streamCases, ...turnCases, ...parkedCases, ...constrainedCases];

interface Options {
  filter: string;
  quick?: boolean;
  json?: string;
}

async function run({ filter, quick, json }: Options): Promise<void> {
  const wanted = cases.filter(({ name }) => name.includes(filter));
  if (wanted.length === 0) throw new Error(`no case has '${filter}' in its name`);
  const head = headOf('serve');
  const figures: Figure[] = [];
  for (const [i, each] of wanted.entries()) {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${i + 1}/${wanted.length} ${each.name}`);
    figures.push(...(await each.run(quick ? QUICK : FULL)));
    // After every case: what ends a run early leaves what there is.
    if (json !== undefined) writeFileSync(json, `${JSON.stringify({ ...head, figures }, null, 2)}\n`);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  console.log(`${machineOf(head)}\n\n${figureTable(figures)}`);
}

export function serveCommand(): Command {
  const list = cases.map(({ name, what }) => `  ${name}: ${what}\n`).join('');
  return new Command('serve')
    .description('a server under load')
    .option('--filter <text>', 'only cases with this text in their name', '')
    .option('--quick', 'one round of short windows and few sessions')
    .option('--json <file>', 'write every figure to a file')
    .addHelpText('after', `\nCases of serve:\n${list}`)
    .action(run);
}
