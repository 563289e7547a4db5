// Tensors cut into pieces along a dimension, and put together: split, cat, stack.
import {
  argumentError,
  checkInteger,
  describe,
  formatShape,
  resolveDim,
  scoped,
  type Shape,
  type Tensor,
} from '../core';
import { type BackwardFunction, record } from '../autograd';
import { checkAlike, checkTensor, emptyLike, zerosBeside } from './kernel';
import { checkDivisible, copyInto, part } from './view';

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
