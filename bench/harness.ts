// Runs a case: trials in processes of their own, the contenders taking turns, so that what disturbs the machine for a
// while disturbs all of them.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { ours } from './cases';
import type { Finding } from './contender';
import { javaScriptPeers } from './peers';
import { INSTALL, isInstalled } from './peers/packages';
import { cardPeers, missingModules, processorPeers, pythonCommand, type PythonPeer } from './peers/python';
import { type Case, isCard, type Problem, type Work, workOf } from './problem';
import { median, summarize, type Summary } from './statistics';
import type { Job, TrialResult } from './trial';

export interface Effort {
  /** Trials of every contender. */
  rounds: number;
  /** Measured seconds of a trial. */
  seconds: number;
}

/** A peer as this run can reach it. */
export interface Peer {
  name: string;
  supports(problem: Problem, threads: number): boolean;
  /** Whether it has a single trial of a problem; several by default. */
  once?(problem: Problem): boolean;
  /** Why it cannot run, with the remedy. */
  missing?: string;
  start(job: Job): Promise<TrialResult>;
}

export interface PeerResult extends Partial<Summary> {
  /** Its time over ours, the median over the rounds. */
  ratio?: number;
  memory?: number;
  version?: string;
  /** What stands in place of the ratio. */
  absent?: string;
}

export interface CaseResult extends Summary {
  name: string;
  shape: string;
  /** Of the processor, where it computes. */
  threads?: number;
  /** How a card stores and multiplies numbers. */
  numbers?: string;
  /** GFLOP/s, or GB/s where memory is the limit; null where nothing is computed but waited for. */
  rate: number | null;
  unit: 'GFLOP/s' | 'GB/s';
  /** The limit of the same unit, measured in the same processes on the same threads. */
  limit: number | null;
  /** rate / limit */
  share: number | null;
  tokensPerSecond?: number;
  instructionSet?: string;
  /** Bytes. */
  memory: number;
  /** The largest error over its tolerance. */
  worst: Finding;
  peers: Record<string, PeerResult>;
}

/** How the tensors of a problem are stored, and how their products multiply where that differs. */
function numbersOf(problem: Problem): string {
  const dtype = 'dtype' in problem ? problem.dtype : 'float32';
  return 'precision' in problem && problem.precision !== 'highest' ? `${dtype}, ${problem.precision}` : dtype;
}

/** Any trial that ended without a result. */
export class TrialError extends Error {}

/** A first torch.compile takes minutes. */
const TIMEOUT_MS = 900_000;

function startProcess(command: string, args: string[], env: NodeJS.ProcessEnv): Promise<TrialResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
    child.on('error', (error) => reject(new TrialError(error.message)));
    child.on('close', (code, signal) => {
      const line = stdout.trim().split('\n').at(-1) ?? '';
      if (code === 0 && line.startsWith('{')) return resolve(JSON.parse(line) as TrialResult);
      reject(new TrialError(`${signal ?? `exit code ${code}`}: ${stderr.trim().split('\n').slice(-12).join('\n')}`));
    });
  });
}

function startNode(job: Job): Promise<TrialResult> {
  const script = path.resolve(__dirname, 'trial.ts');
  // The library is there before the loader of TypeScript, which would slow down what it loads.
  const preload = ['--require', path.resolve(__dirname, '../dist/index.js')];
  return startProcess(process.execPath, [...preload, '--import=tsx', script, JSON.stringify(job)], process.env);
}

function startPython(python: string, { contender, environment }: PythonPeer, job: Job): Promise<TrialResult> {
  return startProcess(...pythonCommand(python, JSON.stringify({ ...job, contender })), environment(job.threads));
}

/** Every peer on the processor, those that are not installed with the reason. */
export function findPeers(python: string | undefined): Peer[] {
  const inJavaScript = javaScriptPeers.map(({ name, packages, supports, install = INSTALL }): Peer => {
    const missing = packages.every(isInstalled) ? undefined : `${name}: not installed; ${install}`;
    return { name, supports, missing, start: startNode };
  });
  if (!python) return inJavaScript;
  const inPython = processorPeers().map((peer): Peer => ({
    name: peer.name,
    supports: peer.supports,
    once: peer.once,
    start: (job) => startPython(python, peer, job),
  }));
  return [...inJavaScript, ...inPython];
}

