// Turns for everything else that waits in this thread: timers, signals, requests.

/** Lets them run. A resolved promise would not: it goes on before any of them. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Calls `action` once after some milliseconds; a program that has nothing else to do ends before. */
export function later(milliseconds: number, action: () => void): void {
  setTimeout(action, milliseconds).unref();
}

/** The longest that a loop works on before it lets others have a turn, in milliseconds. */
export const LONGEST_TURN = 8;

/** Counts a loop's own work: `rest` gives others a turn where the last one was too long ago. */
export class Pace {
  private since = performance.now();

  constructor(private readonly longest = LONGEST_TURN) {}

  /** Whether it is time. */
  get due(): boolean {
    return performance.now() - this.since >= this.longest;
  }

  async rest(): Promise<void> {
    if (!this.due) return;
    await breathe();
    this.since = performance.now();
  }
}
