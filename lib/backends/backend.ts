// What a device is to the rest of the library: memory, kernels, threads.
import type { Device, DeviceMemory, DType, Storage } from '../core';
import type { Recording } from './recording';
import type { KernelTable } from './table';

export interface Backend extends DeviceMemory {
  /** For people: the processor, the card, or the JavaScript engine. */
  readonly name: string;
  readonly kernels: KernelTable;
  /** Whether the plain token loop is the faster way through a sequence here. */
  readonly prefersTokenLoop: boolean;
  /** Dtypes that kernels compute in; others are storage formats and go through float32. */
  readonly computes: readonly DType[];
  setNumThreads(n: number): void;
  /**
   * Whether matrix products may go through a library in which the bits of a row depend on the rows beside it: for
   * training steps only, off at first. Devices without one have no such function.
   */
  useProductLibrary?(on: boolean): void;
  /**
   * Runs the synchronous function `fn` and records the calls of kernels that it makes, and the few numbers that it writes to memory
   * it has made; no recording where it also read memory, wrote anything else to it from this thread or freed some that was there
   * before. What it made and gave away lives until both are gone. With the recording of an earlier run `before`, which is used up,
   * the new one knows by how much its numbers grow from run to run; there is none where anything else is another. Devices whose
   * calls cost little have no such function.
   */
  record?<T>(fn: () => T, before?: Recording | null): { value: T; recording: Recording | null };
  /**
   * Overwrites the beginning of the storage `to`, which is of this device, with `bytes` of another device's, without the
   * host and without waiting; false where that cannot be. Devices that no other is so near to have no such function.
   */
  copyFrom?(to: Storage, from: Storage, fromOffset: number, bytes: number): boolean;
  /** Resolves when everything queued so far has run. */
  synchronize(): Promise<void>;
  /** Returns cached, unused memory to the system. */
  trimMemory(): void;
}

/** One line of `devices()`. */
export interface DeviceInfo {
  /** What `setDefaultDevice` and every option `device` take. */
  device: Device;
  /** Whether tensors can live there in this process; if not, `reason` says why. */
  available: boolean;
  /** For people: the processor, the card, or the JavaScript engine; the device's own word where it is not available. */
  name: string;
  /** Why it is not available. */
  reason?: string;
}
