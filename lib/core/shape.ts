// Shapes and strides: pure functions on lists of numbers.
import { argumentError, checkInteger, describe, FastWeightsError } from './errors';

/** The sizes of dimensions. */
export type Shape = readonly number[];

/** No tensor has more dimensions. */
export const MAX_RANK = 64;

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const d of shape) size *= d;
  return size;
}

/** Requires a list of whole numbers >= min, and returns a copy of it. */
export function checkSizes(where: string, argument: string, sizes: unknown, min = 0): number[] {
  if (!Array.isArray(sizes)) {
    throw argumentError('INVALID_ARGUMENT', where, argument, 'a list of whole numbers', describe(sizes));
  }
  if (sizes.length > MAX_RANK) {
    throw argumentError('SHAPE', where, argument, `of at most ${MAX_RANK} dimensions`, String(sizes.length));
  }
  const out = new Array<number>(sizes.length);
  for (let i = 0; i < out.length; i++) {
    const size: unknown = sizes[i];
    if (!Number.isSafeInteger(size) || (size as number) < min) checkInteger(where, `${argument}[${i}]`, size, min);
    out[i] = size as number;
  }
  return out;
}

/** The number of elements; SHAPE where the sizes that are not 0 multiply to more than can be counted. */
export function countElements(where: string, shape: Shape): number {
  let count = 1;
  let empty = false;
  for (const d of shape) {
    if (d === 0) empty = true;
    else count *= d;
  }
  if (!(count <= Number.MAX_SAFE_INTEGER)) {
    throw argumentError('SHAPE', where, 'shape', 'of at most 2^53 - 1 elements', formatShape(shape));
  }
  return empty ? 0 : count;
}

/** What a view says of itself at every turn, found out once. */
export interface Extent {
  /** Number of elements. */
  readonly size: number;
  /** From the first element to the last, in elements of the storage; 0 when there is none. */
  readonly reach: number;
  /** Whether the elements lie in row-major order without gaps (dimensions of size 1 may have any stride). */
  readonly isContiguous: boolean;
}

/**
 * Measures a view, and requires that it reads nothing outside a storage of `length` elements: the one check that every
 * tensor passes, whoever made its sizes and strides.
 */
export function measure(
  extent: { -readonly [K in keyof Extent]: Extent[K] },
  shape: Shape,
  strides: Shape,
  offset: number,
  length: number,
): void {
  let count = 1;
  let last = 0;
  let empty = false;
  let dense = true;
  let whole = strides.length === shape.length && Number.isSafeInteger(offset) && offset >= 0;
  for (let i = shape.length - 1; i >= 0; i--) {
    const d = shape[i];
    const stride = strides[i];
    whole &&= Number.isInteger(d) && d >= 0 && Number.isInteger(stride) && stride >= 0;
    if (d === 0) {
      empty = true;
      continue;
    }
    if (d !== 1 && stride !== count) dense = false;
    last += (d - 1) * stride;
    count *= d;
  }
  extent.size = empty ? 0 : count;
  extent.reach = empty ? 0 : last + 1;
  extent.isContiguous = dense || empty;
  if (whole && count <= Number.MAX_SAFE_INTEGER && offset + extent.reach <= length) return;
  const found = `${formatShape(shape)} with strides ${formatShape(strides)} from element ${offset}`;
  throw argumentError('SHAPE', 'view', 'shape', `within a storage of ${length} elements`, found);
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

/**
 * The stride from token to token of [B, T, ...] where all tokens of all batches are walked in one, else undefined.
 * Dimensions of size 1 may have any stride.
 */
export function tokenStride(shape: Shape, strides: Shape): number | undefined {
  if (shape[0] <= 1) return strides[1];
  if (shape[1] === 1) return strides[0];
  return shape[1] === 0 || strides[0] === shape[1] * strides[1] ? strides[1] : undefined;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Sizes or dimensions that were given one by one or as a list. */
export function listed(args: readonly unknown[]): readonly number[] {
  return (args.length === 1 && typeof args[0] !== 'number' ? args[0] : args) as readonly number[];
}

/** Index of a dimension, negative counted from the end. A scalar counts as having one. */
export function resolveDim(where: string, dim: number, rank: number): number {
  const count = Math.max(rank, 1);
  const resolved = typeof dim === 'number' && dim < 0 ? dim + count : dim;
  if (!Number.isInteger(resolved) || resolved < 0 || resolved >= count) {
    throw argumentError('INVALID_ARGUMENT', where, 'dim', `from ${-count} to ${count - 1}`, describe(dim));
  }
  return resolved;
}

/** NumPy's rule: align at the end, sizes equal or one of them 1. */
export function broadcastShapes(where: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const x = a[a.length - i] ?? 1;
    const y = b[b.length - i] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new FastWeightsError('SHAPE', `${where}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`, {
        expected: formatShape(a),
        found: formatShape(b),
      });
    }
    out[rank - i] = x === 1 ? y : x;
  }
  return out;
}

/** Strides that read `shape` as if it were the larger `target`: 0 along every repeated dimension. */
export function broadcastStrides(shape: Shape, strides: Shape, target: Shape): number[] {
  const lead = target.length - shape.length;
  return target.map((d, i) => (i < lead || (shape[i - lead] === 1 && d !== 1) ? 0 : strides[i - lead]));
}

/** Merges neighbouring dimensions that every operand walks in one stride; sizes of 1 vanish. */
export function collapse(shape: Shape, operands: readonly Shape[]): { shape: number[]; strides: number[][] } {
  const outShape: number[] = [];
  const out: number[][] = operands.map(() => []);
  for (let i = 0; i < shape.length; i++) {
    if (shape[i] === 1) continue;
    const last = outShape.length - 1;
    if (last >= 0 && operands.every((s, j) => out[j][last] === s[i] * shape[i])) {
      outShape[last] *= shape[i];
      operands.forEach((s, j) => (out[j][last] = s[i]));
    } else {
      outShape.push(shape[i]);
      operands.forEach((s, j) => out[j].push(s[i]));
    }
  }
  return { shape: outShape, strides: out };
}
