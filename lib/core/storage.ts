// A storage is a reference-counted block of device memory; tensors are views of one.
import { callers } from '../platform';
import { bytesPerElement, type DType, dtypeCode, type TypedArray } from './dtype';
import { argumentError, describe, FastWeightsError } from './errors';
import { callSynchronous } from './synchronous';

/**
 * `cuda` is the first card, also called `cuda:0`; `cuda:1` the second, and so on. `cuda-emulation` runs the kernels of `cuda`
 * on the processor, to test them without a card.
 */
export type Device = 'cuda' | `cuda:${number}` | 'cpu' | 'js' | 'cuda-emulation' | `cuda-emulation:${number}`;

/** Opaque to everyone but the memory that made it: a typed array on `js`, a number on native devices. */
export type Handle = TypedArray | number;

/** What a device must offer to hold tensors. Reads and writes keep the order of the device's queue. */
export interface DeviceMemory {
  readonly device: Device;
  allocate(dtype: DType, length: number): Handle;
  free(handle: Handle): void;
  write(handle: Handle, offset: number, data: TypedArray): void;
  /** Blocks until everything queued before it has run. */
  read(handle: Handle, offset: number, out: TypedArray): void;
  readAsync(handle: Handle, offset: number, out: TypedArray): Promise<void>;
  /** Tells the engine of bytes that it does not see and that are the garbage collector's to free; fewer are negative. */
  reportExternal(bytes: number): void;
  /** Bytes beside those of storages: kept for reuse, and in use by kernels for themselves. */
  overhead(): { cachedBytes: number; scratchBytes: number };
}

/** Where a live storage was made, kept while checks are on. */
export interface StorageRecord {
  device: Device;
  bytes: number;
  readonly site?: string;
}

const live = new Set<StorageRecord>();
let recordSites = false;

/** With sites on, `memory()` says where each storage was made. */
export function setRecordSites(on: boolean): void {
  recordSites = on;
}

class SiteRecord implements StorageRecord {
  private readonly where = callers(6);
  constructor(
    readonly device: Device,
    readonly bytes: number,
  ) {}

  get site(): string {
    return this.where();
  }
}

/** What is left to do when a storage is found unreachable; not the storage itself. */
interface Remains {
  readonly memory: DeviceMemory;
  readonly bytes: number;
  readonly record: StorageRecord | undefined;
  /** Undefined once freed by hand; `managed` where the block is the engine's own. */
  block: number | 'managed' | undefined;
}

/** Storages that no scope frees. Registering one takes about as long as a small kernel: hot loops stay in scopes. */
const collector = new FinalizationRegistry<Remains>((remains) => {
  if (remains.block === undefined) return;
  if (remains.block !== 'managed') remains.memory.free(remains.block);
  forget(remains);
});

function forget(remains: Remains): void {
  remains.block = undefined;
  remains.memory.reportExternal(-remains.bytes);
  totals(remains.memory).remove(remains.bytes);
  if (remains.record) live.delete(remains.record);
}

export class Storage {
  readonly memory: DeviceMemory;
  readonly dtype: DType;
  readonly length: number;
  readonly dtypeCode: number;
  readonly elementBytes: number;
  /** Grows with every write in place; saved tensors compare it (see autograd). */
  version = 0;
  private refs = 0;
  private block: Handle | undefined;
  private record: StorageRecord | undefined;
  private remains: Remains | undefined;

