// Signals: the first asks the work to stop and save, a later one ends the process at once. A stop that was asked for is no
// error; the process ends by the signal, of which shells make an exit code.
import { FastWeightsError } from '../core';
import { operatingSystem, processId } from '../platform';

/** Codes are 128 and the signal's number; a reader that closed its end is content, a full disk is a failure. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGPIPE: 0, ENOSPC: 1 } as const;
type Cause = keyof typeof CODES;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Signal = (typeof SIGNALS)[number];

/** Milliseconds in which several signals are one wish: `timeout` and `npx` pass on what the group has got, too. */
const ONE_WISH = 1000;

/** The end of work that was asked to stop. */
export class Stopped extends Error {
  readonly exitCode: number;

  constructor(
    readonly by: Cause,
    message: string,
  ) {
    super(message);
    this.exitCode = CODES[by];
  }
}

/** Of the work at hand. */
let stop: ((by: Cause) => void) | undefined;

const isSignal = (by: Cause): by is Signal => (SIGNALS as readonly Cause[]).includes(by);

/** Ends the process by a signal that it no longer listens to, which is what whoever sent it expects to see. */
export function endBy(by: Cause): void {
  process.exitCode = CODES[by];
  if (!isSignal(by)) return;
  process.removeAllListeners(by);
  // There are no signals on Windows: the process would end with another code.
  if (operatingSystem === 'win32') process.exit();
  process.kill(processId, by);
}

export function isAborted(error: unknown): error is FastWeightsError {
  return error instanceof FastWeightsError && error.code === 'ABORTED';
}

/**
 * Runs `work`, which ends early when its signal is aborted: with an ABORTED error, or with what it has. Then a Stopped is
 * thrown. What is said meanwhile is `notice`, until the work says another; nothing where it is empty.
 */
export async function withInterrupt<T>(
  work: (signal: AbortSignal, say: (notice: string) => void) => Promise<T>,
  notice = 'stopping',
): Promise<T> {
  const controller = new AbortController();
  // As the handlers leave it, which the compiler does not see.
  let by = undefined as Cause | undefined;
  let since = 0;
  stop = (cause) => {
    if (by !== undefined && isSignal(by)) {
      // A terminal that goes hangs up more than once.
      if (isSignal(cause) && cause !== 'SIGHUP' && performance.now() - since >= ONE_WISH) endBy(cause);
      return;
    }
    if (by === undefined || isSignal(cause)) by = cause;
    since = performance.now();
    if (controller.signal.aborted) return;
    if (notice !== '' && isSignal(cause)) console.error(`\n${notice}; once more to stop at once`);
    controller.abort(cause);
  };
  const handlers = SIGNALS.map((name) => [name, () => stop?.(name)] as const);
  for (const [name, handler] of handlers) process.on(name, handler);
  try {
    const result = await work(controller.signal, (next) => (notice = next));
    if (by !== undefined) throw new Stopped(by, '');
    return result;
  } catch (error) {
    throw by !== undefined && isAborted(error) ? new Stopped(by, error.message) : error;
  } finally {
    for (const [name, handler] of handlers) process.off(name, handler);
    stop = undefined;
  }
}

/** Progress and messages that cannot be written are lost, the work is not. */
export function mindingMessages(stream: NodeJS.WriteStream): void {
  stream.on('error', () => undefined);
}

/**
 * A reader of results that closes its end (`| head`) wants no more: the work ends quietly. A terminal that is gone takes
 * nothing any more, which is no reason to end. Results that cannot be written else end the work as a signal does, saved.
 */
export function mindingResults(stream: NodeJS.WriteStream): void {
  let failed = false;
  stream.on('error', ({ code, message }: NodeJS.ErrnoException) => {
    if (code === 'EIO') return;
    if (code === 'EPIPE') {
      if (stop) stop('SIGPIPE');
      else process.exit();
      return;
    }
    if (failed) return;
    failed = true;
    console.error(`error: cannot write: ${message}`);
    process.exitCode = CODES.ENOSPC;
    stop?.('ENOSPC');
  });
}
