// Where the numbers of a quantised weight lie; see `quantizedLinear` in table.ts.
import type { WeightFormat } from './table';

/** Outputs of a panel. */
export const QUANTIZED_PANEL = 64;

/** Numbers per word of 32 bits. */
const PER_WORD: Record<WeightFormat, number> = { bfloat16: 2, int8: 4 };

/** Shape of the words of a weight [n, k]. */
export function quantizedShape(format: WeightFormat, n: number, k: number): [number, number, number] {
  return [Math.ceil(n / QUANTIZED_PANEL), k, QUANTIZED_PANEL / PER_WORD[format]];
}

/** The place of a panel's output among the 64 numbers of a step, as they follow each other in memory. */
export function placeInStep(format: WeightFormat, output: number): number {
  const parts = PER_WORD[format];
  const block = Math.floor(output / (16 * parts));
  const part = Math.floor(output / 16) % parts;
  return (block * 16 + (output % 16)) * parts + part;
}

/** Words as the numbers that they hold, in memory's order: integers, or the upper halves of floats. */
export function numbersIn(format: WeightFormat, words: Int32Array): Int8Array | Uint16Array {
  const { buffer, byteOffset, byteLength } = words;
  return format === 'int8'
    ? new Int8Array(buffer, byteOffset, byteLength)
    : new Uint16Array(buffer, byteOffset, byteLength / 2);
}
