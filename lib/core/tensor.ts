// The tensor: a strided view of a storage, with its place in the autograd graph. Every method that computes
// forwards to the operator table; this file knows no kernel.
import { Pace } from '../platform';
import { readable, type DType, isFloat, newArray, type ReadArray } from './dtype';
import { argumentError, describe, FastWeightsError } from './errors';
import {
  type BackwardOptions,
  type HookHandle,
  type Index,
  operators,
  type Sorted,
  type SortOptions,
  type TensorHook,
  type TopkOptions,
} from './operators';
import { give, introduceTensor, type Owner, scope, track } from './scope';
import { contiguousStrides, type Extent, formatShape, measure, resolveDim, type Shape, sizeOf } from './shape';
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

/** Nested lists of numbers, as `tolist()` gives and `tensor()` takes. */
export type NestedNumbers = number | NestedNumbers[];

const MOST_LISTS = 2 ** 26;

/** Of all that wait for data in this thread. */
const turns = new Pace();

export class Tensor implements Extent {
  readonly storage: Storage;
  readonly shape: readonly number[];
  /** In elements, like `offset`. */
  readonly strides: readonly number[];
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

  get dtype(): DType {
    return this.storage.dtype;
  }

  get device(): Device {
    return this.storage.memory.device;
  }

  get ndim(): number {
    return this.shape.length;
  }

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
    this.leafRequiresGrad = value;
  }

  /**
   * The gradient that `backward` adds into; only leaves of a graph get one. It belongs to its leaf, whoever set it: no scope
   * frees it, and it is freed with the leaf. One that was disposed is none.
   */
  get grad(): Tensor | null {
    return this.gradient?.disposed ? null : this.gradient;
  }

  set grad(value: Tensor | null) {
    if (value !== null && !(value instanceof Tensor)) {
      throw argumentError('INVALID_ARGUMENT', 'Tensor', 'grad', 'a Tensor or null', describe(value));
    }
    this.gradient = value?.persist() ?? null;
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
   * the last one was some milliseconds ago. bfloat16 reads as Float32Array.
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
    return this.isContiguous ? this : scope(() => operators().contiguous(this.detach()));
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

  /** @internal Another handle of the same value at the same place of the graph. */
  another(): Tensor {
    return operators().another(this);
  }

  /**
   * Adds the gradient of this tensor to `.grad` of every leaf of its graph. `gradient` is that of the tensor itself: 1 when it
   * has one element, else required, of its shape, dtype and device (SHAPE, DTYPE, DEVICE). The graph is freed on the way unless
   * `retainGraph`; one that was freed is GRAPH. With `createGraph` what is added is a result of the graph itself (see
   * `gradients`), and `.grad` holds its graph until it is disposed. After `torch.Tensor.backward`.
   */
  backward(gradient?: Tensor, options?: BackwardOptions): void {
    operators().backward(this, gradient, options);
  }

  /**
   * Calls `fn` with the gradient of this tensor, a leaf or a result, in every backward pass that computes one, when all of
   * its parts are added up and before anything is done with it: it goes on, into `.grad`, or is returned by `gradients`. A
   * tensor of the same shape, dtype and device that `fn` returns takes its place; it must not be changed in place (GRAPH).
   * `fn` runs without recording (unless `createGraph`), in the scope that `backward` was called in, which owns the
   * gradient it gets. When it throws, no `.grad` has changed. GRAPH where the tensor requires no gradient. After
   * `torch.Tensor.register_hook`.
   */
  registerHook(fn: TensorHook): HookHandle {
    return operators().registerHook(this, fn);
  }

  to(target: Device | DType): Tensor {
    return operators().to(this, target);
  }

  reshape(...shape: number[] | [readonly number[]]): Tensor {
    return operators().reshape(this, list(shape));
  }

  permute(...dims: number[] | [readonly number[]]): Tensor {
    return operators().permute(this, list(dims));
  }

  transpose(dim0: number, dim1: number): Tensor {
    const dims = this.shape.map((_, i) => i);
    const a = resolveDim('transpose', dim0, this.ndim);
    const b = resolveDim('transpose', dim1, this.ndim);
    if (a !== b) [dims[a], dims[b]] = [dims[b], dims[a]];
    return operators().permute(this, dims);
  }

  /** Elements `start` to `end` (exclusive) of one dimension, as a view; negative positions count from the end. */
  slice(dim: number, start: number, end?: number): Tensor {
    const d = resolveDim('slice', dim, this.ndim);
    return operators().slice(this, d, start, end ?? this.shape[d]);
  }

  expand(...shape: number[] | [readonly number[]]): Tensor {
    return operators().expand(this, list(shape));
  }

  squeeze(dim: number): Tensor {
    const d = resolveDim('squeeze', dim, this.ndim);
    return this.shape[d] === 1 ? this.reshape(this.shape.filter((_, i) => i !== d)) : this.another();
  }

  unsqueeze(dim: number): Tensor {
    const d = resolveDim('unsqueeze', dim, this.ndim + 1);
    return this.reshape([...this.shape.slice(0, d), 1, ...this.shape.slice(d)]);
  }

  contiguous(): Tensor {
    return operators().contiguous(this);
  }

  clone(): Tensor {
    return operators().clone(this);
  }

  add(other: Tensor | number): Tensor {
    return operators().add(this, other);
  }

  sub(other: Tensor | number): Tensor {
    return operators().sub(this, other);
  }

  mul(other: Tensor | number): Tensor {
    return operators().mul(this, other);
  }

  /** The quotient, float32 also for int32. */
  div(other: Tensor | number): Tensor {
    return operators().div(this, other);
  }

  /** The largest whole number not above the quotient; without a gradient. 0 where an int32 divisor is 0. */
  floorDivide(other: Tensor | number): Tensor {
    return operators().floorDivide(this, other);
  }

  /** What `floorDivide` leaves, of the sign of the divisor. 0 where an int32 divisor is 0. */
  remainder(other: Tensor | number): Tensor {
    return operators().remainder(this, other);
  }

  pow(exponent: Tensor | number): Tensor {
    return operators().pow(this, exponent);
  }

  maximum(other: Tensor | number): Tensor {
    return operators().maximum(this, other);
  }

  minimum(other: Tensor | number): Tensor {
    return operators().minimum(this, other);
  }

  /** The angle of the point (other, this), from -pi to pi; of floats. */
  atan2(other: Tensor | number): Tensor {
    return operators().atan2(this, other);
  }

  /** Whether equal, as bool; shapes broadcast, a number takes the dtype. Of NaN nothing holds but `ne`. */
  eq(other: Tensor | number): Tensor {
    return operators().eq(this, other);
  }

  /** Whether different, as bool. */
  ne(other: Tensor | number): Tensor {
    return operators().ne(this, other);
  }

  /** Whether less, as bool. */
  lt(other: Tensor | number): Tensor {
    return operators().lt(this, other);
  }

  /** Whether less or equal, as bool. */
  le(other: Tensor | number): Tensor {
    return operators().le(this, other);
  }

  /** Whether greater, as bool. */
  gt(other: Tensor | number): Tensor {
    return operators().gt(this, other);
  }

  /** Whether greater or equal, as bool. */
  ge(other: Tensor | number): Tensor {
    return operators().ge(this, other);
  }

  /** Whether neither is 0, as bool; shapes broadcast. */
  logicalAnd(other: Tensor): Tensor {
    return operators().logicalAnd(this, other);
  }

  /** Whether one is not 0, as bool; shapes broadcast. */
  logicalOr(other: Tensor): Tensor {
    return operators().logicalOr(this, other);
  }

  /** Whether exactly one is not 0, as bool; shapes broadcast. */
  logicalXor(other: Tensor): Tensor {
    return operators().logicalXor(this, other);
  }

  /** Whether 0, as bool. */
  logicalNot(): Tensor {
    return operators().logicalNot(this);
  }

  /** Whether NaN, as bool. */
  isnan(): Tensor {
    return operators().isnan(this);
  }

  /** Whether infinite, as bool. */
  isinf(): Tensor {
    return operators().isinf(this);
  }

  /** Whether neither infinite nor NaN, as bool. */
  isfinite(): Tensor {
    return operators().isfinite(this);
  }

  /** This with `value` where the mask (bool, broadcasting to this) holds; the gradient is 0 there. */
  maskedFill(mask: Tensor, value: number | boolean): Tensor {
    return operators().maskedFill(this, mask, value);
  }

  neg(): Tensor {
    return operators().neg(this);
  }

  exp(): Tensor {
    return operators().exp(this);
  }

  log(): Tensor {
    return operators().log(this);
  }

  sqrt(): Tensor {
    return operators().sqrt(this);
  }

  rsqrt(): Tensor {
    return operators().rsqrt(this);
  }

  reciprocal(): Tensor {
    return operators().reciprocal(this);
  }

  abs(): Tensor {
    return operators().abs(this);
  }

  square(): Tensor {
    return operators().square(this);
  }

  sin(): Tensor {
    return operators().sin(this);
  }

  cos(): Tensor {
    return operators().cos(this);
  }

  tanh(): Tensor {
    return operators().tanh(this);
  }

  sigmoid(): Tensor {
    return operators().sigmoid(this);
  }

  logSigmoid(): Tensor {
    return operators().logSigmoid(this);
  }

  silu(): Tensor {
    return operators().silu(this);
  }

  gelu(approximate?: 'none' | 'tanh'): Tensor {
    return operators().gelu(this, approximate);
  }

  softplus(): Tensor {
    return operators().softplus(this);
  }

  relu(): Tensor {
    return operators().relu(this);
  }

  /** log(1 + x), accurate near 0. */
  log1p(): Tensor {
    return operators().log1p(this);
  }

  /** e^x - 1, accurate near 0. */
  expm1(): Tensor {
    return operators().expm1(this);
  }

  /** The error function. */
  erf(): Tensor {
    return operators().erf(this);
  }

  /** The largest whole number not above; gradient 0, like those of `ceil`, `round`, `trunc` and `sign`. */
  floor(): Tensor {
    return operators().floor(this);
  }

  /** The smallest whole number not below. */
  ceil(): Tensor {
    return operators().ceil(this);
  }

  /** The nearest whole number, of two the even one. */
  round(): Tensor {
    return operators().round(this);
  }

  /** The nearest whole number towards zero. */
  trunc(): Tensor {
    return operators().trunc(this);
  }

  /** -1, 0 or 1; NaN stays. */
  sign(): Tensor {
    return operators().sign(this);
  }

  /** ELU + 1: x + 1 above 0, else e^x. */
  elu1(): Tensor {
    return operators().elu1(this);
  }

  clamp(min: number, max?: number): Tensor {
    return operators().clamp(this, min, max);
  }

  matmul(other: Tensor): Tensor {
    return operators().matmul(this, other);
  }

  sum(dim?: number | readonly number[], keepdim?: boolean): Tensor {
    return operators().sum(this, dim, keepdim);
  }

  mean(dim?: number | readonly number[], keepdim?: boolean): Tensor {
    return operators().mean(this, dim, keepdim);
  }

  max(dim?: number, keepdim?: boolean): Tensor {
    return operators().max(this, dim, keepdim);
  }

  min(dim?: number, keepdim?: boolean): Tensor {
    return operators().min(this, dim, keepdim);
  }

  argmax(dim?: number): Tensor {
    return operators().argmax(this, dim);
  }

  cumsum(dim: number): Tensor {
    return operators().cumsum(this, dim);
  }

  /** Running product of floats along a dimension. */
  cumprod(dim: number): Tensor {
    return operators().cumprod(this, dim);
  }

  /** log of the running sum of e^x along a dimension, without overflow. */
  logcumsumexp(dim: number): Tensor {
    return operators().logcumsumexp(this, dim);
  }

  /** y[i, j, k] = this[i, index[i, j, k], k] for dim 1, and so on; the index is int32 and gives the shape. */
  gather(dim: number, index: Tensor): Tensor {
    return operators().gather(this, dim, index);
  }

  /** A copy to which `source` is added where the index (int32) says, the opposite of `gather`. */
  scatterAdd(dim: number, index: Tensor, source: Tensor): Tensor {
    return operators().scatterAdd(this, dim, index, source);
  }

  /** The positions `index` (int32 [n]) of one dimension, side by side. */
  indexSelect(dim: number, index: Tensor): Tensor {
    return operators().indexSelect(this, dim, index);
  }

  /** Elements start to start + length of one dimension, as a view. */
  narrow(dim: number, start: number, length: number): Tensor {
    return operators().narrow(this, dim, start, length);
  }

  /** One position of a dimension, which goes; a view. Negative ones count from the end. */
  select(dim: number, position: number): Tensor {
    return operators().select(this, dim, position);
  }

  /** Indices (int32 [n, rank]) of what is not 0, in row-major order. Blocks, since it reads the tensor. */
  nonzero(): Tensor {
    return operators().nonzero(this);
  }

  /** The elements [n] where the mask (bool, of this shape) holds, in row-major order. Blocks, since it reads the mask. */
  maskedSelect(mask: Tensor): Tensor {
    return operators().maskedSelect(this, mask);
  }

  /** An item for each of the first dimensions: a number takes one position, a pair a range, a tensor (int32 or bool) positions, null all. */
  index(...items: readonly Index[]): Tensor {
    return operators().index(this, ...items);
  }

  /** The positions (int32) that sort a dimension; stable, NaN is the largest. */
  argsort(options?: SortOptions): Tensor {
    return operators().argsort(this, options);
  }

  /** A dimension in order, and where its elements stood (int32); stable, NaN is the largest. */
  sort(options?: SortOptions): Sorted {
    return operators().sort(this, options);
  }

  /** The k largest, or smallest, elements of a dimension in order, and where they stood (int32). */
  topk(k: number, options?: TopkOptions): Sorted {
    return operators().topk(this, k, options);
  }

  softmax(dim?: number): Tensor {
    return operators().softmax(this, dim);
  }

  logSoftmax(dim?: number): Tensor {
    return operators().logSoftmax(this, dim);
  }

  /** In place; only under `noGrad`. */
  add_(other: Tensor | number): Tensor {
    return operators().addInPlace(this, other);
  }

  /** In place; only under `noGrad`. */
  mul_(other: Tensor | number): Tensor {
    return operators().mulInPlace(this, other);
  }

  /** In place; only under `noGrad`. */
  copy_(other: Tensor): Tensor {
    return operators().copyInPlace(this, other);
  }

  /** In place; only under `noGrad`. */
  fill_(value: number): Tensor {
    return operators().fillInPlace(this, value);
  }

  toString(): string {
    return `Tensor(${formatShape(this.shape)}, ${this.dtype}, ${this.device})`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
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

function list(args: number[] | [readonly number[]]): readonly number[] {
  return args.length === 1 && typeof args[0] !== 'number' ? args[0] : (args as number[]);
}
