// Signals: the first asks the work to stop and save, the second ends the process at once. A stop that was asked for is no
// error; the exit code says by which signal, as shells do.
import { FastWeightsError } from '../core';

/** Codes are 128 and the signal's number; a reader that closed its end is content. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGPIPE: 0 } as const;
type Signal = keyof typeof CODES;

/** The end of work that was asked to stop. */
export class Stopped extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message);
  }
}

/** Of the work at hand. */
let stop: ((by: Signal) => void) | undefined;

export function isAborted(error: unknown): error is FastWeightsError {
  return error instanceof FastWeightsError && error.code === 'ABORTED';
}

/**
 * Runs `work`, which ends early when its signal is aborted: with an ABORTED error, or with what it has. Then a Stopped is
 * thrown. With an empty `notice` nothing is said meanwhile.
 */
export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>, notice = 'stopping'): Promise<T> {
  const controller = new AbortController();
  // As the handlers leave it, which the compiler does not see.
  let by = undefined as Signal | undefined;
  stop = (signal) => {
    // A terminal that goes hangs up more than once.
    const again = signal === 'SIGINT' ? by !== undefined && by !== 'SIGPIPE' : signal === 'SIGTERM' && by === signal;
    if (again) process.exit(CODES[signal]);
    if (by === undefined || by === 'SIGPIPE') by = signal;
    if (controller.signal.aborted) return;
    if (notice !== '' && signal !== 'SIGPIPE') console.error(`\n${notice}; once more to stop at once`);
    controller.abort(signal);
  };
  const signals = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((name) => [name, () => stop?.(name)] as const);
  for (const [name, handler] of signals) process.on(name, handler);
  try {
    const result = await work(controller.signal);
    if (by !== undefined) throw new Stopped(CODES[by], '');
    return result;
  } catch (error) {
    throw by !== undefined && isAborted(error) ? new Stopped(CODES[by], error.message) : error;
  } finally {
    for (const [name, handler] of signals) process.off(name, handler);
    stop = undefined;
  }
}

/**
 * A reader that closes its end (`| head`) wants no more: the work ends quietly. A terminal that is gone takes nothing
 * any more, which is no reason to end.
 */
export function minding(stream: NodeJS.WriteStream): void {
  stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EIO') return;
    if (code === 'EPIPE') {
      if (stop) stop('SIGPIPE');
      else process.exit();
      return;
    }
    console.error(`error: cannot write: ${message}`);
    process.exit(1);
  });
}
