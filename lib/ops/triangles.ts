// Triangles and diagonals of matrices.
import { argumentError, checkInteger, formatShape, resolveDim, scoped, type Tensor } from '../core';
import { checkTensor, zerosBeside } from './kernel';
import { record } from '../autograd';
import { compareInto } from './broadcast';
import { where } from './compare';
import { positionsBeside } from './repeats';
import { assign, reshape, view } from './view';

/** Whether column - row compares so with the number of a diagonal, for the last two dimensions of x. */
function besideDiagonal(x: Tensor, op: 'le' | 'ge', diagonal: number): Tensor {
  const [rows, columns] = x.shape.slice(-2);
  const line = (n: number, from: number): Tensor =>
    positionsBeside(
      x,
      Int32Array.from({ length: n }, (_, i) => from + i),
    );
  return compareInto(op, line(columns, 0), reshape(line(rows, diagonal), [rows, 1]));
}

function triangle(name: string, op: 'le' | 'ge'): (x: Tensor, diagonal?: number) => Tensor {
  return scoped((x: Tensor, diagonal: number = 0): Tensor => {
    checkTensor(name, 'x', x);
    checkInteger(name, 'diagonal', diagonal, -(2 ** 30), 2 ** 30);
    if (x.ndim < 2) throw argumentError('SHAPE', name, 'x', 'of at least two dimensions', formatShape(x.shape));
    return where(besideDiagonal(x, op, diagonal), x, x.dtype === 'bool' ? false : 0);
  });
}

/** x with 0 above a diagonal of its last two dimensions: the main one, or that so many places above it. */
export const tril = triangle('tril', 'le');
/** x with 0 below a diagonal; see `tril`. */
export const triu = triangle('triu', 'ge');

/** The diagonal of two dimensions, `offset` places above the main one, as the new last dimension; a view. */
export const diagonal = scoped((x: Tensor, offset: number = 0, dim1: number = 0, dim2: number = 1): Tensor => {
  checkTensor('diagonal', 'x', x);
  checkInteger('diagonal', 'offset', offset, -Number.MAX_SAFE_INTEGER);
  if (x.ndim < 2) throw argumentError('SHAPE', 'diagonal', 'x', 'of at least two dimensions', formatShape(x.shape));
  const [a, b] = [resolveDim('diagonal', dim1, x.ndim), resolveDim('diagonal', dim2, x.ndim)];
  if (a === b) throw argumentError('INVALID_ARGUMENT', 'diagonal', 'dim2', 'another dimension than dim1', String(dim2));
  return along(x, offset, a, b);
});

function along(x: Tensor, offset: number, a: number, b: number): Tensor {
  const [down, right] = [Math.max(0, -offset), Math.max(0, offset)];
  const n = Math.max(0, Math.min(x.shape[a] - down, x.shape[b] - right));
  const others = <T>(list: readonly T[]): T[] => list.filter((_, d) => d !== a && d !== b);
  const shape = [...others(x.shape), n];
  const strides = [...others(x.strides), x.strides[a] + x.strides[b]];
  const start = x.offset + down * x.strides[a] + right * x.strides[b];
  const whole = x.shape;
  return view('diagonal', x, shape, strides, start, (g) => onDiagonal(g, whole, offset, a, b));
}

/** Zeros but for a diagonal. */
function onDiagonal(g: Tensor, shape: readonly number[], offset: number, a: number, b: number): Tensor {
  const y = zerosBeside(g, shape);
  assign(along(y, offset, a, b), g.detach());
  record('diagonal', [g], [y], [], ([h]) => [h && along(h, offset, a, b)], 'composed');
  return y;
}

/** The diagonal of a matrix, a view, or the matrix of zeros with this vector as a diagonal, so many places above the main one. */
export const diag = scoped((x: Tensor, offset: number = 0): Tensor => {
  checkTensor('diag', 'x', x);
  checkInteger('diag', 'diagonal', offset, -(2 ** 30), 2 ** 30);
  if (x.ndim === 2) return diagonal(x, offset);
  if (x.ndim !== 1) throw argumentError('SHAPE', 'diag', 'x', 'of one or two dimensions', formatShape(x.shape));
  const n = x.size + Math.abs(offset);
  return onDiagonal(x, [n, n], offset, 0, 1);
});
