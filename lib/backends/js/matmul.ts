// Batched matrix product: blocks of both operands are packed into rows along k, multiplied, and stored.
import type { KernelArguments } from '../table';
import { COLUMNS, rowProducts, ROWS } from './product';
import { floats, type Floats } from './view';

/** Rows of a and columns of b that are packed at once. */
const M_BLOCK = 64;
const N_BLOCK = 64;

export function matmul(args: KernelArguments<'matmul'>): void {
  const { batch1, batch2, m, n, k, aStrides, bStrides, cStrides, alpha, accumulate } = args;
  const a = floats(args.a);
  const b = floats(args.b);
  const c = floats(args.c);
  const aBlock = new Float64Array(roundUp(Math.min(m, M_BLOCK), ROWS) * k);
  const bBlock = new Float64Array(roundUp(Math.min(n, N_BLOCK), COLUMNS) * k);
  const product = new Float64Array(M_BLOCK * N_BLOCK);
  for (let i = 0; i < batch1; i++) {
    for (let j = 0; j < batch2; j++) {
      const aAt = i * aStrides[0] + j * aStrides[1];
      const bAt = i * bStrides[0] + j * bStrides[1];
      const cAt = i * cStrides[0] + j * cStrides[1];
      for (let column = 0; column < n; column += N_BLOCK) {
        const columns = Math.min(N_BLOCK, n - column);
        const width = roundUp(columns, COLUMNS);
        pack(b, bAt + column * bStrides[3], bStrides[3], bStrides[2], columns, k, bBlock);
        for (let row = 0; row < m; row += M_BLOCK) {
          const rows = Math.min(M_BLOCK, m - row);
          pack(a, aAt + row * aStrides[2], aStrides[2], aStrides[3], rows, k, aBlock);
          rowProducts(aBlock, bBlock, product, roundUp(rows, ROWS), width, k);
          for (let r = 0; r < rows; r++) {
            let at = cAt + (row + r) * cStrides[2] + column * cStrides[3];
            for (let s = 0; s < columns; s++, at += cStrides[3]) {
              const value = alpha * product[r * width + s];
              c[at] = accumulate ? c[at] + value : value;
            }
          }
        }
      }
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
