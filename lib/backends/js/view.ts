// Tensors as the typed arrays that JavaScript kernels work on.
import type { Tensor, TypedArray } from '../../core';
import { arrayOf } from './memory';

/** float32 or float64; kernels compute in double precision and round once, when they store. */
export type Floats = Float32Array | Float64Array;

/** The elements from the tensor's first one on. */
export function elements(t: Tensor): TypedArray {
  const data = arrayOf(t.storage.handle);
  return t.offset === 0 ? data : data.subarray(t.offset);
}

export function floats(t: Tensor): Floats {
  return elements(t) as Floats;
}

export function ints(t: Tensor): Int32Array {
  return elements(t) as Int32Array;
}

export function maybe(t: Tensor | null): Floats | null {
  return t && floats(t);
}

/** Where each sequence starts, and the end of the last: read from offsets, or `tokens` apart when there are none. */
export function sequenceStarts(offsets: Tensor | null, sequences: number, tokens: number): Int32Array {
  if (offsets) return ints(offsets).subarray(0, sequences + 1);
  return Int32Array.from({ length: sequences + 1 }, (_, n) => n * tokens);
}

/** Calls visit(at) at the start of every row (last dimension) of an index space; `at` holds one position per operand. */
export function forEachRow(
  shape: readonly number[],
  operands: readonly (readonly number[])[],
  visit: (at: readonly number[]) => void,
): void {
  if (shape.includes(0)) return;
  const outer = Math.max(shape.length - 1, 0);
  const index = new Array<number>(outer).fill(0);
  const at = operands.map(() => 0);
  for (;;) {
    visit(at);
    let d = outer - 1;
    for (; d >= 0; d--) {
      for (let o = 0; o < at.length; o++) at[o] += operands[o][d];
      if (++index[d] < shape[d]) break;
      for (let o = 0; o < at.length; o++) at[o] -= operands[o][d] * shape[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}
