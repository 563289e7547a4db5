// The tensor: a strided view of a storage, with its place in the autograd graph. What computes stands in methods/, whose
// types are part of the class; this file knows no kernel.
import { Pace } from '../platform';
import { readable, type DType, isFloat, newArray, type ReadArray } from './dtype';
import { argumentError, describe, FastWeightsError } from './errors';
import type { Operators, TensorMethods } from './methods';
import { printTensor, summary } from './print';
import { give, introduceTensor, type Owner, scope, track } from './scope';
import { contiguousStrides, type Extent, formatShape, measure, type Shape, sizeOf } from './shape';
import type { Device, Storage } from './storage';

/** A node of the autograd graph, as far as a tensor needs to know it. */
export interface GraphNode {
  readonly name: string;
  /** One more tensor or node refers to this one. */
  retain(): void;
  /** One fewer does; at none the node lets go of what it saved. */
  release(): void;
  /** What it and the nodes before it saved is freed when nothing reaches them any more, too. */
  leaveToCollector(): void;
}

/** Nested lists of numbers, as `tolist()` gives. */
export type NestedNumbers = number | NestedNumbers[];

const MOST_LISTS = 2 ** 26;

/** Of all that wait for data in this thread. */
const turns = new Pace();

/**
 * Numbers, or truth values, in the memory of a device: a view of a storage by shape, strides and offset. Functions such as
 * `tensor`, `zeros` and `randn` make one. Operators return tensors of their own and record what their gradients need where
 * `requiresGrad` says so.
 */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging -- every method of the interface is an operator
export class Tensor implements Extent {
  /** The memory that this tensor, and others, are views of. */
  readonly storage: Storage;
  /** The size of each dimension. */
  readonly shape: readonly number[];
  /** From one position of a dimension to the next, in elements. */
  readonly strides: readonly number[];
  /** Of the first element in the storage, in elements. */
  readonly offset: number;
  readonly size: number = 0;
  readonly reach: number = 0;
  readonly isContiguous: boolean = true;
  /** @internal Set while the tensor is the result of a recorded operator. */
  node: GraphNode | null = null;
  /** @internal Which output of the node this tensor is. */
  nodeOutput = 0;
  /** @internal The scope that frees it; null for what lives until it is disposed or unreachable. */
  owner: Owner | null = null;
  private leafRequiresGrad = false;
  private gradient: Tensor | null = null;
  private disposed = false;

  /** @internal Use `tensor`, `zeros`, ... to make one. No tensor reaches outside its storage. */
  constructor(storage: Storage, shape: Shape, strides: Shape = contiguousStrides(shape), offset = 0) {
    measure(this, shape, strides, offset, storage.length);
    this.storage = storage;
    this.shape = shape;
    this.strides = strides;
    this.offset = offset;
    storage.retain();
    track(this);
  }

  /** What an element is. */
  get dtype(): DType {
    return this.storage.dtype;
  }

  /** Where the memory is. */
  get device(): Device {
    return this.storage.memory.device;
  }

  /** The number of dimensions. */
  get ndim(): number {
    return this.shape.length;
  }

  /** The number of elements, like `size`. */
  numel(): number {
    return this.size;
  }

  /** Whether its memory was let go of by hand or by a scope. */
  get isDisposed(): boolean {
    return this.disposed;
  }

  /** Whether gradients flow to this tensor; settable on leaves. */
  get requiresGrad(): boolean {
    return this.leafRequiresGrad || this.node !== null;
  }

  set requiresGrad(value: boolean) {
    if (this.node) {
      throw new FastWeightsError('GRAPH', 'requiresGrad: only leaves can be changed; use detach() on a result');
    }
    if (value && !isFloat(this.dtype)) {
      throw new FastWeightsError('DTYPE', `requiresGrad: ${this.dtype} tensors have no gradient`, {
        argument: 'requiresGrad',
        expected: 'a floating-point dtype',
        found: this.dtype,
      });
    }
    if (typeof value !== 'boolean') {
      throw argumentError('INVALID_ARGUMENT', 'Tensor', 'requiresGrad', 'true or false', describe(value));
    }
    this.leafRequiresGrad = value;
  }

  /**
   * The gradient that `backward` adds into; only leaves of a graph get one. It belongs to its leaf, whoever set it: no scope
   * frees it, and it is freed with the leaf. One that another, or null, takes the place of belongs to the scope of that moment.
   * One that was disposed is none.
   */
  get grad(): Tensor | null {
    return this.gradient?.disposed ? null : this.gradient;
  }

  set grad(value: Tensor | null) {
    if (value !== null && !(value instanceof Tensor)) {
      throw argumentError('INVALID_ARGUMENT', 'Tensor', 'grad', 'a Tensor or null', describe(value));
    }
    const before = this.gradient;
    this.gradient = value?.persist() ?? null;
    // Nobody else may hold on to it: the scope of now frees it, as if it had been made here.
    if (before && before !== value && !before.disposed && before.owner === null) track(before);
  }

  /** Throws DISPOSED when the tensor was freed. */
  checkAlive(where: string): void {
    if (this.disposed) {
      throw new FastWeightsError(
        'DISPOSED',
        `${where}: a tensor of shape ${formatShape(this.shape)} was used after it was disposed`,
        {
          found: 'a disposed tensor',
        },
      );
    }
  }

