// What the service's thread feels, and what the process holds.
import { readFileSync } from 'node:fs';

/** Milliseconds for which this thread, ready to run, waited for a processor; 0 where the system does not tell. */
function heldBack(): number {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}

export class Monitor {
  private readonly delays: number[] = [];
  private readonly own: number[] = [];
  /** Resident memory in MiB, once a second. */
  readonly resident: number[] = [];
  private stopped = false;
  private readonly sampler = setInterval(() => this.resident.push(process.memoryUsage.rss() / 2 ** 20), 1000);

  constructor() {
    this.tick();
  }

  private tick(): void {
    const due = performance.now() + 1;
    const before = heldBack();
    setTimeout(() => {
      const late = performance.now() - due;
      this.delays.push(late);
      this.own.push(Math.max(0, late - (heldBack() - before)));
      if (!this.stopped) this.tick();
    }, 1);
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.sampler);
  }

  /** How late a timer of 1 ms is, in milliseconds: no later than this for a share of them. */
  late(share: number): number {
    return quantile(this.delays, share);
  }

  /** The same without the time for which others had the processor: what this thread's own work takes. */
  held(share: number): number {
    return quantile(this.own, share);
  }

  /**
   * MiB by which the second half of the samples after `warm` seconds lies above the first one. By the low tide of each: what
   * the engine has not yet collected comes and goes.
   */
  growth(warm: number): number {
    const after = this.resident.slice(warm);
    const half = after.length >> 1;
    return quantile(after.slice(half), 0.1) - quantile(after.slice(0, half), 0.1);
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}
