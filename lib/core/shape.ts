// Shapes and strides: pure functions on lists of numbers.
import { FastWeightsError } from './errors';

export type Shape = readonly number[];

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const d of shape) size *= d;
  return size;
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

/** Whether elements lie in row-major order without gaps (dimensions of size 1 may have any stride). */
export function isContiguous(shape: Shape, strides: Shape): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] === 0) return true;
    if (shape[i] !== 1 && strides[i] !== step) return false;
    step *= shape[i];
  }
  return true;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Index of a dimension, negative counted from the end. */
export function resolveDim(where: string, dim: number, rank: number): number {
  const resolved = dim < 0 ? dim + rank : dim;
  if (!Number.isInteger(resolved) || resolved < 0 || resolved >= Math.max(rank, 1)) {
    throw new FastWeightsError('INVALID_ARGUMENT', `${where}: dim must be from ${-rank} to ${rank - 1}, got ${dim}`, {
      argument: 'dim',
      expected: `${-rank} to ${rank - 1}`,
      found: String(dim),
    });
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
