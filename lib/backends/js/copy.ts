// Kernels that move elements: fill, conversion between dtypes, strided copies.
import { dtypeCode, fromBfloat16, toBfloat16, toInt32, type TypedArray } from '../../core';
import type { KernelArguments } from '../table';
import { elements, forEachRow } from './view';

const BFLOAT16 = dtypeCode('bfloat16');
const INT32 = dtypeCode('int32');
const BOOL = dtypeCode('bool');

/** A number as an element of a dtype; typed arrays round to float32 themselves. */
function stored(dtype: number, value: number): number {
  switch (dtype) {
    case BFLOAT16:
      return toBfloat16(value);
    case INT32:
      return toInt32(value);
    case BOOL:
      return Number(value !== 0);
    default:
      return value;
  }
}

export function fill({ y, n, value, dtype }: KernelArguments<'fill'>): void {
  elements(y).fill(stored(dtype, value), 0, n);
}

export function cast({ x, y, n, from, to }: KernelArguments<'cast'>): void {
  const source: TypedArray = elements(x);
  const target: TypedArray = elements(y);
  for (let i = 0; i < n; i++) {
    target[i] = stored(to, from === BFLOAT16 ? fromBfloat16(source[i]) : source[i]);
  }
}

export function copy({ x, y, shape, xStrides, yStrides }: KernelArguments<'copy'>): void {
  const source: TypedArray = elements(x);
  const target: TypedArray = elements(y);
  const last = shape.length - 1;
  const n = shape[last] ?? 1;
  const xStep = xStrides[last] ?? 1;
  const yStep = yStrides[last] ?? 1;
  forEachRow(shape, [xStrides, yStrides], ([from, to]) => {
    for (let i = 0; i < n; i++) target[to + i * yStep] = source[from + i * xStep];
  });
}
