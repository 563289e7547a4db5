// The CUDA device: a graphics card, or the emulation of one that tests run kernels on.
import type { Device, Storage } from '../core';
import { guarded, NativeBackend, type Addon } from './native';

/** `index`: the card that FAST_WEIGHTS_CUDA_DEVICE names; `context`: a card that lets this process use it. */
export type MissingForCard = 'driver' | 'newer driver' | 'card' | 'index' | 'newer card' | 'context';

/** What the addon says of the card. */
export interface CardFacts {
  /** Why there is none to use, and what a machine lacks for it. */
  readonly reason?: string;
  readonly missing?: MissingForCard;
  /** Its number among those that CUDA_VISIBLE_DEVICES leaves. */
  readonly index: number;
  readonly name: string;
  /** Compute capability, such as 9.0. */
  readonly capability: string;
  readonly multiprocessors: number;
  /** Bytes. */
  readonly memory: number;
  /** Version of CUDA that the driver supports and that the addon was built with: 13000 is 13.0; 0 without a driver. */
  readonly driver: number;
  readonly runtime: number;
}

/** What multiplies matrices in a training step. */
export interface ProductLibrary {
  /** 'cublas 13.1', 'own' for the kernels that everything else is computed with, or 'none' where training would fail. */
  readonly library: string;
  /** Why it is 'own' or 'none'. */
  readonly libraryReason?: string;
}

/** What each card has: see native/binding/cuda/device.cc. */
export interface CardAddon extends Addon {
  library(): ProductLibrary;
  useCublas(on: boolean): void;
  /** Overwrites bytes of a block with those of another card's block, in the order of the queues of both. */
  copyFrom(to: number, byteOffset: number, card: number, from: number, fromOffset: number, bytes: number): void;
}

/** The addon itself, which is also its first card. */
export interface CudaAddon extends CardAddon {
  /** Every card, or one that says why there is none. */
  cards(): CardFacts[];
  /** One of them, after it was asked for a context. */
  card(at: number): CardFacts;
  /** The functions of another card. */
  open(at: number): CardAddon;
}

export class CudaBackend extends NativeBackend<CardAddon> {
  /** `at` is its position among the cards of `family`, the addon. */
  constructor(
    addon: CardAddon,
    private readonly at: number,
    device: Device,
    { name, capability }: CardFacts,
    private readonly family: CudaAddon,
  ) {
    super(addon, device, `${name} (compute capability ${capability})`, ['float32', 'bfloat16']);
  }

  /** Overwrites the beginning of a storage with `bytes` of another card's; false where that is no such card's. */
  copyFrom(to: Storage, from: Storage, fromOffset: number, bytes: number): boolean {
    const other = from.memory;
    if (!(other instanceof CudaBackend) || other.family !== this.family) return false;
    this.recorder?.break();
    const [target, source] = [to.handle as number, from.handle as number];
    guarded('to', () => this.addon.copyFrom(target, 0, other.at, source, fromOffset, bytes));
    return true;
  }

  /** Bytes of the card's memory that no program uses. */
  freeMemory(): number | undefined {
    return guarded('memoryUsage', () => this.addon.memoryUsage()).free;
  }

  /** What computes products of matrices in training; opens it to say so. */
  library(): ProductLibrary {
    return guarded('library', () => this.addon.library());
  }

  useProductLibrary(on: boolean): void {
    guarded('useProductLibrary', () => this.addon.useCublas(on));
  }

  /** The card has its own. */
  setNumThreads(): void {}
}
