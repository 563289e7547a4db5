// What makes one number of many: reductions, running folds, orders, products.
import type { Tensor } from '../tensor';

/** One dimension or several. */
export type Dims = number | readonly number[];

/** Along which dimension to sort, and from which end. */
export interface SortOptions {
  /** The last one by default. */
  dim?: number;
  /** false by default. */
  descending?: boolean;
}

/** What `topk` takes beside k. */
export interface TopkOptions {
  /** The last one by default. */
  dim?: number;
  /** Whether the largest, true by default, or the smallest. */
  largest?: boolean;
}

/** Values, and where they stood along their dimension (int32). */
export interface Sorted {
  /** The elements themselves; gradients go where they stood. */
  values: Tensor;
  /** Their positions. */
  indices: Tensor;
}

/** What `var` and `std` take beside the dimensions: PyTorch's keyword arguments. */
export interface VarianceOptions {
  /** What is taken off the number of elements that the sum is divided by; 1 by default. */
  correction?: number;
  /** Whether the dimensions stay, as size 1; false by default. */
  keepdim?: boolean;
}

/** How `multinomial` draws. */
export interface MultinomialOptions {
  /** Whether a category may be drawn again; false by default. */
  replacement?: boolean;
}

/**
 * Methods over dimensions: all of them unless some are given. With `keepdim` they stay as size 1. Dimensions may be
 * negative, counted from the end.
 */
export interface ReductionMethods {
  /** The sum; of int32 it wraps, of bool it counts in int32 (PyTorch: int64). */
  sum(dim?: Dims, keepdim?: boolean): Tensor;

  /** The arithmetic mean of floats. */
  mean(dim?: Dims, keepdim?: boolean): Tensor;

  /** The product, of a dimension or of all elements; of int32 it wraps, of bool it is int32. */
  prod(dim?: number, keepdim?: boolean): Tensor;

  /**
   * The largest elements; equal ones share the gradient. Values only, as PyTorch's `amax`: `maxWithIndices` gives the
   * positions, too. NaN where one is NaN.
   */
  max(dim?: Dims, keepdim?: boolean): Tensor;

  /** The smallest elements; see `max`. */
  min(dim?: Dims, keepdim?: boolean): Tensor;

  /** The largest element of a dimension and its first position: PyTorch's `max(dim)`. The gradient goes there alone. */
  maxWithIndices(dim: number, keepdim?: boolean): Sorted;

  /** The smallest element of a dimension and its first position. */
  minWithIndices(dim: number, keepdim?: boolean): Sorted;

  /** The first position (int32) of the largest element of a dimension, unlike PyTorch's the last one by default. */
  argmax(dim?: number, keepdim?: boolean): Tensor;

  /** The first position (int32) of the smallest element of a dimension, unlike PyTorch's the last one by default. */
  argmin(dim?: number, keepdim?: boolean): Tensor;

  /** The element in the middle of the order of a dimension or of all, of two the lower one; NaN where one is NaN. */
  median(dim?: number, keepdim?: boolean): Tensor;

  /** Whether one is not 0, as bool; false of nothing. */
  any(dim?: Dims, keepdim?: boolean): Tensor;

  /** Whether none is 0, as bool; true of nothing. */
  all(dim?: Dims, keepdim?: boolean): Tensor;

  /** How many are not 0, in int32. */
  countNonzero(dim?: Dims): Tensor;

  /** log of the sum of e^x, without overflow; the gradient is 0 where all are -Infinity. */
  logsumexp(dim?: Dims, keepdim?: boolean): Tensor;

  /** The variance: squares of the distances to the mean, summed and divided by their number less the correction (1). */
  var(dim?: Dims, options?: VarianceOptions): Tensor;

  /** The standard deviation, the root of `var`; the gradient is 0 where it is 0. */
  std(dim?: Dims, options?: VarianceOptions): Tensor;

  /**
   * (sum |x|^p)^(1/p), p = 2 by default; of p = 0 how many are not 0, of Infinity the largest magnitude, of -Infinity the
   * smallest. The gradient is 0 at a vector of zeros.
   */
  norm(p?: number, dim?: Dims, keepdim?: boolean): Tensor;

  /** Running sum along a dimension. Of int32 it wraps, of bool it counts in int32. */
  cumsum(dim: number): Tensor;

  /** Running product of floats along a dimension. */
  cumprod(dim: number): Tensor;

  /** log of the running sum of e^x along a dimension, without overflow. */
  logcumsumexp(dim: number): Tensor;

  /** e^x over its sum along a dimension, the last one by default. */
  softmax(dim?: number): Tensor;

  /** The logarithm of the softmax. */
  logSoftmax(dim?: number): Tensor;

  /** The positions (int32) that sort a dimension; stable, NaN is the largest. */
  argsort(options?: SortOptions): Tensor;

  /** A dimension in order, and where its elements stood (int32); stable, NaN is the largest. */
  sort(options?: SortOptions): Sorted;

  /** The k largest, or smallest, elements of a dimension in order, and where they stood (int32). */
  topk(k: number, options?: TopkOptions): Sorted;

  /** Categories (int32 [..., n]) drawn by the weights in the last dimension; see the function `multinomial`. */
  multinomial(numSamples: number, options?: MultinomialOptions): Tensor;

  /** The matrix product: [..., m, k] x [..., k, n]; one dimension is a row on the left and a column on the right. */
  matmul(other: Tensor): Tensor;

  /** The matrix product of two matrices. */
  mm(other: Tensor): Tensor;

  /** The matrix products of two batches [b, m, k] and [b, k, n], which do not broadcast. */
  bmm(other: Tensor): Tensor;

  /** The product of a matrix and a vector. */
  mv(other: Tensor): Tensor;

  /** The sum of the products of two vectors. */
  dot(other: Tensor): Tensor;

  /** The products [m, n] of each element of this vector with each of another. */
  outer(other: Tensor): Tensor;
}
