// The table that Tensor's methods call. Only its type stands here; `ops/` fills it when the package root loads.
import type { DType } from './dtype';
import type { Device } from './storage';
import type { Tensor } from './tensor';

export type Unary = (x: Tensor) => Tensor;
export type Binary = (a: Tensor, b: Tensor | number) => Tensor;

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
  eq: Binary;
  lt: Binary;
  gt: Binary;
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
  gelu(x: Tensor, approximate?: 'none' | 'tanh'): Tensor;
  clamp(x: Tensor, min: number, max: number): Tensor;
  matmul(a: Tensor, b: Tensor): Tensor;
  sum(x: Tensor, dim?: number | readonly number[], keepdim?: boolean): Tensor;
  mean(x: Tensor, dim?: number | readonly number[], keepdim?: boolean): Tensor;
  max(x: Tensor, dim?: number, keepdim?: boolean): Tensor;
  min(x: Tensor, dim?: number, keepdim?: boolean): Tensor;
  argmax(x: Tensor, dim?: number): Tensor;
  cumsum(x: Tensor, dim: number): Tensor;
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
  backward(x: Tensor, gradient?: Tensor, options?: { retainGraph?: boolean }): void;
}

let table: Operators | undefined;

export function installOperators(operators: Operators): void {
  table = operators;
}

export function operators(): Operators {
  return table!;
}
