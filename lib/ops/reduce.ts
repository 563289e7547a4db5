// Reductions and scans along dimensions.
import { checkSizes, resolveDim, sizeOf, type Tensor, scoped } from '../core';
import { MAX_LIST, REDUCE_OPS, type ReduceOp } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import {
  checkFloat,
  checkTensor,
  emptyLike,
  needsFloat32,
  kernelsOf,
  statisticsDtype,
  toFloat32,
  takesBfloat16,
} from './kernel';
import { eq } from './compare';
import { affine, div, mul } from './elementwise';
import { clone, contiguous, expand, reshape, stack } from './view';

/** The three parts of a shape around dimensions [from, to). */
function around(x: Tensor, from: number, to: number): { outer: number; n: number; inner: number } {
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

function resolveDims(where: string, x: Tensor, dim: number | readonly number[] | undefined): number[] {
  const all = x.shape.map((_, i) => i);
  if (dim === undefined) return all;
  const dims = (typeof dim === 'number' ? [dim] : checkSizes(where, 'dim', dim, -x.ndim)).map((d) =>
    resolveDim(where, d, x.ndim),
  );
  return all.filter((i) => dims.includes(i));
}

/** Sums over dimensions (all by default); with keepdim they stay as size 1. Of int32 they wrap. */
export const sum = takesBfloat16((x: Tensor, dim?: number | readonly number[], keepdim = false): Tensor => {
  checkTensor('sum', 'x', x);
  const dims = resolveDims('sum', x, dim);
  // A result has memory of its own, also where there is nothing to add.
  let y = dims.length === 0 ? clone(x.detach()) : x.detach();
  for (let end = dims.length; end > 0;) {
    let start = end - 1;
    while (start > 0 && dims[start - 1] === dims[start] - 1) start--;
    y = reduceRun('sum', y, dims[start], dims[end - 1] + 1);
    end = start;
  }
  const kept = y.shape;
  const from = x.shape;
  const out = keepdim
    ? y
    : reshape(
        y,
        x.shape.filter((_, i) => !dims.includes(i)),
      );
  record('sum', [x], [out], [], ([g]) => [g && expand(reshape(g, kept), from)], 'composed');
  return out;
});

/** The arithmetic mean of floats; see `sum`. */
export const mean = scoped((x: Tensor, dim?: number | readonly number[], keepdim = false): Tensor => {
  checkFloat('mean', 'x', x);
  const count = resolveDims('mean', x, dim).reduce((n, d) => n * x.shape[d], 1);
  return affine(sum(x, dim, keepdim), 1 / count, 0);
});

function extreme(op: 'max' | 'min'): (x: Tensor, dim?: number, keepdim?: boolean) => Tensor {
  return takesBfloat16((x: Tensor, dim?: number, keepdim = false): Tensor => {
    checkTensor(op, 'x', x);
    const from = dim === undefined ? 0 : resolveDim(op, dim, x.ndim);
    const to = dim === undefined ? x.ndim : Math.min(from + 1, x.ndim);
    const y = reduceRun(op, x.detach(), from, to);
    const kept = y.shape;
    const out = keepdim ? y : reshape(y, [...x.shape.slice(0, from), ...x.shape.slice(to)]);
    const back: BackwardFunction = ([g], [sx, sy]) => {
      if (!g) return [null];
      const mask = eq(sx, sy).to(g.dtype);
      const share = div(mask, sum(mask, sx.shape.map((_, i) => i).slice(from, to), true));
      return [mul(share, reshape(g, kept))];
    };
    record(op, [x], [out], [x, y], back, 'composed');
    return out;
  });
}

/** The largest element of a dimension (of all by default); equal ones share the gradient. */
export const max = extreme('max');
/** The smallest element; see `max`. */
export const min = extreme('min');

/** Position (int32) of the first largest element of a dimension, the last one by default. */
export const argmax = takesBfloat16((x: Tensor, dim: number = -1): Tensor => {
  checkTensor('argmax', 'x', x);
  const d = resolveDim('argmax', dim, x.ndim);
  const y = emptyLike(
    x,
    x.shape.filter((_, i) => i !== d),
    'int32',
  );
  kernelsOf(x).argmax({ x: contiguous(x), y, ...around(x, d, d + 1) });
  return y;
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
