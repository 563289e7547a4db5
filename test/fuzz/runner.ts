// Runs programs in a process of their own, and goes on after one that ended it.
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Counts, Message, Task } from './worker';

/** What programs run as, by their kind: random programs, or model folders that were mutated. */
const WORKERS = { programs: 'worker.ts', folders: 'folders/worker.ts' } as const;

export interface RunOptions extends Omit<Task, 'first' | 'end'> {
  what?: keyof typeof WORKERS;
  first?: number;
  programs: number;
  /** Stops when they have passed. */
  seconds?: number;
  signal?: AbortSignal;
  onProgress?(number: number): void;
  onFault?(fault: FoundFault): void;
}

export interface FoundFault {
  number: number;
  message: string;
  /** The smallest program that shows it; unknown when the process ended. */
  listing?: string;
}

export interface Summary {
  /** Programs run. */
  programs: number;
  faults: FoundFault[];
  kinds: Counts;
}

/** More faults than anyone reads. */
const ENOUGH = 100;
/** A program that takes longer hangs. */
const HANGS = 60_000;
/** Lines that are kept of what the process said when it ended. */
const LINES = 40;

export async function runPrograms(options: RunOptions): Promise<Summary> {
  const { first = 0, programs, seconds, signal, ...task } = options;
  const summary: Summary = { programs: 0, faults: [], kinds: {} };
  const stop = new AbortController();
  const timer = seconds === undefined ? undefined : setTimeout(() => stop.abort(), 1000 * seconds);
  signal?.addEventListener('abort', () => stop.abort());
  for (let next = first; next < first + programs && !stop.signal.aborted;) {
    const { seed, device, only, without, verbose } = task;
    const part: Task = { seed, device, only, without, verbose, first: next, end: first + programs };
    const last = await runPart(part, options, summary, stop);
    summary.programs += last + 1 - next;
    next = last + 1;
  }
  clearTimeout(timer);
  return summary;
}

/** Runs until the end, a crash or a stop; the number of the last program that ran. */
async function runPart(task: Task, options: RunOptions, summary: Summary, stop: AbortController): Promise<number> {
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--import=tsx', path.join(__dirname, WORKERS[options.what ?? 'programs']), JSON.stringify(task)],
    { stdio: ['ignore', task.verbose ? 'inherit' : 'ignore', 'pipe', 'pipe'] },
  );
  let last = task.first - 1;
  let finished = false;
  let hung = false;
  const found = (fault: FoundFault): void => {
    options.onFault?.(fault);
    if (summary.faults.push(fault) === ENOUGH) stop.abort();
  };
  const end = (): void => void child.kill('SIGKILL');
  const onHang = (): void => {
    hung = true;
    end();
  };
  let watch = setTimeout(onHang, HANGS);
  const errors: string[] = [];
  createInterface(child.stderr!).on('line', (line) => errors.length < LINES && errors.push(line));
  createInterface(child.stdio[3] as Readable).on('line', (line) => {
    const message = JSON.parse(line) as Message;
    clearTimeout(watch);
    watch = setTimeout(onHang, HANGS);
    if ('at' in message) {
      last = message.at;
      options.onProgress?.(last);
    } else if ('fault' in message) found({ number: message.fault, message: message.message, listing: message.listing });
    else {
      finished = true;
      for (const [kind, counts] of Object.entries(message.kinds)) {
        const total = (summary.kinds[kind] ??= { run: 0, refused: 0 });
        total.run += counts.run;
        total.refused += counts.refused;
      }
    }
  });
  stop.signal.addEventListener('abort', end);
  const how = await closed(child);
  stop.signal.removeEventListener('abort', end);
  clearTimeout(watch);
  if (!finished && !stop.signal.aborted) {
    const what = hung ? `took longer than ${HANGS / 1000} s` : `ended the process (${how})`;
    found({ number: Math.max(last, task.first), message: [what, ...errors].join('\n') });
    return Math.max(last, task.first);
  }
  return last;
}

function closed(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
}
