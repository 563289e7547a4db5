// The CUDA device: a graphics card, or the emulation of one that tests run kernels on.
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

/** The surface of native/binding/cuda/device.cc. */
export interface CudaAddon extends Addon {
  card(): CardFacts;
  library(): ProductLibrary;
  useCublas(on: boolean): void;
}

export class CudaBackend extends NativeBackend<CudaAddon> {
  constructor(addon: CudaAddon, device: 'cuda' | 'cuda-emulation', { name, capability }: CardFacts) {
    super(addon, device, `${name} (compute capability ${capability})`, ['float32', 'bfloat16']);
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
