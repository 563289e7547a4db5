// A storage is a reference-counted block of device memory; tensors are views of one.
import { bytesPerElement, type DType, dtypeCode, type TypedArray } from './dtype';
import { argumentError, describe, FastWeightsError } from './errors';

/** `cuda-emulation` runs the kernels of `cuda` on the processor, to test them without a card. */
export type Device = 'cuda' | 'cpu' | 'js' | 'cuda-emulation';

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
}

/** Where a live storage was made, kept while checks are on. */
export interface StorageRecord {
  device: Device;
  bytes: number;
  site?: string;
}

const live = new Set<StorageRecord>();
const leaks: StorageRecord[] = [];
const lost = new FinalizationRegistry<StorageRecord>((record) => {
  if (live.delete(record)) leaks.push(record);
});
let recordSites = false;

/** With sites on, `memory()` says where each storage was made and which ones were lost unfreed. */
export function setRecordSites(on: boolean): void {
  recordSites = on;
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

  constructor(memory: DeviceMemory, dtype: DType, length: number) {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw argumentError('SHAPE', 'storage', 'length', 'a whole number of elements', describe(length));
    }
    this.memory = memory;
    this.dtype = dtype;
    this.length = length;
    this.dtypeCode = dtypeCode(dtype);
    this.elementBytes = bytesPerElement(dtype);
    this.block = memory.allocate(dtype, length);
    totals(memory.device).add(this.bytes);
    if (recordSites) {
      const site = new Error().stack?.split('\n').slice(3, 9).join('\n');
      this.record = { device: memory.device, bytes: this.bytes, site };
      live.add(this.record);
      lost.register(this, this.record, this);
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
    totals(this.memory.device).remove(this.bytes);
    if (this.record) {
      live.delete(this.record);
      lost.unregister(this);
    }
  }
}

class Totals {
  storages = 0;
  bytes = 0;
  peakBytes = 0;

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

function totals(device: Device): Totals {
  let found = byDevice.get(device);
  if (!found) byDevice.set(device, (found = new Totals()));
  return found;
}

/** Live memory of one device. */
export interface DeviceUsage {
  device: Device;
  storages: number;
  bytes: number;
  peakBytes: number;
}

/** What `memory()` reports. */
export interface MemoryReport {
  devices: DeviceUsage[];
  /** Live storages with the place they were made; filled while checks are on. */
  live: StorageRecord[];
  /** Storages whose last tensor was garbage-collected without `dispose` or a scope; filled while checks are on. */
  leaks: StorageRecord[];
}

/** What is live on each device, and (with `setChecks(true)`) where it was made. */
export function memory(): MemoryReport {
  return {
    devices: [...byDevice].map(([device, t]) => ({
      device,
      storages: t.storages,
      bytes: t.bytes,
      peakBytes: t.peakBytes,
    })),
    live: [...live],
    leaks: [...leaks],
  };
}
