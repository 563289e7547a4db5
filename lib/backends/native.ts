// A native device: storages are numbers, a kernel call is its arguments in a shared command array and one call.
import { later } from '../platform';
import {
  bytesPerElement,
  countDrawings,
  describe,
  FastWeightsError,
  type Device,
  type DType,
  type Handle,
  type TypedArray,
} from '../core';
import type { Backend } from './backend';
import { compileEncoder, noteMemory } from './encode';
import { KeptBlocks, WatchedBlocks } from './recordedBlocks';
import { Recorder } from './recorder';
import type { Calls, Growth, KeptCalls, Recording } from './recording';
import { KERNELS, type KernelName, type KernelTable } from './table';
import { ThreadBound } from './threadBound';

/** The surface of native/binding/addon.cc, which every device's addon has. */
export interface Addon {
  readonly abi: number;
  readonly kernels: readonly (readonly [string, readonly (readonly [string, string])[]])[];
  readonly command: Float64Array;
  /** 0 when there is no memory. */
  allocate(bytes: number): number;
  /** Returns whether `settle` should be called in a second. */
  free(id: number): boolean;
  write(id: number, byteOffset: number, data: TypedArray): void;
  read(id: number, byteOffset: number, out: TypedArray): void;
  readAsync(id: number, byteOffset: number, out: TypedArray): Promise<void>;
  synchronize(): Promise<void>;
  submit(kernel: number): void;
  /**
   * Keeps calls, whose number it returns: kernels, or -1 for numbers that are written, where the command of each ends among all of
   * them, and these; which numbers of the commands grow from run to run, what they were, and by how much they grow.
   */
  keepCalls(
    kernels: Int32Array,
    ends: Int32Array,
    commands: Float64Array,
    at: Int32Array,
    from: Float64Array,
    by: Float64Array,
  ): number;
  /** Makes them, one after the other, as they are so many runs later. */
  repeatCalls(number: number, runs: number): void;
  forgetCalls(number: number): void;
  trim(): void;
  /** Gives back what was cached for a need that is over; returns whether there will be more of it in a second. */
  settle(): boolean;
  reportExternal(bytes: number): void;
  memoryUsage(): MemoryUsage;
}

/** Bytes handed out, the most that ever were, and kept for reuse; on a card also what is free of how many. */
export interface MemoryUsage {
  readonly live: number;
  readonly peak: number;
  readonly cached: number;
  /** What kernels keep for their own use, in the whole process. */
  readonly scratch: number;
  readonly free?: number;
  readonly total?: number;
}

/** Runs a call of the addon; what it throws becomes a typed error. */
export function guarded<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw backendError(what, error);
  }
}

/** Codes that addons give their errors; see native/binding/errors.h. */
const CODES = ['OUT_OF_MEMORY', 'UNSUPPORTED', 'INVALID_ARGUMENT'] as const;

/** What an addon's error says beside its message, where it is about an argument of a kernel. */
interface AddonError {
  readonly code?: unknown;
  readonly argument?: string;
  readonly expected?: string;
  readonly found?: string;
}

function backendError(what: string, error: unknown): FastWeightsError {
  if (error instanceof FastWeightsError) return error;
  const message = error instanceof Error ? error.message : describe(error);
  const { code, argument, expected, found } = (error ?? {}) as AddonError;
  const details = { argument, expected, found, cause: error };
  const named = argument !== undefined || message.startsWith(`${what}: `);
  const text = named ? message : `${what}: ${message}`;
  return new FastWeightsError(CODES.find((known) => known === code) ?? 'BACKEND', text, details);
}

function kernelFunctions(addon: Addon, memory: NativeBackend, takesBfloat16: boolean): KernelTable {
  const functions = (Object.keys(KERNELS) as KernelName[]).map((name, position) => {
    const encode = compileEncoder(name, addon.command, memory, takesBfloat16);
    const run = (args: Readonly<Record<string, unknown>>): void => {
      try {
        const length = encode(args);
        addon.submit(position);
        memory.recorder?.add(position, addon.command.slice(0, length));
      } catch (error) {
        throw backendError(name, error);
      }
    };
    return [name, run] as const;
  });
  return Object.fromEntries(functions) as unknown as KernelTable;
}

function refuseBytes(bytes: number, device: Device): never {
  throw new FastWeightsError('OUT_OF_MEMORY', `the ${device} device has no room for ${bytes} bytes more`, {
    expected: `${bytes} bytes`,
  });
}

/** Handles of native devices are numbers; a typed array is one of `js`. */
function idOf(handle: Handle): number {
  if (typeof handle === 'number') return handle;
  throw new FastWeightsError('DEVICE', 'a native device takes handles of its own memory', {
    expected: 'a number',
    found: describe(handle),
  });
}

const SECOND = 1000;
/** Bytes that the engine may not know of yet: a call for every small tensor would take longer than its kernel. */
const REPORTED = 2 ** 20;

const NO_GROWTH: Growth = { at: new Int32Array(0), from: new Float64Array(0), by: new Float64Array(0) };

