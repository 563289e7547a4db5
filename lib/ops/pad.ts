// Frames around tensors, and windows over them.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkSizes,
  PAD_MODES,
  type PadMode,
  resolveDim,
  scoped,
  type Shape,
  type Tensor,
} from '../core';
import { record } from '../autograd';
import { checkScalar, checkTensor, emptyLike, fill } from './kernel';
import { addAlong, indexSelect } from './indexing';
import { positionsBeside } from './repeats';
import { movedim } from './shapes';
import { assign, clone, reshape, slice, view } from './view';

/**
 * Elements before and behind the last dimension, the one before it, and so on: [before, after, before, after, ...].
 * 'constant' fills with `value`, and cuts off where a number is negative; 'reflect' repeats what is inside without the edge,
 * 'replicate' the edge, 'circular' what stands at the other end.
 */
export const pad = scoped(
  (x: Tensor, padding: readonly number[], mode: PadMode = 'constant', value: number = 0): Tensor => {
    checkTensor('pad', 'x', x);
    const given = checkSizes('pad', 'padding', padding, -Number.MAX_SAFE_INTEGER);
    checkChoice('pad', 'mode', mode, PAD_MODES);
    checkScalar('pad', 'value', value, x.dtype);
    if (given.length % 2 !== 0 || given.length > 2 * x.ndim) {
      const expected = `an even number of sizes, at most ${2 * x.ndim}`;
      throw argumentError('INVALID_ARGUMENT', 'pad', 'padding', expected, String(given.length));
    }
    const sides = x.shape.map((_, d): Side => {
      const i = 2 * (x.ndim - 1 - d);
      return { before: given[i] ?? 0, after: given[i + 1] ?? 0 };
    });
    sides.forEach(({ before, after }, d) => checkSide(mode, x.shape[d], before, after));
    if (mode === 'constant') return framed(x, sides, value);
    const padded = sides.reduce((y, side, d) => extended(y, side, d, mode), x);
    return padded === x ? clone(x) : padded;
  },
);

interface Side {
  before: number;
  after: number;
}

function checkSide(mode: PadMode, size: number, before: number, after: number): void {
  const least = Math.min(before, after);
  const most = Math.max(before, after);
  const refuse = (expected: string): never => {
    const found = `${before} and ${after} around a dimension of ${size}`;
    throw argumentError('INVALID_ARGUMENT', 'pad', 'padding', expected, found);
  };
  if (mode === 'constant') {
    if (size + before + after < 0 || size + least < 0) refuse('sizes that leave at least nothing');
    return;
  }
  if (least < 0) refuse(`at least 0 with '${mode}'`);
  if (mode === 'reflect' && most > 0 && most >= size) refuse("below the size of the dimension with 'reflect'");
  if (mode === 'replicate' && most > 0 && size === 0) refuse("0 around nothing with 'replicate'");
  if (mode === 'circular' && most > size) refuse("at most the size of the dimension with 'circular'");
}

/** x in a frame of one value, or what is left of it where sides are negative. */
function framed(x: Tensor, sides: readonly Side[], value: number): Tensor {
  const shape = sides.map(({ before, after }, d) => x.shape[d] + before + after);
  const y = emptyLike(x, shape);
  fill(y, value);
  const shared = (t: Tensor, sign: 1 | -1): Tensor =>
    sides.reduce((part, { before, after }, d) => {
      const n = t.shape[d];
      return slice(part, d, Math.max(0, sign * before), n - Math.max(0, sign * after));
    }, t);
  assign(shared(y, 1), shared(x.detach(), -1));
  const back = sides.map(({ before, after }) => ({ before: -before, after: -after }));
  record('pad', [x], [y], [], ([g]) => [g && framed(g, back, 0)], 'composed');
  return y;
}

function extended(x: Tensor, { before, after }: Side, d: number, mode: PadMode): Tensor {
  if (before === 0 && after === 0) return x;
  const n = x.shape[d];
  const places = Int32Array.from({ length: before + n + after }, (_, i) => {
    const at = i - before;
    if (mode === 'replicate') return Math.min(Math.max(at, 0), n - 1);
    if (mode === 'circular') return (at + n) % n;
    return at < 0 ? -at : at < n ? at : 2 * (n - 1) - at;
  });
  return indexSelect(x, d, positionsBeside(x, places));
}

/**
 * Windows of `size` elements, `step` apart, of a dimension: [..., floor((n - size) / step) + 1, ..., size], a view. The
 * backward pass adds up where windows overlap.
 */
export const unfold = scoped((x: Tensor, dim: number, size: number, step: number): Tensor => {
  checkTensor('unfold', 'x', x);
  const d = resolveDim('unfold', dim, x.ndim);
  const n = x.shape[d] ?? 1;
  checkInteger('unfold', 'size', size, 0, n);
  checkInteger('unfold', 'step', step, 1);
  const count = Math.floor((n - size) / step) + 1;
  if (x.ndim === 0) return reshape(x, [1]).slice(0, 0, size);
  const at = <T>(list: readonly T[], own: T, last: T): T[] => [...list.map((v, i) => (i === d ? own : v)), last];
  const shape: Shape = at(x.shape, count, size);
  const strides = at(x.strides, x.strides[d] * step, x.strides[d]);
  const whole = x.shape;
  return view('unfold', x, shape, strides, x.offset, (g) => {
    const places = Int32Array.from({ length: count * size }, (_, i) => Math.floor(i / size) * step + (i % size));
    const lines = reshape(movedim(g, -1, d + 1), at(whole, count * size, 0).slice(0, -1));
    return addAlong(lines, whole, d, positionsBeside(g, places));
  });
});
