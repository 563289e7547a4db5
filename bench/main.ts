// `npm run bench -- <suite>`: measures, checks, prints a table; exit code 1 when a result is wrong.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { cpuSuite } from './cases';
import { type CaseResult, type Effort, findPeers, type Peer, runCase } from './harness';
import type { Case } from './problem';
import { comparison, makeReport, peerNotes, type Report, table } from './report';

const FULL: Effort = { rounds: 3, seconds: 0.25 };
const QUICK: Effort = { rounds: 1, seconds: 0.1 };

interface Options {
  filter?: string;
  threads: number[];
  quick?: boolean;
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

/** Runs the cases in order and returns the results and what failed. */
async function runAll(
  cases: readonly Case[],
  peers: readonly Peer[],
  options: Options,
): Promise<[CaseResult[], string[]]> {
  const jobs = cases.flatMap((each) => (each.serial ? [1] : options.threads).map((threads) => ({ each, threads })));
  const results: CaseResult[] = [];
  const failures: string[] = [];
  for (const [i, { each, threads }] of jobs.entries()) {
    const title = `${each.name}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${i + 1}/${jobs.length} ${title}`);
    try {
      results.push(await runCase(each, threads, peers, options.quick ? QUICK : FULL));
    } catch (error) {
      failures.push(`${title}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return [results, failures];
}

async function runSuite(name: string, suite: readonly Case[], options: Options): Promise<void> {
  const { filter, json, compare, python } = options;
  const cases = suite.filter((each) => !filter || each.name.includes(filter));
  if (cases.length === 0)
    throw new Error(`no case has '${filter}' in its name; the cases: ${suite.map((each) => each.name).join(' ')}`);
  const old = compare === undefined ? undefined : (JSON.parse(readFileSync(compare, 'utf8')) as Report);
  const peers = options.peers ? findPeers(python) : [];
  const [results, failures] = await runAll(cases, peers, options);
  const report = makeReport(name, results);
  const { processor, instructionSet, node } = report.machine;
  console.log(`${processor} (${instructionSet}), Node.js ${node}, commit ${report.commit}\n`);
  if (results.length > 0) console.log(table(results));
  const missing = peers.flatMap((peer) => peer.missing ?? []);
  const notes = [...peerNotes(results), ...missing];
  if (notes.length > 0) console.log(`\n${notes.join('\n')}`);
  if (old) console.log(`\n${comparison(old, report)}`);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  for (const failure of failures) console.error(`FAILED ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
}

function suiteCommand(name: string, description: string, suite: readonly Case[]): Command {
  const cores = availableParallelism();
  return new Command(name)
    .description(description)
    .option('--filter <text>', 'only cases with this text in their name')
    .addHelpText('after', `\nCases:\n${suite.map((each) => `  ${each.name}`).join('\n')}`)
    .option('--threads <list>', 'numbers of threads', parseThreads, cores > 1 ? [1, cores] : [1])
    .option('--quick', 'one short trial instead of three')
    .option('--no-peers', 'this library alone')
    .option('--python <path>', 'a Python with torch, and transformers for one of the peers')
    .option('--json <file>', 'write every figure to a file')
    .option('--compare <file>', 'show the changes since a file that --json wrote')
    .action((options: Options) => runSuite(name, suite, options));
}

const program = new Command('bench')
  .description('Measures the library beside its peers.')
  .addCommand(suiteCommand('cpu', 'kernels and training on the CPU', cpuSuite));

program.parseAsync().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
