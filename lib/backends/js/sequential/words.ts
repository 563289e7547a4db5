// What loops over a state W [K, V] are made of, in double precision: rows run along K, columns along V.
import type { Tensor } from '../../../core';
import { sequenceStarts } from '../view';

/** Rows of numbers; kernels compute in them and round once, when they store. */
export type Numbers = Float64Array;

/** `count` of them from a place on, in double precision. */
export function numbers(
  x: ArrayLike<number> & { subarray(from: number, to: number): ArrayLike<number> },
  from: number,
  count: number,
): Numbers {
  return Float64Array.from(x.subarray(from, from + count));
}

/** One head of one sequence. */
export interface Track {
  /** Where the head's part of an operand [sequences, heads, size] lies, in parts. */
  index: number;
  head: number;
  length: number;
  /** Where row t of an operand [tokens, heads, width] lies, in rows. */
  row(t: number): number;
}

/** Visits every head of every sequence of a call. */
export function eachTrack(
  { sequences, tokens, heads, offsets }: { sequences: number; tokens: number; heads: number; offsets: Tensor | null },
  visit: (track: Track) => void,
): void {
  const starts = sequenceStarts(offsets, sequences, tokens);
  for (let n = 0; n < sequences; n++) {
    for (let h = 0; h < heads; h++) {
      const length = starts[n + 1] - starts[n];
      visit({ index: n * heads + h, head: h, length, row: (t) => (starts[n] + t) * heads + h });
    }
  }
}

/** W += factor row columns^T */
export function add(W: Numbers, row: Numbers, columns: Numbers, factor = 1): void {
  const V = columns.length;
  for (let i = 0; i < row.length; i++) {
    const r = factor * row[i];
    const at = i * V;
    for (let j = 0; j < V; j++) W[at + j] += r * columns[j];
  }
}

/** columns = W^T row */
export function read(columns: Numbers, W: Numbers, row: Numbers): void {
  const V = columns.length;
  columns.fill(0);
  for (let i = 0; i < row.length; i++) {
    const r = row[i];
    const at = i * V;
    for (let j = 0; j < V; j++) columns[j] += r * W[at + j];
  }
}

/** row = W columns */
export function readAcross(row: Numbers, W: Numbers, columns: Numbers): void {
  const V = columns.length;
  for (let i = 0; i < row.length; i++) {
    const at = i * V;
    let sum = 0;
    for (let j = 0; j < V; j++) sum += W[at + j] * columns[j];
    row[i] = sum;
  }
}

export function dot(a: Numbers, b: Numbers): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** y = softmax(x) */
export function softmax(y: Numbers, x: Numbers): void {
  const highest = x.reduce((a, b) => (b > a || Number.isNaN(b) ? b : a), -Infinity);
  let total = 0;
  for (let i = 0; i < y.length; i++) total += y[i] = Math.exp(x[i] - highest);
  for (let i = 0; i < y.length; i++) y[i] /= total;
}

/** dy becomes the gradient of what y is the softmax of. */
export function softmaxBack(dy: Numbers, y: Numbers): void {
  const along = dot(dy, y);
  for (let i = 0; i < y.length; i++) dy[i] = y[i] * (dy[i] - along);
}
