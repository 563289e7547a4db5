// What is recorded while kernels are called.
import type { Storage, TypedArray } from '../core';
import { type Calls, type Device, type Growth, type Made, Recording } from './recording';

/** In the place of a kernel: its command is [block, byte offset, 1 for float32 or 0 for int32, the numbers that are written]. */
const WRITE = -1;
/** More numbers than positions and angles have are data. */
const MOST_WRITTEN = 4096;

function join(kernels: readonly number[], commands: readonly Float64Array[]): Calls {
  let end = 0;
  const ends = Int32Array.from(commands, ({ length }) => (end += length));
  const all = new Float64Array(end);
  commands.forEach((command, i) => all.set(command, ends[i] - command.length));
  return { kernels: Int32Array.from(kernels), ends, commands: all };
}

const same = (a: ArrayLike<number>, b: ArrayLike<number>): boolean =>
  a.length === b.length && Array.prototype.every.call(a, (each, i) => each === b[i]);

/** Between the calls of two runs; null where more than whole numbers differ, or memory. */
function growthOf(before: Made, { calls, places }: Made): Growth | null {
  const alike = same(before.calls.kernels, calls.kernels) && same(before.calls.ends, calls.ends);
  if (!alike || !same(before.places, places)) return null;
  const [was, is] = [before.calls.commands, calls.commands];
  const at = Int32Array.from(is.keys()).filter((i) => is[i] !== was[i]);
  const by = Float64Array.from(at, (i) => is[i] - was[i]);
  return by.every(Number.isInteger) ? { at, from: Float64Array.from(at, (i) => is[i]), by } : null;
}

/** While calls are recorded: their commands, and memory that stays theirs. */
export class Recorder {
  private readonly kernels: number[] = [];
  private readonly commands: Float64Array[] = [];
  private readonly places: number[] = [];
  private readonly before: Made | null;
  /** Blocks that were made meanwhile, and which of them are free for the next allocation of as many bytes. */
  private readonly made = new Map<number, number>();
  private readonly spare = new Map<number, number[]>();
  /** Free blocks of the run before, the one it made first at the end: a run that makes as many takes the same for the same. */
  private readonly inherited = new Map<number, number[]>();
  /** What calls used. */
  private readonly used = new Set<Storage>();
  /** Whether something happened that making the calls again would leave out. */
  private broken = false;

  /** Blocks of an earlier recording become those of this one. */
  constructor(before: Recording | null) {
    this.before = before?.handOver() ?? null;
    for (const [id, bytes] of before?.spareBlocks() ?? []) {
      const others = this.inherited.get(bytes);
      if (others) others.unshift(id);
      else this.inherited.set(bytes, [id]);
    }
  }

  add(kernel: number, command: Float64Array): void {
    this.kernels.push(kernel);
    this.commands.push(command);
  }

  place(storage: Storage, at: number): void {
    this.used.add(storage);
    this.places.push(at, storage.handle as number);
  }

  /** Numbers from this thread, to be written again into a block of the recording. */
  write(id: number, byteOffset: number, data: TypedArray): void {
    const known = data instanceof Float32Array || data instanceof Int32Array;
    if (!known || data.length > MOST_WRITTEN || !this.made.has(id)) return this.break();
    this.places.push(0, id);
    this.add(WRITE, Float64Array.of(id, byteOffset, Number(data instanceof Float32Array), ...data));
  }

  /** A block of this recording that nothing uses any more. */
  reuse(bytes: number): number | undefined {
    const again = this.spare.get(bytes)?.pop();
    if (again !== undefined) return again;
    const id = this.inherited.get(bytes)?.pop();
    if (id !== undefined) this.made.set(id, bytes);
    return id;
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

  /** A read, or a write of something else from this thread. */
  break(): void {
    this.broken = true;
  }

  end(device: Device): Recording | null {
    const { before, made, used } = this;
    const free = new Set([...this.spare.values(), ...this.inherited.values()].flat());
    // Storages that were made meanwhile and are gone had blocks of the recording.
    const outside = [...used].filter((storage) => !storage.freed);
    const now: Made = {
      calls: join(this.kernels, this.commands),
      places: this.places,
      blocks: new Map([...(before?.blocks ?? []), ...made]),
    };
    const growth = before && growthOf(before, now);
    if (!this.broken && (growth || !before)) return new Recording(device, now, growth, free, outside);
    device.keepBlocks([...now.blocks.keys()], free)();
    return null;
  }
}