/** Every peer on the card, those that cannot run with the reason. */
export function findCardPeers(python: string | undefined): Peer[] {
  if (!python) return [];
  const missing = missingModules(python);
  return cardPeers.map((peer): Peer => ({
    name: peer.name,
    supports: peer.supports,
    once: peer.once,
    missing: peer.modules.flatMap((module) => missing[module] ?? []).map((reason) => `${peer.name}: ${reason}`)[0],
    start: (job) => startPython(python, peer, job),
  }));
}

/** Findings beyond their tolerance. */
function wrong(findings: readonly Finding[] = []): string {
  const bad = findings.filter(({ error, tolerance }) => !(error <= tolerance));
  return bad.map(({ quantity, error, tolerance }) => `${quantity} ${error.toExponential(1)} > ${tolerance}`).join(', ');
}

/** The trials of one peer; what goes wrong with it takes it out of the case and never ends the run. */
class Turns {
  readonly results: TrialResult[] = [];
  failure?: string;

  constructor(readonly peer: Peer) {
    if (peer.missing) this.failure = 'missing';
  }

  async take(job: Job): Promise<void> {
    if (this.failure) return;
    try {
      const result = await this.peer.start({ ...job, contender: this.peer.name });
      if (wrong(result.findings)) this.failure = `wrong: ${wrong(result.findings)}`;
      this.results.push(result);
    } catch (error) {
      this.failure = `failed: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  summary(own: readonly TrialResult[]): PeerResult {
    if (this.failure) return { absent: this.failure };
    const ratio = median(this.results.map(({ samples }, i) => median(samples) / median(own[i].samples)));
    const { memory, version } = this.results[0];
    return { ratio, ...summarize(this.results.flatMap(({ samples }) => samples)), memory, version };
  }
}

/** Runs a case; a TrialError when there is no result or a wrong one. */
export async function runCase(
  given: Case,
  threads: number,
  peers: readonly Peer[],
  effort: Effort,
): Promise<CaseResult> {
  const { name, shape, problem } = given;
  const own: TrialResult[] = [];
  const turns = peers.filter((peer) => peer.supports(problem, threads)).map((peer) => new Turns(peer));
  for (let round = 0; round < (given.once ? 1 : effort.rounds); round++) {
    const job: Job = { contender: ours.name, problem, threads, seconds: effort.seconds, check: round === 0 };
    own.push(await startNode(job));
    const mistake = wrong(own[0].findings);
    if (mistake) throw new TrialError(`wrong result: ${mistake}`);
    for (const turn of turns) if (round === 0 || !turn.peer.once?.(problem)) await turn.take(job);
  }
  const summary = summarize(own.flatMap(({ samples }) => samples));
  const { flops, bytes, reads, tokens }: Partial<Work> = workOf(problem) ?? {};
  const moved = bytes ?? reads;
  const work = moved ?? flops;
  const rate = work === undefined ? null : work / summary.median / 1e6;
  const limits = own.flatMap(({ limits }) =>
    limits ? [bytes ? limits.copyBandwidth : reads ? limits.readBandwidth : limits.flops] : [],
  );
  const limit = rate !== null && limits.length > 0 ? median(limits) / 1e9 : null;
  const findings = [...own[0].findings!].sort((a, b) => b.error / b.tolerance - a.error / a.tolerance);
  return {
    name,
    shape,
    ...('device' in problem && isCard(problem.device) ? { numbers: numbersOf(problem) } : { threads }),
    ...summary,
    rate,
    unit: moved === undefined ? 'GFLOP/s' : 'GB/s',
    limit,
    share: rate === null || limit === null ? null : rate / limit,
    tokensPerSecond: tokens && (1000 * tokens) / summary.median,
    instructionSet: own[0].limits?.instructionSet,
    memory: Math.max(...own.map((trial) => trial.memory)),
    worst: findings[0],
    peers: Object.fromEntries(turns.map((turn) => [turn.peer.name, turn.summary(own)])),
  };
}
