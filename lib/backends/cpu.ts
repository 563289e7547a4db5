// The CPU device: its addon also chooses an instruction set and threads.
import { guarded, NativeBackend, type Addon } from './native';

/** The surface of native/binding/cpu/device.cc. */
export interface CpuAddon extends Addon {
  /** What this processor has, the widest last. */
  readonly instructionSets: readonly string[];
  instructionSet(): string;
  useInstructionSet(name: string): void;
  setNumThreads(n: number): void;
  numThreads(): number;
  /** See native/binding/cpu/peak.h. */
  peakFlops(): number;
  copyBandwidth(bytes: number): number;
  readBandwidth(bytes: number): number;
}

/** What the processor can do on the threads that compute, for benchmarks to compare kernels with. */
export interface MachineLimits {
  readonly instructionSet: string;
  /** float32 operations per second of multiply-adds on registers. */
  readonly flops: number;
  /** Bytes per second, read and written, of a copy within `copyBytes` bytes of memory. */
  readonly copyBandwidth: number;
  /** Bytes per second of reading `readBytes` bytes of memory. */
  readonly readBandwidth: number;
}

export class CpuBackend extends NativeBackend<CpuAddon> {
  /** `instructionSet` forces one of those that the processor has; otherwise the widest is taken. */
  constructor(addon: CpuAddon, processor: string, instructionSet?: string) {
    if (instructionSet) guarded('FAST_WEIGHTS_ISA', () => addon.useInstructionSet(instructionSet));
    super(addon, 'cpu', `${processor} (${addon.instructionSet()})`, ['float32']);
  }

  setNumThreads(n: number): void {
    this.addon.setNumThreads(n);
  }

  numThreads(): number {
    return this.addon.numThreads();
  }

  measureLimits(copyBytes: number, readBytes: number): MachineLimits {
    return {
      instructionSet: this.addon.instructionSet(),
      flops: this.addon.peakFlops(),
      copyBandwidth: copyBytes > 0 ? this.addon.copyBandwidth(copyBytes) : 0,
      readBandwidth: readBytes > 0 ? this.addon.readBandwidth(readBytes) : 0,
    };
  }
}