export abstract class NativeBackend<A extends Addon = Addon> extends ThreadBound implements Backend {
  readonly kernels: KernelTable;
  readonly prefersTokenLoop = false;
  /** @internal Of the calls that are being recorded. */
  recorder: Recorder | null = null;
  /** @internal Those that recordings use and do not keep. */
  readonly watched = new WatchedBlocks();
  private readonly kept = new KeptBlocks();
  private settling = false;
  private unreported = 0;

  protected constructor(
    protected readonly addon: A,
    readonly device: Device,
    readonly name: string,
    readonly computes: readonly DType[],
  ) {
    super();
    this.kernels = kernelFunctions(addon, this, computes.includes('bfloat16'));
  }

  allocate(dtype: DType, length: number): Handle {
    if (dtype === 'float64') {
      throw new FastWeightsError('DTYPE', 'float64 exists on the js device only', {
        argument: 'dtype',
        expected: 'float32 | bfloat16 | int32',
        found: 'float64',
      });
    }
    const bytes = length * bytesPerElement(dtype);
    if (!Number.isSafeInteger(bytes)) refuseBytes(bytes, this.device);
    const again = this.recorder?.reuse(bytes);
    if (again !== undefined) return again;
    const id = guarded('allocate', () => this.addon.allocate(bytes));
    if (id === 0) {
      const { live, free } = this.addon.memoryUsage();
      const found = `${free === undefined ? '' : `${free} bytes free, `}${live} bytes in use`;
      throw new FastWeightsError(
        'OUT_OF_MEMORY',
        `the ${this.device} device has no room for ${bytes} bytes more: ${found}`,
        { expected: `${bytes} bytes`, found },
      );
    }
    this.recorder?.keep(id, bytes);
    return id;
  }

  free(handle: Handle): void {
    this.watched.free(handle);
    if (this.recorder?.free(idOf(handle)) || this.kept.stays(handle)) return;
    this.freeBlock(handle);
  }

  private freeBlock(handle: Handle): void {
    if (guarded('free', () => this.addon.free(idOf(handle)))) this.settleLater();
  }

  private settleLater(): void {
    if (this.settling) return;
    this.settling = true;
    later(SECOND, () => {
      this.settling = false;
      if (this.addon.settle()) this.settleLater();
    });
  }

  reportExternal(bytes: number): void {
    this.unreported += bytes;
    if (Math.abs(this.unreported) < REPORTED) return;
    this.addon.reportExternal(this.unreported);
    this.unreported = 0;
  }

  overhead(): { cachedBytes: number; scratchBytes: number } {
    const { cached, scratch } = guarded('memoryUsage', () => this.addon.memoryUsage());
    return { cachedBytes: cached, scratchBytes: scratch };
  }

  record<T>(fn: () => T, before: Recording | null = null): { value: T; recording: Recording | null } {
    const recorder = (this.recorder = new Recorder(before));
    noteMemory(recorder);
    try {
      const drawings = countDrawings();
      const value = fn();
      // The next run draws other numbers.
      if (countDrawings() !== drawings) recorder.break();
      this.recorder = null;
      return { value, recording: recorder.end(this) };
    } finally {
      noteMemory(null);
      if (this.recorder) {
        this.recorder = null;
        recorder.end(this)?.dispose();
      }
    }
  }

  /** @internal Calls to be made again, until they are forgotten. */
  keepCalls({ kernels, ends, commands }: Calls, growth: Growth | null): KeptCalls {
    const { addon } = this;
    const { at, from, by } = growth ?? NO_GROWTH;
    const number = guarded('calls to be made again', () => addon.keepCalls(kernels, ends, commands, at, from, by));
    return {
      again: (runs) => guarded('a call that is made again', () => addon.repeatCalls(number, runs)),
      forget: () => guarded('calls to be made again', () => addon.forgetCalls(number)),
    };
  }

  /** @internal Keeps blocks of a recording; what comes back frees those that nobody else has. */
  keepBlocks(blocks: readonly number[], free: ReadonlySet<number>): () => void {
    return this.kept.keep(blocks, free, (id) => this.freeBlock(id));
  }

  /** @internal Whether nobody but the recording that keeps a block has it. */
  isSpare(id: number): boolean {
    return this.kept.isSpare(id);
  }

  write(handle: Handle, offset: number, data: TypedArray): void {
    this.recorder?.write(idOf(handle), offset * data.BYTES_PER_ELEMENT, data);
    guarded('write', () => this.addon.write(idOf(handle), offset * data.BYTES_PER_ELEMENT, data));
  }

  read(handle: Handle, offset: number, out: TypedArray): void {
    this.recorder?.break();
    guarded('read', () => this.addon.read(idOf(handle), offset * out.BYTES_PER_ELEMENT, out));
  }

  async readAsync(handle: Handle, offset: number, out: TypedArray): Promise<void> {
    this.recorder?.break();
    try {
      await this.addon.readAsync(idOf(handle), offset * out.BYTES_PER_ELEMENT, out);
    } catch (error) {
      throw backendError('read', error);
    }
  }

  async synchronize(): Promise<void> {
    try {
      await this.addon.synchronize();
    } catch (error) {
      throw backendError('synchronize', error);
    }
  }

  trimMemory(): void {
    guarded('trim', () => this.addon.trim());
  }

  abstract setNumThreads(n: number): void;
}
