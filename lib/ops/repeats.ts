// Copies that repeat elements, turn them round or move them along.
import {
  argumentError,
  checkInteger,
  checkSizes,
  countElements,
  describe,
  formatShape,
  resolveDim,
  scoped,
  type Shape,
  Tensor,
} from '../core';
import { checkIndices, checkTensor, emptyLike } from './kernel';
import { indexSelect } from './indexing';
import { checkDims, flatten } from './shapes';
import { cat } from './join';
import { clone, expand, reshape, slice } from './view';

/** An int32 tensor [n] beside `x`. */
export function positionsBeside(x: Tensor, values: Int32Array): Tensor {
  const index = emptyLike(x, [values.length], 'int32');
  if (values.length > 0) index.storage.memory.write(index.storage.handle, 0, values);
  return index;
}

function repeated(where: string, x: Tensor, times: readonly number[]): Tensor {
  const own = [...new Array<number>(times.length - x.ndim).fill(1), ...x.shape];
  const target = countedShape(
    where,
    own.map((n, d) => n * times[d]),
  );
  // Dimensions that stay need none of their own in the strided copy.
  const shape = own.flatMap((n, d) => (times[d] === 1 ? [n] : [1, n]));
  const wide = own.flatMap((n, d) => (times[d] === 1 ? [n] : [times[d], n]));
  const y = reshape(expand(reshape(x, shape), wide), target);
  return y.storage === x.storage ? clone(y) : y;
}

function countedShape(where: string, shape: number[]): number[] {
  countElements(where, shape);
  return shape;
}

/** The whole tensor so many times along each dimension; those in front of its own are new. A copy. */
export const repeat = scoped((x: Tensor, repeats: Shape): Tensor => {
  checkTensor('repeat', 'x', x);
  const times = checkSizes('repeat', 'repeats', repeats);
  if (times.length < x.ndim) {
    throw argumentError(
      'INVALID_ARGUMENT',
      'repeat',
      'repeats',
      `at least ${x.ndim}, one a dimension`,
      formatShape(repeats),
    );
  }
  return repeated('repeat', x, times);
});

/** `repeat`, where repeats that are missing in front count as 1. */
export const tile = scoped((x: Tensor, repeats: Shape): Tensor => {
  checkTensor('tile', 'x', x);
  const times = checkSizes('tile', 'repeats', repeats);
  return repeated('tile', x, [...new Array<number>(Math.max(0, x.ndim - times.length)).fill(1), ...times]);
});

/**
 * Each element so many times in a row, along a dimension or, without one, of the flattened tensor. `repeats` is a number
 * for all, or int32 [n] with one for each position, which is read (blocking).
 */
export const repeatInterleave = scoped((x: Tensor, repeats: number | Tensor, dim?: number): Tensor => {
  checkTensor('repeatInterleave', 'x', x);
  if (dim === undefined || x.ndim === 0)
    return repeatInterleave(flatten(x), repeats, resolveDim('repeatInterleave', dim ?? 0, x.ndim));
  const d = resolveDim('repeatInterleave', dim, x.ndim);
  const size = x.shape[d];
  if (!(repeats instanceof Tensor)) {
    const n = checkInteger('repeatInterleave', 'repeats', repeats);
    const inside = x.unsqueeze(d + 1);
    const wide = expand(inside, [...x.shape.slice(0, d + 1), n, ...x.shape.slice(d + 1)]);
    const y = flatten(wide, d, d + 1);
    return y.storage === x.storage ? clone(y) : y;
  }
  checkIndices('repeatInterleave', 'repeats', repeats, x);
  if (repeats.ndim !== 1 || (repeats.size !== size && repeats.size !== 1)) {
    throw argumentError('SHAPE', 'repeatInterleave', 'repeats', `[${size}] or [1]`, formatShape(repeats.shape));
  }
  const counts = repeats.dataSync();
  const places: number[] = [];
  for (let i = 0; i < size; i++) {
    const count = checkInteger('repeatInterleave', `repeats[${i}]`, counts[counts.length === 1 ? 0 : i]);
    for (let j = 0; j < count; j++) places.push(i);
  }
  return indexSelect(x, d, positionsBeside(x, Int32Array.from(places)));
});

/** The order of the elements turned round along some dimensions; a copy. */
export const flip = scoped((x: Tensor, dims: Shape): Tensor => {
  checkTensor('flip', 'x', x);
  const along = checkDims('flip', 'dims', dims, x.ndim).filter((d) => (x.shape[d] ?? 1) > 1);
  if (along.length === 0) return clone(x);
  return along.reduce((y, d) => {
    const n = x.shape[d];
    return indexSelect(
      y,
      d,
      positionsBeside(
        x,
        Int32Array.from({ length: n }, (_, i) => n - 1 - i),
      ),
    );
  }, x);
});

/** Elements moved along by `shifts`, what leaves at one end coming in at the other; without `dims` of the flattened tensor. */
export const roll = scoped(
  (x: Tensor, shifts: number | readonly number[], dims?: number | readonly number[]): Tensor => {
    checkTensor('roll', 'x', x);
    const given: unknown = typeof shifts === 'number' ? [shifts] : shifts;
    const by = checkSizes('roll', 'shifts', given, -Number.MAX_SAFE_INTEGER);
    if (dims === undefined) {
      if (by.length === 1) return reshape(rolled(flatten(x), by[0], 0), x.shape);
      throw argumentError('INVALID_ARGUMENT', 'roll', 'dims', 'one for each shift', 'none');
    }
    const along = typeof dims === 'number' ? [dims] : checkSizes('roll', 'dims', dims, -x.ndim);
    if (along.length !== by.length) {
      throw argumentError('INVALID_ARGUMENT', 'roll', 'dims', `${by.length}, one for each shift`, describe(dims));
    }
    if (x.ndim === 0) return clone(x);
    return along.reduce((y, dim, i) => rolled(y, by[i], resolveDim('roll', dim, x.ndim)), x);
  },
);

function rolled(x: Tensor, shift: number, d: number): Tensor {
  const n = x.shape[d];
  const from = n === 0 ? 0 : ((-shift % n) + n) % n;
  return cat([slice(x, d, from, n), slice(x, d, 0, from)], d);
}
