// What the service's thread feels, and what the process holds.
export class Monitor {
  private readonly delays: number[] = [];
  /** Resident memory in MiB, once a second. */
  readonly resident: number[] = [];
  private stopped = false;
  private readonly sampler = setInterval(() => this.resident.push(process.memoryUsage.rss() / 2 ** 20), 1000);

  constructor() {
    this.tick();
  }

  private tick(): void {
    const due = performance.now() + 1;
    setTimeout(() => {
      this.delays.push(performance.now() - due);
      if (!this.stopped) this.tick();
    }, 1);
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.sampler);
  }

  /** Of a timer of 1 ms, in milliseconds. */
  delay(share: number): number {
    const sorted = this.delays.slice().sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  }

  /** MiB by which the second half of the samples after `warm` seconds lies above the first one, by their medians. */
  growth(warm: number): number {
    const after = this.resident.slice(warm);
    const half = after.length >> 1;
    return median(after.slice(half)) - median(after.slice(0, half));
  }
}

function median(values: readonly number[]): number {
  return values.slice().sort((a, b) => a - b)[values.length >> 1];
}
