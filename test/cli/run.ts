// The command line as a child process on the js device.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { LOADER, PROGRAM } from '../support/library';

export interface Finished {
  /** As shells say it: 128 and the number of the signal that ended it. */
  code: number;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

export function start(args: readonly string[]): { child: ChildProcess; finished: Promise<Finished> } {
  const env = { ...process.env, FAST_WEIGHTS_DEVICE: 'js' };
  const child = spawn(process.execPath, [...LOADER, PROGRAM, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  const finished = once(child, 'close').then((end) => {
    const [code, signal] = end as [number | null, NodeJS.Signals | null];
    return { code: code ?? 128 + constants.signals[signal!], signal, out, err };
  });
  return { child, finished };
}

export function run(...args: string[]): Promise<Finished> {
  return start(args).finished;
}

/** Waits until a file or a condition is there, or the child has ended. */
export async function until(child: ChildProcess, there: () => boolean): Promise<void> {
  while (!there() && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 10));
}