  constructor(memory: DeviceMemory, dtype: DType, length: number) {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw argumentError('SHAPE', 'storage', 'length', 'a whole number of elements', describe(length));
    }
    this.memory = memory;
    this.dtype = dtype;
    this.length = length;
    this.dtypeCode = dtypeCode(dtype);
    this.elementBytes = bytesPerElement(dtype);
    const used = totals(memory);
    if (used.bytes + this.bytes > used.limit) throw used.refuse!();
    this.block = memory.allocate(dtype, length);
    used.add(this.bytes);
    if (recordSites) {
      this.record = new SiteRecord(memory.device, this.bytes);
      live.add(this.record);
    }
  }

  get bytes(): number {
    return this.length * this.elementBytes;
  }

  get freed(): boolean {
    return this.block === undefined;
  }

  get handle(): Handle {
    if (this.block === undefined) {
      throw new FastWeightsError('DISPOSED', 'the tensor was disposed: its memory is gone');
    }
    return this.block;
  }

  /** Whether exactly one tensor or saved value holds the block, so that it may be overwritten. */
  get isUnshared(): boolean {
    return this.refs === 1;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    if (--this.refs > 0 || this.block === undefined) return;
    this.memory.free(this.block);
    this.block = undefined;
    if (this.remains) return forget(this.remains);
    totals(this.memory).remove(this.bytes);
    if (this.record) live.delete(this.record);
  }

  /** From now on the block is freed when nothing reaches the storage any more, too. */
  leaveToCollector(): void {
    if (this.remains || this.block === undefined) return;
    const { memory, bytes, record, block } = this;
    this.remains = { memory, bytes, record, block: typeof block === 'number' ? block : 'managed' };
    memory.reportExternal(bytes);
    collector.register(this, this.remains);
  }
}

class Totals {
  storages = 0;
  bytes = 0;
  peakBytes = 0;
  /** What `bytes` may come to, and the error beyond it; see `withinBytes`. */
  limit = Infinity;
  refuse?: () => Error;

  constructor(readonly memory: DeviceMemory) {}

  add(bytes: number): void {
    this.storages++;
    this.bytes += bytes;
    if (this.bytes > this.peakBytes) this.peakBytes = this.bytes;
  }

  remove(bytes: number): void {
    this.storages--;
    this.bytes -= bytes;
  }
}

const byDevice = new Map<Device, Totals>();

function totals(memory: DeviceMemory): Totals {
  let found = byDevice.get(memory.device);
  if (!found) byDevice.set(memory.device, (found = new Totals(memory)));
  return found;
}

/** @internal Runs `fn`, in which the live blocks of a device may grow by so many bytes; beyond them it ends with what `refuse` makes. */
export function withinBytes<T>(memory: DeviceMemory, bytes: number, refuse: () => Error, fn: () => T): T {
  const used = totals(memory);
  const before = { limit: used.limit, refuse: used.refuse };
  if (used.bytes + bytes < used.limit) Object.assign(used, { limit: used.bytes + bytes, refuse });
  try {
    return callSynchronous('withinBytes', fn, fn);
  } finally {
    Object.assign(used, before);
  }
}

/** Memory of one device in this thread. */
export interface DeviceUsage {
  device: Device;
  /** Live blocks of tensors. */
  storages: number;
  /** Their bytes. */
  bytes: number;
  /** The most that these ever were, or since `resetPeakMemory`. */
  peakBytes: number;
  /** Bytes that the device's allocator keeps for reuse; `trimMemory` gives them back. */
  cachedBytes: number;
  /** Bytes that kernels keep for their own use, in the whole process; `trimMemory` gives them back, too. */
  scratchBytes: number;
}

/** What `memory()` reports. */
export interface MemoryReport {
  /** One entry for each device that has been used in this thread. */
  devices: DeviceUsage[];
  /** Live storages with the place they were made; filled while checks are on. */
  live: StorageRecord[];
}

/** What is live on each device that has been used, and (with `setChecks(true)`) where it was made. */
export function memory(): MemoryReport {
  return {
    devices: [...byDevice].map(([device, t]) => ({
      device,
      storages: t.storages,
      bytes: t.bytes,
      peakBytes: t.peakBytes,
      ...t.memory.overhead(),
    })),
    live: [...live],
  };
}

/** Counts `peakBytes` of `memory()` anew from what is live now, on every device. */
export function resetPeakMemory(): void {
  for (const t of byDevice.values()) t.peakBytes = t.bytes;
}
