// The table that Tensor's methods call. Only its type stands here; `ops/` fills it when the package root loads.
import type { DType } from './dtype';
import type { Device } from './storage';
import type { Tensor } from './tensor';

/** What stands for one dimension of `index`: a position, a range, positions or a mask, or null for all of it. */
export type Index = number | readonly [start: number, end: number] | Tensor | null;

/** Along which dimension to sort, and from which end. */
export interface SortOptions {
  /** The last one by default. */
  dim?: number;
  /** false by default. */
  descending?: boolean;
}

/** What `topk` takes beside k. */
export interface TopkOptions {
  /** The last one by default. */
  dim?: number;
  /** Whether the largest, true by default, or the smallest. */
  largest?: boolean;
}

/** Values in order, and where they stood (int32). */
export interface Sorted {
  values: Tensor;
  indices: Tensor;
}

export type Unary = (x: Tensor) => Tensor;
export type Binary = (a: Tensor, b: Tensor | number) => Tensor;

/** Gets a gradient; may return another of the same shape, dtype and device to go on with. */
export type TensorHook = (gradient: Tensor) => Tensor | null | undefined | void;

/** What takes a hook away again. */
export interface HookHandle {
  /** The hook runs no more; calling it twice is harmless. */
  remove(): void;
}

/** Options of `backward`. */
export interface BackwardOptions {
  /** Keeps the graph, so that another pass may run through it; `createGraph` by default. */
  retainGraph?: boolean;
  /** Makes the gradients results of the graph themselves, for gradients of gradients; false by default. */
  createGraph?: boolean;
}

/** Every operator that a Tensor method forwards to. */
export interface Operators {
  add: Binary;
  sub: Binary;
  mul: Binary;
  div: Binary;
  pow: Binary;
  floorDivide: Binary;
  remainder: Binary;
  maximum: Binary;
  minimum: Binary;
  atan2: Binary;
  eq: Binary;
  ne: Binary;
  lt: Binary;
  le: Binary;
  gt: Binary;
  ge: Binary;
  logicalAnd(a: Tensor, b: Tensor): Tensor;
  logicalOr(a: Tensor, b: Tensor): Tensor;
  logicalXor(a: Tensor, b: Tensor): Tensor;
  logicalNot: Unary;
  isnan: Unary;
  isinf: Unary;
  isfinite: Unary;
  maskedFill(x: Tensor, mask: Tensor, value: number | boolean): Tensor;
  neg: Unary;
  exp: Unary;
  log: Unary;
  sqrt: Unary;
  rsqrt: Unary;
  reciprocal: Unary;
  abs: Unary;
  square: Unary;
  sin: Unary;
  cos: Unary;
  tanh: Unary;
  sigmoid: Unary;
  logSigmoid: Unary;
  silu: Unary;
  relu: Unary;
  softplus: Unary;
  elu1: Unary;
  gelu(x: Tensor, approximate?: 'none' | 'tanh'): Tensor;
  log1p: Unary;
  expm1: Unary;
  erf: Unary;
  floor: Unary;
  ceil: Unary;
  round: Unary;
  trunc: Unary;
  sign: Unary;
  clamp(x: Tensor, min: number, max?: number): Tensor;
  matmul(a: Tensor, b: Tensor): Tensor;
  sum(x: Tensor, dim?: number | readonly number[], keepdim?: boolean): Tensor;
  mean(x: Tensor, dim?: number | readonly number[], keepdim?: boolean): Tensor;
  max(x: Tensor, dim?: number, keepdim?: boolean): Tensor;
  min(x: Tensor, dim?: number, keepdim?: boolean): Tensor;
  argmax(x: Tensor, dim?: number): Tensor;
  cumsum(x: Tensor, dim: number): Tensor;
  cumprod(x: Tensor, dim: number): Tensor;
  logcumsumexp(x: Tensor, dim: number): Tensor;
  gather(x: Tensor, dim: number, index: Tensor): Tensor;
  scatterAdd(x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor;
  indexSelect(x: Tensor, dim: number, index: Tensor): Tensor;
  narrow(x: Tensor, dim: number, start: number, length: number): Tensor;
  select(x: Tensor, dim: number, position: number): Tensor;
  nonzero: Unary;
  maskedSelect(x: Tensor, mask: Tensor): Tensor;
  index(x: Tensor, ...items: readonly Index[]): Tensor;
  argsort(x: Tensor, options?: SortOptions): Tensor;
  sort(x: Tensor, options?: SortOptions): Sorted;
  topk(x: Tensor, k: number, options?: TopkOptions): Sorted;
  softmax(x: Tensor, dim?: number): Tensor;
  logSoftmax(x: Tensor, dim?: number): Tensor;
  reshape(x: Tensor, shape: readonly number[]): Tensor;
  permute(x: Tensor, dims: readonly number[]): Tensor;
  slice(x: Tensor, dim: number, start: number, end: number): Tensor;
  expand(x: Tensor, shape: readonly number[]): Tensor;
  /** Another handle. */
  another: Unary;
  contiguous: Unary;
  clone: Unary;
  to(x: Tensor, target: Device | DType): Tensor;
  addInPlace(x: Tensor, y: Tensor | number): Tensor;
  mulInPlace(x: Tensor, y: Tensor | number): Tensor;
  copyInPlace(x: Tensor, y: Tensor): Tensor;
  fillInPlace(x: Tensor, value: number): Tensor;
  backward(x: Tensor, gradient?: Tensor, options?: BackwardOptions): void;
  registerHook(x: Tensor, fn: TensorHook): HookHandle;
}

let table: Operators | undefined;

export function installOperators(operators: Operators): void {
  table = operators;
}

export function operators(): Operators {
  return table!;
}
