// Sums, products and means along dimensions, and what all reductions share.
import { checkSizes, type Dims, resolveDim, sizeOf, type Tensor, scoped } from '../core';
import { MAX_LIST, REDUCE_OPS, type ReduceOp } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import {
  checkFloat,
  checkTensor,
  computesInFloat32,
  emptyLike,
  needsFloat32,
  kernelsOf,
  statisticsDtype,
  toFloat32,
  takesBfloat16,
} from './kernel';
import { affine, mul } from './elementwise';
import { exclusiveProducts } from './scan';
import { to } from './cast';
import { stack } from './join';
import { clone, contiguous, expand, reshape } from './view';

/** The three parts of a shape around dimensions [from, to). */
export function around(x: Tensor, from: number, to: number): { outer: number; n: number; inner: number } {
  return {
    outer: sizeOf(x.shape.slice(0, from)),
    n: sizeOf(x.shape.slice(from, to)),
    inner: sizeOf(x.shape.slice(to)),
  };
}

/** Neighbouring dimensions [from, to) become one of size 1. Off the tape. */
function reduceRun(op: ReduceOp, x: Tensor, from: number, to: number): Tensor {
  const shape = [...x.shape.slice(0, from), ...new Array<number>(to - from).fill(1), ...x.shape.slice(to)];
  const y = emptyLike(x, shape);
  kernelsOf(x).reduce({ x: contiguous(x), y, ...around(x, from, to), op: REDUCE_OPS.indexOf(op) });
  return y;
}

/** Requires dimensions, all of them where none are given, and puts them in order. */
export function resolveDims(where: string, x: Tensor, dim: Dims | undefined): number[] {
  const all = x.shape.map((_, i) => i);
  if (dim === undefined) return all;
  const dims = (typeof dim === 'number' ? [dim] : checkSizes(where, 'dim', dim, -x.ndim)).map((d) =>
    resolveDim(where, d, x.ndim),
  );
  return all.filter((i) => dims.includes(i));
}

/** Dimensions, in order, become size 1, those side by side in one go. Memory of its own, also where there is none; off the tape. */
export function reduceDims(op: ReduceOp, x: Tensor, dims: readonly number[]): Tensor {
  let y = dims.length === 0 ? clone(x.detach()) : x.detach();
  for (let end = dims.length; end > 0;) {
    let start = end - 1;
    while (start > 0 && dims[start - 1] === dims[start] - 1) start--;
    y = reduceRun(op, y, dims[start], dims[end - 1] + 1);
    end = start;
  }
  return y;
}

/** A reduced tensor without the dimensions of size 1, unless they stay. */
export function dropDims(y: Tensor, dims: readonly number[], keepdim: boolean): Tensor {
  return keepdim
    ? y
    : reshape(
        y,
        y.shape.filter((_, i) => !dims.includes(i)),
      );
}

/** Sums over dimensions (all by default); with keepdim they stay as size 1. Of int32 they wrap, of bool they count in int32. */
export const sum = takesBfloat16((given: Tensor, dim?: Dims, keepdim: boolean = false): Tensor => {
  checkTensor('sum', 'x', given);
  const x = given.dtype === 'bool' ? to(given, 'int32') : given;
  const dims = resolveDims('sum', x, dim);
  const y = reduceDims('sum', x, dims);
  const kept = y.shape;
  const from = x.shape;
  const out = dropDims(y, dims, keepdim);
  record('sum', [x], [out], [], ([g]) => [g && expand(reshape(g, kept), from)], 'composed');
  return out;
});

/** The arithmetic mean of floats; see `sum`. */
export const mean = scoped((x: Tensor, dim?: Dims, keepdim: boolean = false): Tensor => {
  checkFloat('mean', 'x', x);
  const count = resolveDims('mean', x, dim).reduce((n, d) => n * x.shape[d], 1);
  return affine(sum(x, dim, keepdim), 1 / count, 0);
});

/** The product of a dimension, or of all elements; its gradient is right at zeros, too. Of int32 it wraps, of bool it is int32. */
export const prod = computesInFloat32((given: Tensor, dim?: number, keepdim: boolean = false): Tensor => {
  checkTensor('prod', 'x', given);
  const x = given.dtype === 'bool' ? to(given, 'int32') : given;
  const dims = dim === undefined ? resolveDims('prod', x, undefined) : [resolveDim('prod', dim, x.ndim)];
  const y = reduceDims('prod', x, x.ndim === 0 ? [] : dims);
  const kept = y.shape;
  const out = dropDims(y, dims, keepdim);
  const back: BackwardFunction = ([g], [sx]) => {
    if (!g) return [null];
    const others =
      dim === undefined
        ? reshape(exclusiveProducts(reshape(sx, [sx.size]), 0), sx.shape)
        : exclusiveProducts(sx, dims[0]);
    return [mul(others, reshape(g, kept))];
  };
  record('prod', [x], [out], [x], back, 'composed');
  return out;
});

/** Sum of squares of all elements of some tensors of one device, shape [1], off the tape: for gradient norms. */
export const sumSquares = scoped((tensors: readonly Tensor[]): Tensor => {
  tensors.forEach((t) => checkTensor('sumSquares', 'tensors', t));
  const sources = tensors.map((t) => contiguous(needsFloat32(t) ? toFloat32(t) : t));
  const parts = chunks(sources, MAX_LIST).map((x) => {
    const y = emptyLike(x[0], [1], statisticsDtype(x[0]));
    kernelsOf(y).sumSquares({ x, y });
    return y;
  });
  return parts.length === 1 ? parts[0] : sum(stack(parts)).reshape(1);
});

/** Pieces of at most `size` items. */
export function chunks<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
