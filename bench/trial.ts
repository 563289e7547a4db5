// One trial, in a process of its own: reads a job as JSON, warms up, measures, checks, prints the result as JSON.
import { ours } from './cases';
import type { Finding, Prepared } from './contender';
import { machineLimits, type MachineLimits } from './library';
import { javaScriptPeers } from './peers';
import { type Problem, workOf } from './problem';

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
  /** The most that the process has held before the check, in bytes. */
  memory: number;
  /** Absent for peers. */
  limits?: MachineLimits;
  findings?: Finding[];
  /** What a peer says of itself. */
  version?: string;
}

/** Until then V8 has compiled what runs often, threads have found their cores, and clocks have settled. */
const WARM_CALLS = 3;
const WARM_MS = 200;
/** A sample of many short calls is at least this long, so that the clock's own cost does not show. */
const MIN_SAMPLE_MS = 2;

/** Milliseconds of `calls` calls. */
async function timed({ setup, run }: Prepared, calls: number): Promise<number> {
  await setup?.();
  const begin = performance.now();
  await run(calls);
  return performance.now() - begin;
}

/** Warms up and finds how many calls a sample takes. */
async function warmUp(prepared: Prepared, seconds: number): Promise<number> {
  const begin = performance.now();
  for (let calls = 1, i = 1; ; i++) {
    const long = (await timed(prepared, calls)) >= MIN_SAMPLE_MS || prepared.setup !== undefined;
    if (!long) calls *= 2;
    const spent = performance.now() - begin;
    if (long && ((i >= WARM_CALLS && spent > WARM_MS) || spent > 1000 * seconds)) return calls;
  }
}

async function measure(prepared: Prepared, seconds: number): Promise<number[]> {
  const calls = await warmUp(prepared, seconds);
  const sample = prepared.sample ?? (async () => (await timed(prepared, calls)) / calls);
  const samples: number[] = [];
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end || samples.length === 0) samples.push(await sample());
  return samples;
}

/** The better of two measurements. */
function best(a: MachineLimits, b: MachineLimits): MachineLimits {
  const { instructionSet } = a;
  return {
    instructionSet,
    flops: Math.max(a.flops, b.flops),
    copyBandwidth: Math.max(a.copyBandwidth, b.copyBandwidth),
  };
}

async function runJob({ contender: name, problem, threads, seconds, check }: Job): Promise<TrialResult> {
  const contender = [ours, ...javaScriptPeers].find((known) => known.name === name);
  if (!contender) throw new Error(`no contender is called ${name}`);
  const prepared = await contender.prepare(problem, threads);
  const measured = contender === ours;
  // Before and after, on the same threads, because a processor changes its clock; the copy needs memory of its own.
  const before = measured ? machineLimits() : null;
  const samples = await measure(prepared, seconds);
  const memory = process.resourceUsage().maxRSS * 1024;
  const after = measured ? machineLimits((workOf(problem)?.bytes ?? 0) / 2) : null;
  const result: TrialResult = { samples, memory };
  if (before && after) result.limits = best(before, after);
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
