// Largest and smallest elements, where they stand, and the one in the middle.
import { argumentError, type Dims, formatShape, resolveDim, scoped, type Sorted, type Tensor } from '../core';
import { type BackwardFunction, record } from '../autograd';
import { checkTensor, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { eq, isnan, where } from './compare';
import { div, mul, neg, sub } from './elementwise';
import { gather } from './indexing';
import { around, dropDims, reduceDims, resolveDims, sum } from './reduce';
import { argsort } from './sort';
import { to } from './cast';
import { contiguous, reshape, slice } from './view';

function extreme(op: 'max' | 'min'): (x: Tensor, dim?: Dims, keepdim?: boolean) => Tensor {
  const overNumbers = takesBfloat16((x: Tensor, dim?: Dims, keepdim: boolean = false): Tensor => {
    checkTensor(op, 'x', x);
    const dims = resolveDims(op, x, dim);
    const y = reduceDims(op, x, dims);
    const kept = y.shape;
    const out = dropDims(y, dims, keepdim);
    const back: BackwardFunction = ([g], [sx, sy]) => {
      if (!g) return [null];
      const mask = eq(sx, sy).to(g.dtype);
      const share = div(mask, sum(mask, dims, true));
      return [mul(share, reshape(g, kept))];
    };
    record(op, [x], [out], [x, y], back, 'composed');
    return out;
  });
  return scoped((x, dim, keepdim) => {
    checkTensor(op, 'x', x);
    return x.dtype === 'bool' ? to(overNumbers(to(x, 'int32'), dim, keepdim), 'bool') : overNumbers(x, dim, keepdim);
  });
}

/** The largest element of a dimension, or of several (all by default); equal ones share the gradient. NaN where one is NaN. */
export const max = extreme('max');
/** The smallest element; see `max`. */
export const min = extreme('min');

const place = takesBfloat16((x: Tensor, d: number, keepdim: boolean): Tensor => {
  const shape = keepdim ? x.shape.map((n, i) => (i === d ? 1 : n)) : x.shape.filter((_, i) => i !== d);
  const y = emptyLike(x, shape, 'int32');
  kernelsOf(x).argmax({ x: contiguous(x), y, ...around(x, d, d + 1) });
  return y;
});

/** Numbers in the opposite order; of NaN, which counts as the largest either way, NaN. -1 - x stays in int32's range. */
function opposite(x: Tensor): Tensor {
  return x.dtype === 'int32' ? sub(-1, x) : neg(x);
}

const numbers = (x: Tensor): Tensor => (x.dtype === 'bool' ? to(x, 'int32') : x.detach());

/** Position (int32) of the first largest element of a dimension, the last one by default; of a NaN where there is one. */
export const argmax = scoped((x: Tensor, dim: number = -1, keepdim: boolean = false): Tensor => {
  checkTensor('argmax', 'x', x);
  return place(numbers(x), resolveDim('argmax', dim, x.ndim), keepdim);
});

/** Position (int32) of the first smallest element; see `argmax`. */
export const argmin = scoped((x: Tensor, dim: number = -1, keepdim: boolean = false): Tensor => {
  checkTensor('argmin', 'x', x);
  return place(opposite(numbers(x)), resolveDim('argmin', dim, x.ndim), keepdim);
});

function withIndices(name: string, arg: typeof argmax): (x: Tensor, dim: number, keepdim?: boolean) => Sorted {
  return scoped((x: Tensor, dim: number, keepdim: boolean = false): Sorted => {
    checkTensor(name, 'x', x);
    const d = resolveDim(name, dim, x.ndim);
    if (x.shape[d] === 0) throw argumentError('SHAPE', name, 'x', `with elements along dim ${d}`, formatShape(x.shape));
    const indices = x.ndim === 0 ? arg(x) : arg(x, d, true);
    const values = gather(x, d, indices);
    return { values: dropDims(values, [d], keepdim), indices: dropDims(indices, [d], keepdim) };
  });
}

/** The largest element of a dimension and its first position (int32); the gradient goes there alone. `torch.max(x, dim)`. */
export const maxWithIndices = withIndices('maxWithIndices', argmax);
/** The smallest element of a dimension and its first position (int32). `torch.min(x, dim)`. */
export const minWithIndices = withIndices('minWithIndices', argmin);

/**
 * The middle of the order of a dimension, or of all elements: of two the lower one, of which the first gets the gradient; NaN
 * where one is NaN. Values only: PyTorch's `median(dim)` gives their positions, too.
 */
export const median = scoped((x: Tensor, dim?: number, keepdim: boolean = false): Tensor => {
  checkTensor('median', 'x', x);
  if (dim === undefined) {
    const y = median(reshape(x, [x.size]), 0);
    return keepdim
      ? reshape(
          y,
          x.shape.map(() => 1),
        )
      : y;
  }
  const d = resolveDim('median', dim, x.ndim);
  const n = x.shape[d] ?? 1;
  if (n === 0) throw argumentError('SHAPE', 'median', 'x', `with elements along dim ${d}`, formatShape(x.shape));
  if (x.ndim === 0) return x;
  const order = argsort(x, { dim: d });
  const middle = (n - 1) >> 1;
  // NaN is the last of the order.
  const last = slice(order, d, n - 1, n);
  const at = where(isnan(gather(x.detach(), d, last)), last, slice(order, d, middle, middle + 1));
  return dropDims(gather(x, d, at), [d], keepdim);
});