  /** Lets go of the memory, and of `.grad`. Views and the tape keep theirs; calling it twice is harmless. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    if (this.gradient) {
      this.gradient.dispose();
      this.gradient = null;
    }
    this.storage.release();
    this.node?.release();
    this.node = null;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * The elements in row-major order, without blocking the event loop; timers, signals and other tasks get their turn where
   * the last one was some milliseconds ago. bfloat16 reads as Float32Array, bool as Uint8Array of 0 and 1.
   */
  async data(): Promise<ReadArray> {
    const source = this.packed();
    try {
      const out = newArray(this.dtype, this.size);
      await source.storage.memory.readAsync(source.storage.handle, source.offset, out);
      await turns.rest();
      return readable(this.dtype, out);
    } finally {
      if (source !== this) source.dispose();
    }
  }

  /** Like `data`, blocking. */
  dataSync(): ReadArray {
    const source = this.packed();
    try {
      const out = newArray(this.dtype, this.size);
      source.storage.memory.read(source.storage.handle, source.offset, out);
      return readable(this.dtype, out);
    } finally {
      if (source !== this) source.dispose();
    }
  }

  private packed(): Tensor {
    this.checkAlive('data');
    return this.isContiguous ? this : scope(() => this.detach().contiguous());
  }

  /** The value of a tensor with one element. */
  item(): number {
    if (this.size !== 1) {
      throw new FastWeightsError(
        'SHAPE',
        `item: the tensor must have one element, got shape ${formatShape(this.shape)}`,
        {
          expected: 'one element',
          found: formatShape(this.shape),
        },
      );
    }
    return this.dataSync()[0];
  }

  /** The elements as nested lists, a number where there is no dimension; of bool 0 and 1. Blocks. */
  tolist(): NestedNumbers {
    checkLists(this.shape);
    const data = this.dataSync();
    const nest = (dim: number, at: number): NestedNumbers => {
      if (dim === this.ndim) return data[at];
      const step = sizeOf(this.shape.slice(dim + 1));
      return Array.from({ length: this.shape[dim] }, (_, i) => nest(dim + 1, at + i * step));
    };
    return nest(0, 0);
  }

  /** The same memory outside the graph. */
  detach(): Tensor {
    this.checkAlive('detach');
    return new Tensor(this.storage, this.shape, this.strides, this.offset);
  }

  /**
   * @internal Lays the tensor on other memory, of the same number of elements: the object, its shape and
   * `requiresGrad` stay, views made before keep the memory they have. A cast counts as a change of the values.
   */
  moveTo(storage: Storage): void {
    this.checkAlive('moveTo');
    if (this.node) throw new FastWeightsError('GRAPH', 'moveTo: only leaves can be moved, not results');
    const before = this.storage;
    storage.version = before.version + Number(storage.dtype !== before.dtype);
    storage.retain();
    (this as { storage: Storage }).storage = storage;
    if (this.owner === null) storage.leaveToCollector();
    before.release();
  }

  /** @internal Takes the tensor out of every scope: it is owned by a module, an optimiser or as a `.grad`. */
  persist(): this {
    if (this.owner) give(this, null);
    return this;
  }

  /** The values as NumPy prints them, with `...` in place of most of more than 1000; reading them blocks. Never throws. */
  toString(): string {
    return printTensor(this);
  }

  /** What `console.log` shows: the values, or one line where the tensor stands deep inside something else. */
  [Symbol.for('nodejs.util.inspect.custom')](depth: number, options: { depth?: number | null }): string {
    return typeof options?.depth === 'number' && options.depth - depth > 1 ? summary(this) : this.toString();
  }

  /** JSON holds no tensor: refused, so that nobody takes the inside of one for its values. */
  toJSON(): never {
    throw argumentError(
      'UNSUPPORTED',
      'JSON.stringify',
      'tensor',
      'turned into numbers: tolist() or await data()',
      summary(this),
    );
  }
}

/** Every method that computes; the operators bring them when the package root loads. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging, @typescript-eslint/no-empty-object-type
export interface Tensor extends TensorMethods {}

/** @internal Gives the class its methods that compute. */
export function installOperators(operators: Operators): void {
  for (const [name, operator] of Object.entries(operators) as [string, (...args: unknown[]) => unknown][]) {
    const value = {
      [name](this: Tensor, ...args: unknown[]): unknown {
        return operator(this, ...args);
      },
    }[name];
    Object.defineProperty(Tensor.prototype, name, { value, writable: true, configurable: true });
  }
}

/** Lists that hold nothing take memory, too. */
function checkLists(shape: Shape): void {
  const end = shape.indexOf(0);
  const lists = sizeOf(end < 0 ? [] : shape.slice(0, end));
  if (lists > MOST_LISTS) {
    throw argumentError('UNSUPPORTED', 'tolist', 'shape', `of at most ${MOST_LISTS} empty lists`, formatShape(shape));
  }
}

introduceTensor(
  (value): value is Tensor => value instanceof Tensor,
  (tensor) => tensor.another(),
);
