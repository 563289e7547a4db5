// Views and copies: reshape, permute, slice, expand, contiguous, clone.
import {
  argumentError,
  checkInteger,
  checkSizes,
  collapse,
  countElements,
  contiguousStrides,
  bytesPerElement,
  FastWeightsError,
  formatShape,
  isSameView,
  overlaps,
  resolveDim,
  sameShape,
  scope,
  sizeOf,
  type Shape,
  Tensor,
} from '../core';
import { MAX_DIMS } from '../backends';
import { record } from '../autograd';
import { checkTensor, emptyLike, kernelsOf, zerosBeside } from './kernel';

/** y[i] = x[i] for every index of their common shape, both strided. */
export function copyInto(y: Tensor, x: Tensor): void {
  if (x.size === 0) return;
  const { shape, strides } = collapse(x.shape, [x.strides, y.strides]);
  if (shape.length > MAX_DIMS) {
    throw new FastWeightsError('UNSUPPORTED', `copy: at most ${MAX_DIMS} strided dimensions, got ${shape.length}`);
  }
  const [xStrides, yStrides] = strides;
  kernelsOf(x).copy({ x, y, shape, xStrides, yStrides, bytes: bytesPerElement(x.dtype) });
}

/** Part of another tensor's memory; an empty one starts where that does, so that no offset leaves the block. */
export function part(x: Tensor, shape: Shape, strides: Shape, offset: number): Tensor {
  return new Tensor(x.storage, shape, strides, sizeOf(shape) === 0 ? x.offset : offset);
}

/** Part of x's memory as another tensor, and how a gradient of it becomes one of x. */
export function view(
  name: string,
  x: Tensor,
  shape: Shape,
  strides: Shape,
  offset: number,
  back: (g: Tensor) => Tensor,
): Tensor {
  const y = part(x, shape, strides, offset);
  record(name, [x], [y], [], ([g]) => [g && back(g)], 'composed');
  return y;
}

/** The same elements in row-major order without gaps; the tensor itself when it already is. */
export function contiguous(x: Tensor): Tensor {
  checkTensor('contiguous', 'x', x);
  return x.isContiguous ? x : clone(x);
}

/** Another handle of the same value at the same place of the graph. */
export function another(x: Tensor): Tensor {
  const y = x.detach();
  if (x.node) {
    x.node.retain();
    y.node = x.node;
    y.nodeOutput = x.nodeOutput;
    if (y.owner === null) x.node.leaveToCollector();
  } else record('another', [x], [y], [], ([g]) => [g], 'composed');
  return y;
}

/** A copy in memory of its own. */
export function clone(x: Tensor): Tensor {
  checkTensor('clone', 'x', x);
  const y = emptyLike(x);
  copyInto(y, x);
  record('clone', [x], [y], [], ([g]) => [g], 'composed');
  return y;
}

/** Strides that show `x` in another shape without a copy, or undefined. */
function reshapedStrides(x: Tensor, shape: Shape): number[] | undefined {
  if (x.isContiguous) return contiguousStrides(shape);
  const groups = collapse(x.shape, [x.strides]);
  const out = new Array<number>(shape.length);
  let group = groups.shape.length - 1;
  let left = group >= 0 ? groups.shape[group] : 1;
  let step = group >= 0 ? groups.strides[0][group] : 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    out[i] = step;
    if (shape[i] === 1) continue;
    if (left % shape[i] !== 0) return undefined;
    step *= shape[i];
    left /= shape[i];
    if (left === 1 && group > 0) {
      group--;
      left = groups.shape[group];
      step = groups.strides[0][group];
    }
  }
  return out;
}

