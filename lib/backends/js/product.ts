// The inner loops of matrix products: rows of a times rows of b, both contiguous, in double precision.
import type { Floats } from './view';

/** Blocks of the result that the loop computes at once; m and n must be multiples of them. */
export const ROWS = 2;
export const COLUMNS = 4;

/** c[i * n + j] = sum over l, in order, of a[i * k + l] b[j * k + l] */
export function rowProducts(a: Float64Array, b: Float64Array, c: Float64Array, m: number, n: number, k: number): void {
  for (let i = 0; i < m; i += ROWS) {
    for (let j = 0; j < n; j += COLUMNS) {
      const a0 = i * k;
      const a1 = a0 + k;
      const b0 = j * k;
      const b1 = b0 + k;
      const b2 = b1 + k;
      const b3 = b2 + k;
      let c00 = 0;
      let c01 = 0;
      let c02 = 0;
      let c03 = 0;
      let c10 = 0;
      let c11 = 0;
      let c12 = 0;
      let c13 = 0;
      for (let l = 0; l < k; l++) {
        const x0 = a[a0 + l];
        const x1 = a[a1 + l];
        const y0 = b[b0 + l];
        const y1 = b[b1 + l];
        const y2 = b[b2 + l];
        const y3 = b[b3 + l];
        c00 += x0 * y0;
        c01 += x0 * y1;
        c02 += x0 * y2;
        c03 += x0 * y3;
        c10 += x1 * y0;
        c11 += x1 * y1;
        c12 += x1 * y2;
        c13 += x1 * y3;
      }
      const at = i * n + j;
      c[at] = c00;
      c[at + 1] = c01;
      c[at + 2] = c02;
      c[at + 3] = c03;
      c[at + n] = c10;
      c[at + n + 1] = c11;
      c[at + n + 2] = c12;
      c[at + n + 3] = c13;
    }
  }
}

/** Columns of the result that `narrowProducts` computes at once. */
const WIDE = 8;

/** c[i * n + j] = sum over l, in order, of a[i * k + l] b[at + j * row + l], with b as it lies; for a few rows of a. */
export function narrowProducts(
  a: Float64Array,
  b: Floats,
  { at, row }: { at: number; row: number },
  c: Float64Array,
  [m, n, k]: readonly [number, number, number],
): void {
  let j = 0;
  for (; j + WIDE <= n; j += WIDE) {
    const b0 = at + j * row;
    const b1 = b0 + row;
    const b2 = b1 + row;
    const b3 = b2 + row;
    const b4 = b3 + row;
    const b5 = b4 + row;
    const b6 = b5 + row;
    const b7 = b6 + row;
    for (let i = 0; i < m; i++) {
      const a0 = i * k;
      let c0 = 0;
      let c1 = 0;
      let c2 = 0;
      let c3 = 0;
      let c4 = 0;
      let c5 = 0;
      let c6 = 0;
      let c7 = 0;
      for (let l = 0; l < k; l++) {
        const x = a[a0 + l];
        c0 += x * b[b0 + l];
        c1 += x * b[b1 + l];
        c2 += x * b[b2 + l];
        c3 += x * b[b3 + l];
        c4 += x * b[b4 + l];
        c5 += x * b[b5 + l];
        c6 += x * b[b6 + l];
        c7 += x * b[b7 + l];
      }
      const to = i * n + j;
      c[to] = c0;
      c[to + 1] = c1;
      c[to + 2] = c2;
      c[to + 3] = c3;
      c[to + 4] = c4;
      c[to + 5] = c5;
      c[to + 6] = c6;
      c[to + 7] = c7;
    }
  }
  for (; j < n; j++) {
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a[i * k + l] * b[at + j * row + l];
      c[i * n + j] = sum;
    }
  }
}
