// `npm run bench -- <suite>`: measures, checks, prints a table; exit code 1 when a result is wrong, 2 when time ran out.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { type CaseResult, type Effort, runCase } from './harness';
import type { Case } from './problem';
import { serveCommand } from './serve';
import { comparison, machineOf, makeReport, peerNotes, type Report, table } from './report';
import { type Suite, suites } from './suite';

const FULL: Effort = { rounds: 3, seconds: 0.25 };
const QUICK: Effort = { rounds: 1, seconds: 0.1 };

interface Options {
  filter?: string;
  threads: number[];
  quick?: boolean;
  minutes?: number;
  peers: boolean;
  python?: string;
  json?: string;
  compare?: string;
}

function parseThreads(text: string): number[] {
  const counts = text.split(',').map(Number);
  if (counts.some((n) => !Number.isInteger(n) || n < 1)) throw new InvalidArgumentError('expected numbers such as 1,2');
  return counts;
}

function parseMinutes(text: string): number {
  if (!(Number(text) >= 0)) throw new InvalidArgumentError('expected a number such as 5');
  return Number(text);
}

interface Run {
  each: Case;
  title: string;
  threads: number;
}

/** Every case on every number of threads. */
function runsOf(cases: readonly Case[], suite: Suite, threads: readonly number[]): Run[] {
  if (!suite.threads) return cases.map((each) => ({ each, title: each.name, threads: availableParallelism() }));
  return cases.flatMap((each) =>
    (each.serial ? [1] : threads).map((n) => ({
      each,
      title: `${each.name}, ${n} ${n === 1 ? 'thread' : 'threads'}`,
      threads: n,
    })),
  );
}

async function runSuite(suite: Suite, options: Options): Promise<void> {
  const started = Date.now();
  const { filter = '', json, compare, python, minutes = Infinity } = options;
  const wanted = ({ name }: Case): boolean => name.includes(filter);
  if (!suite.cases.some(wanted))
    throw new Error(`no case has '${filter}' in its name; the cases: ${suite.cases.map((c) => c.name).join(' ')}`);
  const old = compare === undefined ? undefined : (JSON.parse(readFileSync(compare, 'utf8')) as Report);
  const { cases, card, notes } = suite.select(wanted);
  if (cases.length === 0) throw new Error(notes.join('\n'));
  const peers = options.peers ? suite.peers(python) : [];
  const results: CaseResult[] = [];
  const failures: string[] = [];
  const report = (): Report => makeReport(suite.name, results, { card, notes });
  // After every case: what ends a run early leaves what there is.
  const save = (): void => {
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(report(), null, 2)}\n`);
  };
  save();

  const runs = runsOf(cases, suite, options.threads);
  const late: string[] = [];
  for (const [i, { each, title, threads }] of runs.entries()) {
    if (Date.now() - started > minutes * 60_000) {
      late.push(title);
      continue;
    }
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${i + 1}/${runs.length} ${title}`);
    try {
      results.push(await runCase(each, threads, peers, options.quick ? QUICK : FULL));
    } catch (error) {
      failures.push(`${title}: ${error instanceof Error ? error.message : String(error)}`);
    }
    save();
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');

  console.log(`${machineOf(report())}\n`);
  if (results.length > 0) console.log(table(results));
  const missing = peers.flatMap((peer) => peer.missing ?? []);
  const unmeasured = late.length > 0 ? [`no time was left for ${late.length} cases, ${late[0]} the first`] : [];
  const remarks = [...notes, ...peerNotes(results), ...missing, ...unmeasured];
  if (remarks.length > 0) console.log(`\n${remarks.join('\n')}`);
  if (old) console.log(`\n${comparison(old, report())}`);
  for (const failure of failures) console.error(`FAILED ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
  else if (late.length > 0) process.exitCode = 2;
}

const caseList = ({ name, cases }: Suite): string =>
  `\nCases of ${name}:\n${cases.map((each) => `  ${each.name}`).join('\n')}`;

function suiteCommand(suite: Suite): Command {
  const command = new Command(suite.name)
    .description(suite.description)
    .option('--filter <text>', 'only cases with this text in their name')
    .addHelpText('after', caseList(suite))
    .option('--quick', 'one short trial instead of three')
    .option('--minutes <n>', 'start no case after this time', parseMinutes)
    .option('--no-peers', 'this library alone')
    .option('--python <path>', 'a Python with the peers that are written in it')
    .option('--json <file>', 'write every figure to a file')
    .option('--compare <file>', 'show the changes since a file that --json wrote')
    .action((options: Options) => runSuite(suite, options));
  return suite.threads
    ? command.option('--threads <list>', 'numbers of threads', parseThreads, suite.threads)
    : command;
}

const program = new Command('bench')
  .description('Measures the library beside its peers.')
  .addHelpText('after', suites.map(caseList).join('\n'));
for (const suite of suites) program.addCommand(suiteCommand(suite));
program.addCommand(serveCommand());

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
