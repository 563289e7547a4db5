// Shapes by other names: compositions of reshape, permute, slice and split.
import {
  argumentError,
  checkInteger,
  checkSizes,
  describe,
  formatShape,
  resolveDim,
  scoped,
  type Shape,
  type Tensor,
} from '../core';
import { checkTensor } from './kernel';
import { split } from './join';
import { expand, permute, reshape } from './view';

/** Two dimensions exchanged, as a view. */
export const transpose = scoped((x: Tensor, dim0: number, dim1: number): Tensor => {
  checkTensor('transpose', 'x', x);
  const dims = [...x.shape.keys()];
  const a = resolveDim('transpose', dim0, x.ndim);
  const b = resolveDim('transpose', dim1, x.ndim);
  if (a !== b) [dims[a], dims[b]] = [dims[b], dims[a]];
  return permute(x, dims);
});

/** A matrix transposed, fewer dimensions as they are; more are refused. */
export const t = scoped((x: Tensor): Tensor => {
  checkTensor('t', 'x', x);
  if (x.ndim > 2) throw argumentError('SHAPE', 't', 'x', 'of at most two dimensions', formatShape(x.shape));
  return x.ndim < 2 ? x : permute(x, [1, 0]);
});

/** Requires dimensions, a number or a list, each once. */
export function checkDims(where: string, argument: string, dims: number | readonly number[], rank: number): number[] {
  const list = typeof dims === 'number' ? [dims] : checkSizes(where, argument, dims, -rank);
  const resolved = list.map((d) => resolveDim(where, d, rank));
  if (new Set(resolved).size === resolved.length) return resolved;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'each dimension once', describe(dims));
}

/** Some dimensions at other places, as a view; the others keep their order. */
export const movedim = scoped(
  (x: Tensor, source: number | readonly number[], destination: number | readonly number[]): Tensor => {
    checkTensor('movedim', 'x', x);
    const from = checkDims('movedim', 'source', source, x.ndim);
    const to = checkDims('movedim', 'destination', destination, x.ndim);
    if (from.length !== to.length) {
      throw argumentError(
        'INVALID_ARGUMENT',
        'movedim',
        'destination',
        `${from.length} dimensions`,
        describe(destination),
      );
    }
    if (x.ndim === 0) return x;
    const rest = [...x.shape.keys()].filter((d) => !from.includes(d));
    return permute(
      x,
      [...x.shape.keys()].map((d) => (to.includes(d) ? from[to.indexOf(d)] : rest.shift()!)),
    );
  },
);

/** Without the dimensions of size 1, or those of `dim`, where their size is 1. */
export const squeeze = scoped((x: Tensor, dim?: number | readonly number[]): Tensor => {
  checkTensor('squeeze', 'x', x);
  const dims = dim === undefined ? [...x.shape.keys()] : checkDims('squeeze', 'dim', dim, x.ndim);
  return reshape(
    x,
    x.shape.filter((n, d) => n !== 1 || !dims.includes(d)),
  );
});

/** With a new dimension of size 1. */
export const unsqueeze = scoped((x: Tensor, dim: number): Tensor => {
  checkTensor('unsqueeze', 'x', x);
  const d = resolveDim('unsqueeze', dim, x.ndim + 1);
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
});

/** To a shape that this one broadcasts to, as a view. */
export const broadcastTo = scoped((x: Tensor, shape: Shape): Tensor => expand(x, shape));

/** The dimensions from `startDim` to `endDim` as one; a scalar becomes [1]. */
export const flatten = scoped((x: Tensor, startDim: number = 0, endDim: number = -1): Tensor => {
  checkTensor('flatten', 'x', x);
  const from = resolveDim('flatten', startDim, x.ndim);
  const to = resolveDim('flatten', endDim, x.ndim);
  if (from > to) {
    throw argumentError('INVALID_ARGUMENT', 'flatten', 'startDim', `at most endDim, ${endDim}`, String(startDim));
  }
  const size = x.shape.slice(from, to + 1).reduce((a, b) => a * b, 1);
  return reshape(x, [...x.shape.slice(0, from), size, ...x.shape.slice(to + 1)]);
});

/** One dimension as several; one size may be -1. */
export const unflatten = scoped((x: Tensor, dim: number, sizes: Shape): Tensor => {
  checkTensor('unflatten', 'x', x);
  if (x.ndim === 0) throw argumentError('SHAPE', 'unflatten', 'x', 'of at least one dimension', 'a scalar');
  const d = resolveDim('unflatten', dim, x.ndim);
  const parts = checkSizes('unflatten', 'sizes', sizes, -1);
  const known = parts.filter((n) => n !== -1).reduce((a, b) => a * b, 1);
  const open = parts.indexOf(-1);
  if (open >= 0 && known > 0) parts[open] = x.shape[d] / known;
  if (
    parts.length === 0 ||
    parts.some((n) => !Number.isInteger(n) || n < 0) ||
    parts.reduce((a, b) => a * b, 1) !== x.shape[d]
  ) {
    throw argumentError('SHAPE', 'unflatten', 'sizes', `of ${x.shape[d]} elements`, formatShape(sizes));
  }
  return reshape(x, [...x.shape.slice(0, d), ...parts, ...x.shape.slice(d + 1)]);
});