/** Another shape of as many elements; one size may be -1. A view when the strides allow it. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor('reshape', 'x', x);
  const target = checkSizes('reshape', 'shape', shape, -1);
  const open = target.indexOf(-1);
  if (open >= 0) {
    const known = sizeOf(target.filter((_, i) => i !== open));
    target[open] = known === 0 ? 0 : x.size / known;
  }
  if (target.some((d) => !Number.isInteger(d) || d < 0) || sizeOf(target) !== x.size) {
    throw argumentError(
      'SHAPE',
      'reshape',
      'shape',
      `of ${x.size} elements like ${formatShape(x.shape)}`,
      formatShape(shape),
    );
  }
  if (sameShape(target, x.shape)) return x;
  const strides = reshapedStrides(x, target);
  const source = strides ? x : contiguous(x);
  const from = source.shape;
  return view('reshape', source, target, strides ?? contiguousStrides(target), source.offset, (g) => reshape(g, from));
}

export function permute(x: Tensor, dims: Shape): Tensor {
  checkTensor('permute', 'x', x);
  const order = checkSizes('permute', 'dims', dims, -x.ndim).map((d) => resolveDim('permute', d, x.ndim));
  if (new Set(order).size !== x.ndim || order.length !== x.ndim) {
    throw argumentError('INVALID_ARGUMENT', 'permute', 'dims', `each of 0 to ${x.ndim - 1} once`, formatShape(dims));
  }
  const inverse = order.map((_, i) => order.indexOf(i));
  return view(
    'permute',
    x,
    order.map((d) => x.shape[d]),
    order.map((d) => x.strides[d]),
    x.offset,
    (g) => permute(g, inverse),
  );
}

/** Requires a dimension to take a part of. */
export function checkDivisible(where: string, argument: string, x: Tensor): void {
  if (x.ndim === 0) throw argumentError('SHAPE', where, argument, 'of at least one dimension', 'a scalar');
}

function bounds(size: number, start: number, end: number): [number, number] {
  const from = Math.min(Math.max(start < 0 ? start + size : start, 0), size);
  const to = Math.min(Math.max(end < 0 ? end + size : end, from), size);
  return [from, to];
}

/** Positions `start` to `end` of one dimension, clipped to its size as in JavaScript's slice. */
export function slice(x: Tensor, dim: number, start: number, end: number): Tensor {
  checkTensor('slice', 'x', x);
  checkDivisible('slice', 'x', x);
  const d = resolveDim('slice', dim, x.ndim);
  checkInteger('slice', 'start', start, -Number.MAX_SAFE_INTEGER);
  checkInteger('slice', 'end', end, -Number.MAX_SAFE_INTEGER);
  const [from, to] = bounds(x.shape[d], start, end);
  if (from === 0 && to === x.shape[d]) return x;
  const shape = x.shape.map((s, i) => (i === d ? to - from : s));
  const whole = x.shape;
  return view('slice', x, shape, x.strides, x.offset + from * x.strides[d], (g) => amongZeros(g, whole, d, from));
}

/** The tensor of which `g` is the slice from `from` on, and zeros elsewhere. */
export function amongZeros(g: Tensor, whole: Shape, d: number, from: number): Tensor {
  const to = from + g.shape[d];
  const y = zerosBeside(g, whole);
  copyInto(slice(y, d, from, to), g);
  record('slice', [g], [y], [], ([h]) => [h && slice(h, d, from, to)], 'composed');
  return y;
}

/** Repeats dimensions of size 1 (and new leading ones) without copying; -1 keeps a size. */
export function expand(x: Tensor, shape: Shape): Tensor {
  checkTensor('expand', 'x', x);
  const sizes = checkSizes('expand', 'shape', shape, -1);
  const lead = sizes.length - x.ndim;
  const target = sizes.map((d, i) => (d === -1 && i >= lead ? x.shape[i - lead] : d));
  const fits = lead >= 0 && x.shape.every((d, i) => d === target[i + lead] || d === 1) && !target.includes(-1);
  if (!fits)
    throw argumentError('SHAPE', 'expand', 'shape', `one that ${formatShape(x.shape)} repeats to`, formatShape(shape));
  countElements('expand', target);
  const strides = target.map((d, i) => (i < lead || (x.shape[i - lead] === 1 && d !== 1) ? 0 : x.strides[i - lead]));
  const from = x.shape;
  return view('expand', x, target, strides, x.offset, (g) => sumTo(g, from));
}

/** Adds up what broadcasting repeated. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  if (sameShape(g.shape, shape)) return g;
  const lead = g.ndim - shape.length;
  const dims = g.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && g.shape[i] !== 1));
  return reshape(g.sum(dims, true), shape);
}

/** Overwrites `y` with `x`, which broadcasts, as if `x` had been copied first: it may share the memory of `y`. */
export function assign(y: Tensor, x: Tensor): void {
  scope(() => {
    const source = sameShape(x.shape, y.shape) ? x : expand(x, y.shape);
    if (!isSameView(source, y)) copyInto(y, apart(source, y));
  });
  y.storage.version++;
}

/** `x` for a kernel that writes to `y`: a copy where the two share memory. */
export function apart<T extends Tensor | null | undefined>(x: T, y: Tensor): T {
  return (x && overlaps(y, x) ? clone(x) : x) as T;
}
