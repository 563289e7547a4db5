// Random choices for programs: every program has a stream of its own, so that one can be made without those before it.
import { HostRandom } from '../../lib/core';

export class Random {
  private readonly source: HostRandom;

  constructor(seed: number, stream: number) {
    this.source = new HostRandom(seed, stream);
  }

  /** Uniform in [0, 1). */
  next(): number {
    return this.source.next();
  }

  chance(p: number): boolean {
    return this.next() < p;
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + this.source.below(high - low + 1);
  }

  pick<T>(items: readonly T[]): T {
    return items[this.source.below(items.length)];
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** Nearly normal with variance 1, never beyond 3.5. */
  normal(): number {
    return (this.next() + this.next() + this.next() + this.next() - 2) * Math.sqrt(3);
  }

  shuffled<T>(items: readonly T[]): T[] {
    const list = [...items];
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
}
