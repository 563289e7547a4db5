// Elements in order along a dimension.
import {
  checkInteger,
  checkOptions,
  type OptionNames,
  resolveDim,
  scoped,
  sizeOf,
  type Sorted,
  type SortOptions,
  type Tensor,
  type TopkOptions,
} from '../core';
import { checkTensor, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { gather } from './indexing';
import { to } from './cast';
import { contiguous, slice } from './view';

const SORT: OptionNames<SortOptions> = { dim: true, descending: 'flag' };

const order = takesBfloat16((x: Tensor, d: number, descending: boolean): Tensor => {
  const source = x.dtype === 'bool' ? to(x, 'int32') : contiguous(x);
  const y = emptyLike(x, x.shape, 'int32');
  const [outer, n, inner] = [sizeOf(x.shape.slice(0, d)), x.shape[d] ?? 1, sizeOf(x.shape.slice(d + 1))];
  kernelsOf(x).argsort({ x: source, y, outer, n, inner, descending: Number(descending) });
  return y;
});

/** The positions (int32) that sort a dimension: equal elements keep their order, NaN is the largest. */
export const argsort = scoped((x: Tensor, options: SortOptions = {}): Tensor => {
  checkTensor('argsort', 'x', x);
  checkOptions('argsort', options, SORT);
  return order(x.detach(), resolveDim('argsort', options.dim ?? -1, x.ndim), options.descending ?? false);
});

/** A dimension in order, with the positions; always stable, NaN is the largest. Gradients go where the values stood. */
export const sort = scoped((x: Tensor, options: SortOptions = {}): Sorted => {
  checkTensor('sort', 'x', x);
  checkOptions('sort', options, SORT);
  const d = resolveDim('sort', options.dim ?? -1, x.ndim);
  const indices = order(x.detach(), d, options.descending ?? false);
  return { values: gather(x, d, indices), indices };
});

const TOPK: OptionNames<TopkOptions> = { dim: true, largest: 'flag' };

/** The k largest (or smallest) elements of a dimension in order, of equal ones the first; k at most its size. */
export const topk = scoped((x: Tensor, k: number, options: TopkOptions = {}): Sorted => {
  checkTensor('topk', 'x', x);
  checkOptions('topk', options, TOPK);
  const d = resolveDim('topk', options.dim ?? -1, x.ndim);
  checkInteger('topk', 'k', k, x.ndim === 0 ? 1 : 0, x.shape[d] ?? 1);
  if (x.ndim === 0) return sort(x);
  const indices = contiguous(slice(order(x.detach(), d, options.largest ?? true), d, 0, k));
  return { values: gather(x, d, indices), indices };
});
