// Elements by index: gather and its opposite, rows of a dimension, and what a mask holds.
import {
  argumentError,
  bytesPerElement,
  checkInteger,
  collapse,
  FastWeightsError,
  formatShape,
  resolveDim,
  sameShape,
  scoped,
  type Shape,
  type Tensor,
} from '../core';
import { MAX_DIMS } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import {
  checkAlike,
  checkDType,
  checkIndices,
  checkNumeric,
  checkSameDevice,
  checkTensor,
  emptyLike,
  kernelsOf,
  computesInFloat32,
  zerosBeside,
} from './kernel';
import { amongZeros, clone, contiguous, reshape, slice } from './view';

/** A shape with the strides of what is read and of the index. */
interface Walk {
  shape: Shape;
  own: Shape;
  index: Shape;
}

/** Dimensions that both walk alike become one. */
function walkOf(where: string, shape: Shape, own: Shape, index: Shape): Walk {
  const found = collapse(shape, [own, index]);
  if (found.shape.length > MAX_DIMS) {
    throw new FastWeightsError('UNSUPPORTED', `${where}: at most ${MAX_DIMS} dimensions, got ${found.shape.length}`);
  }
  return { shape: found.shape, own: found.strides[0], index: found.strides[1] };
}

/** Strides of x beside those of an index over the same shape, where the index takes the place of dimension d. */
function ownStrides(x: Tensor, d: number): number[] {
  return x.strides.map((stride, i) => (i === d ? 0 : stride));
}

/** Strides of a contiguous index of one dimension over a shape in which it stands at d. */
function alongOnly(rank: number, d: number): number[] {
  return Array.from({ length: rank }, (_, i) => Number(i === d));
}

function take(where: string, x: Tensor, d: number, index: Tensor, shape: Shape, indexStrides: Shape): Tensor {
  const y = emptyLike(x, shape);
  const walk = walkOf(where, shape, ownStrides(x, d), indexStrides);
  kernelsOf(x).gather({
    x,
    index,
    y,
    shape: walk.shape,
    xStrides: walk.own,
    indexStrides: walk.index,
    step: x.strides[d] ?? 0,
    limit: x.shape[d] ?? 1,
    bytes: bytesPerElement(x.dtype),
  });
  return y;
}

/** Adds x [shape] into y at dimension d by the index, one after the other along d. Off the tape. */
function put(y: Tensor, d: number, index: Tensor, x: Tensor, indexStrides: Shape): void {
  const order = [...x.shape.keys()].filter((i) => i !== d).concat(x.ndim === 0 ? [] : [d]);
  const pick = (list: Shape): number[] => (x.ndim === 0 ? [1] : order.map((i) => list[i]));
  const [shape, own, at, to] = [x.shape, x.strides, indexStrides, ownStrides(y, d)].map(pick);
  const lines = collapse(
    shape.slice(0, -1),
    [own, at, to].map((strides) => strides.slice(0, -1)),
  );
  if (lines.shape.length >= MAX_DIMS) {
    throw new FastWeightsError('UNSUPPORTED', `scatterAdd: at most ${MAX_DIMS} dimensions, got ${shape.length}`);
  }
  const last = (strides: Shape): number => (x.ndim === 0 ? 0 : strides[strides.length - 1]);
  kernelsOf(y).scatterAdd({
    x,
    index,
    y,
    shape: [...lines.shape, shape[shape.length - 1]],
    xStrides: [...lines.strides[0], last(own)],
    indexStrides: [...lines.strides[1], last(at)],
    yStrides: [...lines.strides[2], 0],
    step: y.strides[d] ?? 0,
    limit: y.shape[d] ?? 1,
  });
  y.storage.version++;
}

/** What of a tensor an index of another, no larger shape leads along in all dimensions but one. */
function within(where: string, argument: string, x: Tensor, d: number, index: Tensor): Tensor {
  const fits = index.ndim === x.ndim && index.shape.every((n, i) => i === d || n <= x.shape[i]);
  if (!fits) {
    const expected = `of ${x.ndim} dimensions, none but ${d} larger than those of ${argument} ${formatShape(x.shape)}`;
    throw argumentError('SHAPE', where, 'index', expected, formatShape(index.shape));
  }
  return index.shape.reduce<Tensor>((part, n, i) => (i === d ? part : slice(part, i, 0, n)), x.detach());
}

/**
 * y[i, j, k] = x[i, index[i, j, k], k] for dim 1, and so on: the shape of the index (int32), which may be smaller than x in
 * the other dimensions. Indices count from 0; one outside is INVALID_ARGUMENT, thrown here or by what reads the result.
 */
export const gather = scoped((x: Tensor, dim: number, index: Tensor): Tensor => {
  checkTensor('gather', 'x', x);
  checkIndices('gather', 'index', index, x);
  const d = resolveDim('gather', dim, x.ndim);
  const source = within('gather', 'x', x, d, index);
  const at = contiguous(index);
  const y = take('gather', source, d, at, index.shape, at.strides);
  const whole = x.shape;
  record('gather', [x], [y], [at], ([g], [sat]) => [g && scatterAdd(zerosBeside(g, whole), d, sat, g)], 'composed');
  return y;
});

/**
 * A copy of x to which `source` is added where the index says: y[i, index[i, j, k], k] += source[i, j, k] for dim 1, and so
 * on, in the order of j. The index (int32) may be smaller than x, but in `dim`, and than the source.
 */
