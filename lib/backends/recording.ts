// Kernel calls that are made again as they were: what a call costs in this language is spent once.
import type { Handle, Storage } from '../core';
import type { NativeBackend } from './native';

/** What a recording takes of its backend. */
type Device = Pick<NativeBackend, 'keepCalls' | 'keepBlocks' | 'watched'>;

/** Calls of kernels, as the addon takes them. */
export interface Calls {
  readonly kernels: Int32Array;
  /** Where the command of each ends among all of them. */
  readonly ends: Int32Array;
  readonly commands: Float64Array;
}

/** Those that the addon keeps. */
export interface KeptCalls {
  again(): void;
  forget(): void;
}

function join(kernels: readonly number[], commands: readonly Float64Array[]): Calls {
  let end = 0;
  const ends = Int32Array.from(commands, ({ length }) => (end += length));
  const all = new Float64Array(end);
  commands.forEach((command, i) => all.set(command, ends[i] - command.length));
  return { kernels: Int32Array.from(kernels), ends, commands: all };
}

/** While calls are recorded: their commands, and memory that stays theirs. */
export class Recorder {
  private readonly kernels: number[] = [];
  private readonly commands: Float64Array[] = [];
  /** Blocks that were made meanwhile, and which of them are free for the next allocation of as many bytes. */
  private readonly made = new Map<number, number>();
  private readonly spare = new Map<number, number[]>();
  /** What calls used. */
  readonly used = new Set<Storage>();
  /** Whether something happened that making the calls again would leave out. */
  private broken = false;

  add(kernel: number, command: Float64Array): void {
    this.kernels.push(kernel);
    this.commands.push(command);
  }

  /** A block of this recording that nothing uses any more. */
  reuse(bytes: number): number | undefined {
    return this.spare.get(bytes)?.pop();
  }

  keep(id: number, bytes: number): void {
    this.made.set(id, bytes);
  }

  /** Whether the block stays, being the recording's. Giving away one from before is no call that could be made again. */
  free(id: number): boolean {
    const bytes = this.made.get(id);
    if (bytes === undefined) {
      this.broken = true;
      return false;
    }
    const spare = this.spare.get(bytes);
    if (spare) spare.push(id);
    else this.spare.set(bytes, [id]);
    return true;
  }

  /** A read, or a write from this thread. */
  break(): void {
    this.broken = true;
  }

  end(backend: Device): Recording | null {
    const { kernels, commands, made, spare, used } = this;
    const giveBack = backend.keepBlocks([...made.keys()], new Set([...spare.values()].flat()));
    if (this.broken) {
      giveBack();
      return null;
    }
    // Storages that were made meanwhile and are gone had blocks of the recording.
    const outside = [...used].filter((storage) => !storage.freed);
    return new Recording(backend, backend.keepCalls(join(kernels, commands)), giveBack, outside);
  }
}

/** Blocks of recordings that nobody can reach any more. */
const lost = new FinalizationRegistry<() => void>((release) => release());

/** Calls that were made, with the memory between them: dispose it. */
export class Recording {
  private readonly release: () => void;
  private disposed = false;
  /** What was found when so many blocks that recordings use had been freed. */
  private found: { freed: number; holds: boolean };

  constructor(
    private readonly device: Device,
    private readonly calls: KeptCalls,
    giveBack: () => void,
    private readonly outside: readonly Storage[],
  ) {
    const forget = device.watched.watch(outside.map(({ handle }) => handle));
    this.found = { freed: device.watched.freed, holds: true };
    this.release = () => {
      forget();
      calls.forget();
      giveBack();
    };
    lost.register(this, this.release, this);
  }

  /** Whether everything that the calls use is still there. */
  get holds(): boolean {
    const { freed } = this.device.watched;
    if (this.found.freed !== freed) this.found = { freed, holds: this.outside.every((storage) => !storage.freed) };
    return this.found.holds && !this.disposed;
  }

  /** Makes the calls again, in order; only while it `holds`. What they wrote before, they write anew. */
  again(): void {
    this.calls.again();
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    lost.unregister(this);
    this.release();
  }
}

/** The blocks of a device that recordings keep, and whether whoever had them has freed them. */
export class KeptBlocks {
  private readonly freed = new Map<number, boolean>();

  /** Whether a block that is being freed stays. */
  stays(id: Handle): boolean {
    if (this.freed.size === 0 || !this.freed.has(id as number)) return false;
    this.freed.set(id as number, true);
    return true;
  }

  /** Keeps blocks until what comes back is called, which frees those that nobody else has. */
  keep(blocks: readonly number[], free: ReadonlySet<number>, release: (id: number) => void): () => void {
    for (const id of blocks) this.freed.set(id, free.has(id));
    return () => {
      for (const id of blocks) {
        const unused = this.freed.get(id);
        this.freed.delete(id);
        if (unused) release(id);
      }
    };
  }
}

/** The blocks of a device that recordings use: so long as none is freed, nobody has to look for theirs. */
export class WatchedBlocks {
  /** By how many recordings. */
  private readonly users = new Map<Handle, number>();
  /** How many were freed. */
  freed = 0;

  free(handle: Handle): void {
    if (this.users.size > 0 && this.users.has(handle)) this.freed++;
  }

  /** Watches blocks until what comes back is called. */
  watch(handles: readonly Handle[]): () => void {
    const { users } = this;
    for (const handle of handles) users.set(handle, (users.get(handle) ?? 0) + 1);
    return () => {
      for (const handle of handles) {
        const others = users.get(handle)! - 1;
        if (others > 0) users.set(handle, others);
        else users.delete(handle);
      }
    };
  }
}
