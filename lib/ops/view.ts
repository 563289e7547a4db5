// Views and copies: reshape, permute, slice, expand, split, cat, contiguous, clone, to.
import {
  argumentError,
  checkInteger,
  checkSizes,
  collapse,
  countElements,
  contiguousStrides,
  bytesPerElement,
  type Device,
  type DType,
  describe,
  DTYPES,
  FastWeightsError,
  formatShape,
  isFloat,
  isSameView,
  newArray,
  overlaps,
  resolveDim,
  sameShape,
  scope,
  sizeOf,
  type Shape,
  Tensor,
  scoped,
} from '../core';
import { type Backend, getBackend, MAX_DIMS } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import { checkAlike, checkTensor, dtypeCodes, emptyLike, emptyOn, kernelsOf, zerosBeside } from './kernel';

/** y[i] = x[i] for every index of their common shape, both strided. */
function copyInto(y: Tensor, x: Tensor): void {
  if (x.size === 0) return;
  const { shape, strides } = collapse(x.shape, [x.strides, y.strides]);
  if (shape.length > MAX_DIMS) {
    throw new FastWeightsError('UNSUPPORTED', `copy: at most ${MAX_DIMS} strided dimensions, got ${shape.length}`);
  }
  const [xStrides, yStrides] = strides;
  kernelsOf(x).copy({ x, y, shape, xStrides, yStrides, bytes: bytesPerElement(x.dtype) });
}

/** Part of another tensor's memory; an empty one starts where that does, so that no offset leaves the block. */
function part(x: Tensor, shape: Shape, strides: Shape, offset: number): Tensor {
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
function checkDivisible(where: string, argument: string, x: Tensor): void {
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

function checkList(where: string, argument: string, list: unknown, expected: string, least = 0): void {
  if (Array.isArray(list) && list.length >= least) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, describe(list));
}

/**
 * Consecutive pieces of one dimension, the first one by default, as views with one backward pass between them: of these sizes,
 * or of one size, where the last piece may be smaller.
 */
export const split = scoped((x: Tensor, sizes: Shape | number, dim: number = 0): Tensor[] => {
  checkTensor('split', 'x', x);
  checkDivisible('split', 'x', x);
  const d = resolveDim('split', dim, x.ndim);
  const list = typeof sizes === 'number' ? equalSizes(x.shape[d], sizes) : sizes;
  checkList('split', 'sizes', list, 'a whole number or a list of them');
  const total = list.reduce<number>((sum, size, i) => sum + checkInteger('split', `sizes[${i}]`, size), 0);
  if (total !== x.shape[d]) {
    throw argumentError('SHAPE', 'split', 'sizes', `adding up to ${x.shape[d]}`, formatShape(list));
  }
  let at = 0;
  const parts = list.map((size) => {
    const shape = x.shape.map((s, i) => (i === d ? size : s));
    const piece = part(x, shape, x.strides, x.offset + at * x.strides[d]);
    at += size;
    return piece;
  });
  const shapes = parts.map((p) => p.shape);
  const back: BackwardFunction = (gradients) => {
    const some = gradients.find((g) => g !== null);
    return [
      some
        ? cat(
            gradients.map((g, i) => g ?? zerosBeside(some, shapes[i])),
            d,
          )
        : null,
    ];
  };
  record('split', [x], parts, [], back, 'composed');
  return parts;
});

function equalSizes(total: number, size: number): number[] {
  checkInteger('split', 'sizes', size, 1);
  return Array.from({ length: Math.max(1, Math.ceil(total / size)) }, (_, i) => Math.min(size, total - i * size));
}

/** Requires a list of at least one tensor. */
function checkParts(where: string, parts: readonly unknown[]): void {
  checkList(where, 'parts', parts, 'a list of at least one tensor', 1);
  for (let i = 0; i < parts.length; i++) checkTensor(where, `parts[${i}]`, parts[i]);
}

/** Tensors one after the other along a dimension. */
export const cat = scoped((parts: readonly Tensor[], dim: number = 0): Tensor => {
  checkParts('cat', parts);
  const first = parts[0];
  checkDivisible('cat', 'parts[0]', first);
  const d = resolveDim('cat', dim, first.ndim);
  parts.forEach((p, i) => {
    checkAlike('cat', `parts[${i}]`, p, first, 'parts[0]');
    if (p.ndim !== first.ndim || p.shape.some((s, j) => j !== d && s !== first.shape[j])) {
      throw argumentError(
        'SHAPE',
        'cat',
        `parts[${i}]`,
        `${formatShape(first.shape)} except along dim ${d}`,
        formatShape(p.shape),
      );
    }
  });
  const sizes = parts.map((p) => p.shape[d]);
  const total = sizes.reduce((a, b) => a + b, 0);
  const y = emptyLike(
    first,
    first.shape.map((s, i) => (i === d ? total : s)),
  );
  let at = 0;
  for (const p of parts) {
    copyInto(part(y, p.shape, y.strides, at * y.strides[d]), p);
    at += p.shape[d];
  }
  record('cat', parts, [y], [], ([g]) => (g ? split(g, sizes, d) : []), 'composed');
  return y;
});

/** Tensors of one shape side by side along a new dimension. */
export const stack = scoped((parts: readonly Tensor[], dim: number = 0): Tensor => {
  checkParts('stack', parts);
  return cat(
    parts.map((p) => p.unsqueeze(dim)),
    dim,
  );
});

function isDType(target: Device | DType): target is DType {
  return (DTYPES as readonly string[]).includes(target);
}

/** Overwrites `y` with the elements of `x` in the dtype of `y`; both contiguous, off the tape. */
export function castInto(x: Tensor, y: Tensor): void {
  kernelsOf(x).cast({ x, y, n: x.size, from: dtypeCodes[x.dtype], to: dtypeCodes[y.dtype] });
}

/**
 * To another dtype or device; the tensor itself when it is there already. From card to card it is queued like any operator;
 * other moves between devices block.
 */
export function to(x: Tensor, target: Device | DType): Tensor {
  checkTensor('to', 'x', x);
  if (isDType(target)) {
    if (target === x.dtype) return x;
    const source = contiguous(x);
    const y = emptyLike(x, x.shape, target);
    castInto(source, y);
    const from = x.dtype;
    if (isFloat(target)) record('to', [x], [y], [], ([g]) => [g && to(g, from)], 'composed');
    return y;
  }
  if (target === x.device) return x;
  const backend = getBackend(target);
  const from = x.device;
  if (backend.device === from) return x;
  const y = emptyOn(backend, x.shape, x.dtype);
  moveElements(contiguous(x), y, backend);
  record('to', [x], [y], [], ([g]) => [g && to(g, from)], 'composed');
  return y;
}

function moveElements({ storage, offset, size, dtype }: Tensor, y: Tensor, backend: Backend): void {
  const bytes = storage.elementBytes;
  if (backend.copyFrom?.(y.storage, storage, offset * bytes, size * bytes)) return;
  const raw = newArray(dtype, size);
  storage.memory.read(storage.handle, offset, raw);
  backend.write(y.storage.handle, 0, raw);
}

/** To a dtype on a device; float64 exists on `js` only, so that the order depends on where it goes. */
export function convert(x: Tensor, device: Device, dtype: DType): Tensor {
  return dtype === 'float64' ? to(to(x, device), dtype) : to(to(x, dtype), device);
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
