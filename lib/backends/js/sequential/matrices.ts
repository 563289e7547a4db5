// Small matrices in double precision, of which loops over chunks of tokens are made.
import { COLUMNS, ROWS, rowProducts } from '../product';
import type { Numbers } from './words';

/** Row-major [rows, columns]. */
export interface Block {
  data: Numbers;
  rows: number;
  columns: number;
}

/** One of zeros. */
export const block = (rows: number, columns: number): Block => ({
  data: new Float64Array(rows * columns),
  rows,
  columns,
});

/** Numbers as rows of `columns` each. */
export const rows = (data: Numbers, columns: number): Block => ({ data, rows: data.length / (columns || 1), columns });

/** With rows of zeros behind it, where it is to have more. */
export function transposed(x: Block, rows = x.columns): Block {
  const y = block(rows, x.rows);
  for (let i = 0; i < x.rows; i++)
    for (let j = 0; j < x.columns; j++) y.data[j * x.rows + i] = x.data[i * x.columns + j];
  return y;
}

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** c += a b */
export function add(c: Block, a: Block, b: Block): void {
  const [m, n] = [roundUp(a.rows, ROWS), roundUp(b.columns, COLUMNS)];
  const left = m === a.rows ? a.data : block(m, a.columns).data;
  if (left !== a.data) left.set(a.data);
  const products = new Float64Array(m * n);
  rowProducts(left, transposed(b, n).data, products, m, n, a.columns);
  for (let i = 0; i < a.rows; i++) for (let j = 0; j < b.columns; j++) c.data[i * c.columns + j] += products[i * n + j];
}

export function multiply(a: Block, b: Block): Block {
  const c = block(a.rows, b.columns);
  add(c, a, b);
  return c;
}

/** A block like x of f(place, row, column). */
export function map(x: Block, f: (at: number, row: number, column: number) => number): Block {
  const y = block(x.rows, x.columns);
  for (let r = 0, at = 0; r < x.rows; r++) for (let i = 0; i < x.columns; i++, at++) y.data[at] = f(at, r, i);
  return y;
}

/** For each row of x the sum of f(place). */
export function sumsOf(x: Block, f: (at: number) => number): Numbers {
  const sums = new Float64Array(x.rows);
  for (let r = 0, at = 0; r < x.rows; r++) for (let i = 0; i < x.columns; i++, at++) sums[r] += f(at);
  return sums;
}