export const scatterAdd = computesInFloat32((x: Tensor, dim: number, index: Tensor, source: Tensor): Tensor => {
  checkNumeric('scatterAdd', 'x', x);
  checkIndices('scatterAdd', 'index', index, x);
  checkTensor('scatterAdd', 'source', source);
  checkAlike('scatterAdd', 'source', source, x, 'x');
  const d = resolveDim('scatterAdd', dim, x.ndim);
  const y = clone(x.detach());
  const target = within('scatterAdd', 'x', y, d, index);
  const added = within('scatterAdd', 'source', source, d, index);
  if ((index.shape[d] ?? 1) > (source.shape[d] ?? 1)) {
    throw argumentError(
      'SHAPE',
      'scatterAdd',
      'index',
      `at most ${formatShape(source.shape)}`,
      formatShape(index.shape),
    );
  }
  const at = contiguous(index);
  put(target, d, at, slice(added, d, 0, index.shape[d] ?? 1), at.strides);
  const from = source.shape;
  const back: BackwardFunction = ([g], [sat], needs) => {
    if (!g) return [];
    return [needs[0] ? g : null, needs[1] ? padTo(gather(g, d, sat), from) : null];
  };
  record('scatterAdd', [x, source], [y], [at], back, 'composed');
  return y;
});

/** Zeros behind the elements of g up to a larger shape. */
function padTo(g: Tensor, shape: Shape): Tensor {
  return shape.reduce((y, n, d) => {
    if (y.shape[d] === n) return y;
    const wider = y.shape.map((size, i) => (i === d ? n : size));
    return amongZeros(y, wider, d, 0);
  }, g);
}

/** Slices x[..., index[j], ...] of one dimension, side by side in the order of the index (int32 [n]). */
export const indexSelect = scoped((x: Tensor, dim: number, index: Tensor): Tensor => {
  checkTensor('indexSelect', 'x', x);
  checkIndices('indexSelect', 'index', index, x);
  if (index.ndim !== 1)
    throw argumentError('SHAPE', 'indexSelect', 'index', 'of one dimension', formatShape(index.shape));
  const d = resolveDim('indexSelect', dim, x.ndim);
  const source = x.ndim === 0 ? reshape(x, [1]) : x;
  const at = contiguous(index);
  const shape = source.shape.map((n, i) => (i === d ? index.size : n));
  const y = take('indexSelect', source.detach(), d, at, shape, alongOnly(source.ndim, d));
  const whole = source.shape;
  record('indexSelect', [source], [y], [at], ([g], [sat]) => [g && addAlong(g, whole, d, sat)], 'composed');
  return y;
});

/** Zeros of a shape to which slices of g are added where an index (int32 [n], contiguous) of dimension d says. */
export const addAlong = computesInFloat32((g: Tensor, shape: Shape, d: number, index: Tensor): Tensor => {
  const y = zerosBeside(g, shape);
  put(y, d, index, g, alongOnly(shape.length, d));
  record('addAlong', [g], [y], [index], ([h], [at]) => [h && indexSelect(h, d, at)], 'composed');
  return y;
});

/** The elements start to start + length of one dimension, as a view. */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  checkTensor('narrow', 'x', x);
  const d = resolveDim('narrow', dim, x.ndim);
  const size = x.shape[d] ?? 0;
  const from = checkInteger('narrow', 'start', start, -size, size);
  const first = from < 0 ? from + size : from;
  checkInteger('narrow', 'length', length, 0, size - first);
  return slice(x, d, first, first + length);
}

/** One position of a dimension, which goes; negative ones count from the end. A view. */
export const select = scoped((x: Tensor, dim: number, position: number): Tensor => {
  checkTensor('select', 'x', x);
  const d = resolveDim('select', dim, x.ndim);
  const size = x.shape[d] ?? 0;
  const at = checkInteger('select', 'index', position, -size, size - 1);
  const from = at < 0 ? at + size : at;
  return reshape(
    slice(x, d, from, from + 1),
    x.shape.filter((_, i) => i !== d),
  );
});

/** The positions (int32 [n]) of what is not 0 in row-major order. It reads the tensor: blocking. */
function places(x: Tensor): Tensor {
  const found: number[] = [];
  x.dataSync().forEach((value, i) => {
    if (value !== 0) found.push(i);
  });
  const y = emptyLike(x, [found.length], 'int32');
  y.storage.memory.write(y.storage.handle, 0, Int32Array.from(found));
  return y;
}

/** Indices (int32 [n, rank]) of the elements that are not 0, in row-major order. Reads the tensor, which blocks. */
export const nonzero = scoped((x: Tensor): Tensor => {
  checkTensor('nonzero', 'x', x);
  const flat = places(x).dataSync();
  const rows = new Int32Array(flat.length * x.ndim);
  flat.forEach((place, row) => {
    for (let d = x.ndim - 1, rest = place; d >= 0; d--) {
      rows[row * x.ndim + d] = rest % x.shape[d];
      rest = Math.floor(rest / x.shape[d]);
    }
  });
  const y = emptyLike(x, [flat.length, x.ndim], 'int32');
  if (y.size > 0) y.storage.memory.write(y.storage.handle, 0, rows);
  return y;
});

/** The elements [n] where the mask (bool, of the shape of x) holds, in row-major order. Reads the mask, which blocks. */
export const maskedSelect = scoped((x: Tensor, mask: Tensor): Tensor => {
  checkTensor('maskedSelect', 'x', x);
  checkTensor('maskedSelect', 'mask', mask);
  checkDType('maskedSelect', 'mask', mask, 'bool');
  checkSameDevice('maskedSelect', 'mask', mask, x);
  if (!sameShape(mask.shape, x.shape)) {
    throw argumentError('SHAPE', 'maskedSelect', 'mask', formatShape(x.shape), formatShape(mask.shape));
  }
  return indexSelect(reshape(x, [x.size]), 0, places(mask));
});
