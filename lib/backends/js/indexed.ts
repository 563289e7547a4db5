// Kernels that choose elements: by a condition, or by indices.
import type { TypedArray } from '../../core';
import type { KernelArguments } from '../table';
import { checkIndices } from './indices';
import { elements, forEachRow, ints } from './view';

export function where(args: KernelArguments<'where'>): void {
  const { shape, conditionStrides, aStrides, bStrides } = args;
  const condition = elements(args.condition);
  const a: TypedArray = elements(args.a);
  const b: TypedArray = elements(args.b);
  const y: TypedArray = elements(args.y);
  const last = shape.length - 1;
  const n = shape[last] ?? 1;
  const [step, aStep, bStep] = [conditionStrides, aStrides, bStrides].map((strides) => strides[last] ?? 0);
  let to = 0;
  forEachRow(shape, [conditionStrides, aStrides, bStrides], ([at, aAt, bAt]) => {
    for (let i = 0; i < n; i++) y[to++] = condition[at + i * step] ? a[aAt + i * aStep] : b[bAt + i * bStep];
  });
}

export function gather(args: KernelArguments<'gather'>): void {
  const { shape, xStrides, indexStrides, step } = args;
  const index = ints(args.index);
  checkIndices('gather', 'index', index, args.index.size, args.limit);
  const x: TypedArray = elements(args.x);
  const y: TypedArray = elements(args.y);
  const last = shape.length - 1;
  const n = shape[last] ?? 1;
  const xStep = xStrides[last] ?? 0;
  const indexStep = indexStrides[last] ?? 0;
  let to = 0;
  forEachRow(shape, [xStrides, indexStrides], ([from, at]) => {
    for (let i = 0; i < n; i++) y[to++] = x[from + i * xStep + step * index[at + i * indexStep]];
  });
}

export function scatterAdd(args: KernelArguments<'scatterAdd'>): void {
  const { shape, xStrides, indexStrides, yStrides, step } = args;
  const index = ints(args.index);
  checkIndices('scatterAdd', 'index', index, args.index.size, args.limit);
  const x: TypedArray = elements(args.x);
  const y: TypedArray = elements(args.y);
  const last = shape.length - 1;
  forEachRow(shape, [xStrides, indexStrides, yStrides], ([from, at, to]) => {
    for (let i = 0; i < shape[last]; i++) {
      y[to + step * index[at + i * indexStrides[last]]] += x[from + i * xStrides[last]];
    }
  });
}
