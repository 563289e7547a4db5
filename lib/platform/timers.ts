// Turns for everything else that waits in this thread: timers, signals, requests.
const { setMaxListeners } = process.getBuiltinModule('node:events');

const waiting: (() => void)[] = [];

/** When they last had one, as far as is known here. */
let since = performance.now();

function goOn(): void {
  since = performance.now();
  waiting.shift()!();
  if (waiting.length > 0) setImmediate(goOn);
}

/**
 * Lets them run. A resolved promise would not: it goes on before any of them. Of several loops that wait here one goes on
 * after each turn of the others: together they hold the thread no longer than one does.
 */
export function breathe(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(goOn);
  });
}

/** Lets any number of listeners wait for a signal, of which Node.js would print a warning. */
export function manyListeners(signal: AbortSignal): void {
  setMaxListeners(0, signal);
}

/** Calls `action` once after some milliseconds; a program that has nothing else to do ends before. */
export function later(milliseconds: number, action: () => void): void {
  setTimeout(action, milliseconds).unref();
}

/**
 * The longest that loops work on before they let others have a turn, in milliseconds. What begins just before the end
 * comes on top of it.
 */
export const LONGEST_TURN = 1;

/** Watches a loop's work: `rest` gives others a turn where the last one was too long ago. */
export class Pace {
  constructor(private readonly longest = LONGEST_TURN) {}

  /** Whether it is time. */
  get due(): boolean {
    return performance.now() - since >= this.longest;
  }

  async rest(): Promise<void> {
    if (this.due) await breathe();
  }
}
