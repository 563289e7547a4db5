// One trial, in a process of its own: reads a job as JSON, warms up, measures, checks, prints the result as JSON.
import { ours } from './cases';
import type { Finding } from './contender';
import { fw } from './library';
import { type Limits, shortestSample, withLimits } from './limits';
import { javaScriptPeers } from './peers';
import { isCard, type Problem } from './problem';
import { measure } from './timing';

export interface Job {
  contender: string;
  problem: Problem;
  threads: number;
  /** For the measured calls, warm-up not counted. */
  seconds: number;
  /** Whether the result is compared with the reference. */
  check: boolean;
}

export interface TrialResult {
  /** Milliseconds per call. */
  samples: number[];
  /** The most that was in use before the check, in bytes. */
  memory: number;
  /** Absent for peers. */
  limits?: Limits;
  findings?: Finding[];
  /** What a peer says of itself. */
  version?: string;
}

/** The most memory in use so far: of a card what tensors took there, else all of the process. */
function peakMemory(problem: Problem): number {
  if (!('device' in problem && isCard(problem.device))) return process.resourceUsage().maxRSS * 1024;
  return fw.memory().devices.find(({ device }) => device === problem.device)!.peakBytes;
}

async function runJob({ contender: name, problem, threads, seconds, check }: Job): Promise<TrialResult> {
  const contender = [ours, ...javaScriptPeers].find((known) => known.name === name);
  if (!contender) throw new Error(`no contender is called ${name}`);
  const prepared = await contender.prepare(problem, threads);
  const shortest = shortestSample('device' in problem ? problem.device : 'cpu');
  const work = async (): Promise<TrialResult> => {
    const samples = await measure(prepared, seconds, shortest);
    return { samples, memory: peakMemory(problem) };
  };
  const [result, limits] = contender === ours ? await withLimits(problem, work) : [await work(), undefined];
  if (limits) result.limits = limits;
  if (check) result.findings = await prepared.check();
  return result;
}

runJob(JSON.parse(process.argv[2]) as Job).then(
  (result) => process.stdout.write(`${JSON.stringify(result)}\n`),
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  },
);
