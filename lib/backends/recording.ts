// Kernel calls that are made again as they were, or as they grow: what a call costs in this language is spent once.
import type { Storage } from '../core';
import type { NativeBackend } from './native';

/** What a recording takes of its backend. */
export type Device = Pick<NativeBackend, 'keepCalls' | 'keepBlocks' | 'isSpare' | 'watched'>;

/** Calls of kernels, as the addon takes them. */
export interface Calls {
  readonly kernels: Int32Array;
  /** Where the command of each ends among all of them. */
  readonly ends: Int32Array;
  readonly commands: Float64Array;
}

/** Numbers of commands that are others from run to run: where they stand, what they were, and by how much they grow. */
export interface Growth {
  readonly at: Int32Array;
  readonly from: Float64Array;
  readonly by: Float64Array;
}

/** Calls that the addon keeps. */
export interface KeptCalls {
  /** Makes them, with the numbers that they come to so many runs later. */
  again(runs: number): void;
  forget(): void;
}

/** What recorded calls are, and use. */
export interface Made {
  readonly calls: Calls;
  /** For each operand where it stands in its command, and in which block it lies. */
  readonly places: readonly number[];
  /** Blocks that were made meanwhile, with their bytes, in this order. */
  readonly blocks: ReadonlyMap<number, number>;
}

/** Blocks of recordings that nobody can reach any more. */
const lost = new FinalizationRegistry<() => void>((release) => release());

/** Calls that were made, with the memory between them: dispose it. */
export class Recording {
  private readonly calls: KeptCalls;
  private readonly giveBack: () => void;
  private readonly forget: () => void;
  private disposed = false;
  /** What was found when so many blocks that recordings use had been freed. */
  private found: { freed: number; holds: boolean };

  constructor(
    private readonly device: Device,
    private readonly made: Made,
    growth: Growth | null,
    free: ReadonlySet<number>,
    private readonly outside: readonly Storage[],
  ) {
    const calls = (this.calls = device.keepCalls(made.calls, growth));
    const giveBack = (this.giveBack = device.keepBlocks([...made.blocks.keys()], free));
    const unwatch = device.watched.watch(outside.map(({ handle }) => handle));
    const forget = (this.forget = () => {
      unwatch();
      calls.forget();
    });
    this.found = { freed: device.watched.freed, holds: true };
    const release = (): void => {
      forget();
      giveBack();
    };
    lost.register(this, release, this);
  }

  /** Whether everything that the calls use is still there. */
  get holds(): boolean {
    const { freed } = this.device.watched;
    if (this.found.freed !== freed) this.found = { freed, holds: this.outside.every((storage) => !storage.freed) };
    return this.found.holds && !this.disposed;
  }

  /**
   * Makes the calls again, in order; only while it `holds`. What they wrote before, they write anew. Their numbers are those that they
   * come to so many runs later: where they grow, 1 is the run behind the recorded one.
   */
  again(runs = 0): void {
    this.calls.again(runs);
  }

  /** Leaves calls and memory to another recording. */
  handOver(): Made {
    this.end();
    return this.made;
  }

  /** Blocks, with their bytes, that nobody has beside the recording. */
  *spareBlocks(): Generator<readonly [number, number]> {
    for (const block of this.made.blocks) if (this.device.isSpare(block[0])) yield block;
  }

  dispose(): void {
    if (!this.disposed) this.end(this.giveBack);
  }

  private end(then = (): void => {}): void {
    this.disposed = true;
    lost.unregister(this);
    this.forget();
    then();
  }
}