/** The size of a dimension that is to be cut. */
function sizeAt(where: string, x: Tensor, dim: number): { d: number; size: number } {
  checkTensor(where, 'x', x);
  if (x.ndim === 0) throw argumentError('SHAPE', where, 'x', 'of at least one dimension', 'a scalar');
  const d = resolveDim(where, dim, x.ndim);
  return { d, size: x.shape[d] };
}

/** Pieces of which most are empty are a slip, and would fill the memory. */
const MOST_PIECES = 2 ** 16;

/** Requires a number of pieces; more than positions make empty ones. */
function checkPieces(where: string, argument: string, pieces: number, size: number): number {
  return checkInteger(where, argument, pieces, 1, Math.max(size, MOST_PIECES));
}

/**
 * At most `chunks` pieces of ceil(size / chunks) positions, the last one of what is left, as views; `chunks` of them where
 * there are no positions, at most 65536.
 */
export const chunk = scoped((x: Tensor, chunks: number, dim: number = 0): Tensor[] => {
  const { d, size } = sizeAt('chunk', x, dim);
  const length = Math.ceil(size / checkInteger('chunk', 'chunks', chunks, 1));
  const count = length === 0 ? checkPieces('chunk', 'chunks', chunks, size) : Math.ceil(size / length);
  return split(
    x,
    Array.from({ length: count }, (_, i) => Math.min(length, size - i * length)),
    d,
  );
});

/**
 * So many pieces, the first ones larger by 1, or pieces that end at the positions given, as views. More pieces than
 * positions, of which the last ones are empty, are at most 65536.
 */
export const tensorSplit = scoped(
  (x: Tensor, indicesOrSections: number | readonly number[], dim: number = 0): Tensor[] => {
    const { d, size } = sizeAt('tensorSplit', x, dim);
    if (typeof indicesOrSections === 'number') {
      const n = checkPieces('tensorSplit', 'indicesOrSections', indicesOrSections, size);
      return split(
        x,
        Array.from({ length: n }, (_, i) => Math.floor(size / n) + Number(i < size % n)),
        d,
      );
    }
    const given = checkSizes('tensorSplit', 'indicesOrSections', indicesOrSections, -Number.MAX_SAFE_INTEGER);
    // As a range of NumPy does, one that goes back is empty.
    const ends = [...given.map((end) => Math.min(Math.max(end < 0 ? end + size : end, 0), size)), size];
    return ends.map((end, i) => {
      const start = i === 0 ? 0 : ends[i - 1];
      return x.slice(d, start, Math.max(start, end));
    });
  },
);

/** The positions of a dimension, which goes, as views. */
export const unbind = scoped((x: Tensor, dim: number = 0): Tensor[] => {
  const { d, size } = sizeAt('unbind', x, dim);
  const shape = x.shape.filter((_, i) => i !== d);
  return split(x, new Array<number>(size).fill(1), d).map((part) => reshape(part, shape));
});

/** The grid of some vectors [n_i]: views [n_0, n_1, ...], with 'xy' the first two dimensions exchanged. */
export const meshgrid = scoped((tensors: readonly Tensor[], indexing: 'ij' | 'xy' = 'ij'): Tensor[] => {
  if (!Array.isArray(tensors)) {
    throw argumentError('INVALID_ARGUMENT', 'meshgrid', 'tensors', 'a list of tensors', describe(tensors));
  }
  if (indexing !== 'ij' && indexing !== 'xy') {
    throw argumentError('INVALID_ARGUMENT', 'meshgrid', 'indexing', "'ij' | 'xy'", describe(indexing));
  }
  const vectors = tensors as readonly Tensor[];
  vectors.forEach((x, i) => {
    checkTensor('meshgrid', `tensors[${i}]`, x);
    if (x.ndim > 1) throw argumentError('SHAPE', 'meshgrid', `tensors[${i}]`, 'of one dimension', formatShape(x.shape));
  });
  const shape = vectors.map((x) => x.size);
  return vectors.map((x, i) => {
    const line = reshape(
      x,
      shape.map((n, d) => (d === i ? n : 1)),
    );
    const grid = expand(line, shape);
    return indexing === 'xy' && shape.length >= 2 ? transpose(grid, 0, 1) : grid;
  });
});
