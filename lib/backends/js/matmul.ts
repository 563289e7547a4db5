// Batched matrix product: blocks of both operands are packed into rows along k, multiplied, and stored; a few rows are
// multiplied where they lie.
import type { Tensor } from '../../core';
import type { KernelArguments } from '../table';
import { COLUMNS, narrowProducts, rowProducts, ROWS } from './product';
import { floats, type Floats } from './view';

/** Rows of a and columns of b that are packed at once. */
const M_BLOCK = 64;
const N_BLOCK = 64;

/** Below so many rows of a it costs more to pack b than to read it as it lies. */
const PACKED = 16;

/** Element (i, j) at data[at + i * row + j * column]. */
export interface Matrix {
  data: Floats;
  at: number;
  row: number;
  column: number;
}

export const rowMajor = (data: Floats, row: number): Matrix => ({ data, at: 0, row, column: 1 });
export const transposed = ({ data, at, row, column }: Matrix): Matrix => ({ data, at, row: column, column: row });

/** c[m, n] = alpha a[m, k] b[k, n], added to c when `accumulate`. */
export function multiply(
  a: Matrix,
  b: Matrix,
  c: Matrix,
  [m, n, k]: readonly [number, number, number],
  { alpha = 1, accumulate = false } = {},
): void {
  const store = (product: Float64Array, from: number, row: number, column: number, columns: number): void => {
    let at = c.at + row * c.row + column * c.column;
    for (let s = from; s < from + columns; s++, at += c.column) {
      const value = alpha * product[s];
      c.data[at] = accumulate ? c.data[at] + value : value;
    }
  };
  if (m < PACKED && b.row === 1) {
    const rows = new Float64Array(m * k);
    pack(a.data, a.at, a.row, a.column, m, k, rows);
    const product = new Float64Array(m * n);
    narrowProducts(rows, b.data, { at: b.at, row: b.column }, product, [m, n, k]);
    for (let row = 0; row < m; row++) store(product, row * n, row, 0, n);
    return;
  }
  const aBlock = new Float64Array(roundUp(Math.min(m, M_BLOCK), ROWS) * k);
  const bBlock = new Float64Array(roundUp(Math.min(n, N_BLOCK), COLUMNS) * k);
  const product = new Float64Array(M_BLOCK * N_BLOCK);
  for (let column = 0; column < n; column += N_BLOCK) {
    const columns = Math.min(N_BLOCK, n - column);
    const width = roundUp(columns, COLUMNS);
    pack(b.data, b.at + column * b.column, b.column, b.row, columns, k, bBlock);
    for (let row = 0; row < m; row += M_BLOCK) {
      const rows = Math.min(M_BLOCK, m - row);
      pack(a.data, a.at + row * a.row, a.row, a.column, rows, k, aBlock);
      rowProducts(aBlock, bBlock, product, roundUp(rows, ROWS), width, k);
      for (let r = 0; r < rows; r++) store(product, r * width, row + r, column, columns);
    }
  }
}

export function matmul(args: KernelArguments<'matmul'>): void {
  const { batch1, batch2, m, n, k, aStrides, bStrides, cStrides, alpha, accumulate } = args;
  const member = (t: Tensor, strides: readonly number[], i: number, j: number): Matrix => {
    return { data: floats(t), at: i * strides[0] + j * strides[1], row: strides[2], column: strides[3] };
  };
  for (let i = 0; i < batch1; i++) {
    for (let j = 0; j < batch2; j++) {
      const [a, b, c] = [
        member(args.a, aStrides, i, j),
        member(args.b, bStrides, i, j),
        member(args.c, cStrides, i, j),
      ];
      multiply(a, b, c, [m, n, k], { alpha, accumulate: accumulate !== 0 });
    }
  }
}

function roundUp(x: number, multiple: number): number {
  return Math.ceil(x / multiple) * multiple;
}

/** out[r * k + l] = x[at + r * rowStride + l * step]; rows beyond the last hold what they held before. */
function pack(
  x: Floats,
  at: number,
  rowStride: number,
  step: number,
  rows: number,
  k: number,
  out: Float64Array,
): void {
  if (step <= rowStride) {
    for (let r = 0; r < rows; r++) {
      for (let l = 0, from = at + r * rowStride; l < k; l++, from += step) out[r * k + l] = x[from];
    }
    return;
  }
  // Reads walk along the rows when those are what lies next to each other in memory.
  for (let l = 0; l < k; l++) {
    for (let r = 0, from = at + l * step; r < rows; r++, from += rowStride) out[r * k + l] = x[from];
  }
}
