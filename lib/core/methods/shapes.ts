// Other shapes of the same elements, and copies that repeat, move or frame them.
import type { DType } from '../dtype';
import type { Device } from '../storage';
import type { Tensor } from '../tensor';

/** Sizes or dimensions, one by one or as a list. */
export type Sizes = number[] | [readonly number[]];

/** How `pad` fills: with a number, by reflection without the edge, with the edge, or from the other end. */
export const PAD_MODES = ['constant', 'reflect', 'replicate', 'circular'] as const;

/** A way of `pad`. */
export type PadMode = (typeof PAD_MODES)[number];

/** Methods that change where elements stand. Dimensions may be negative, counted from the end. */
export interface ShapeMethods {
  /** @internal Another handle of the same value at the same place of the graph. */
  another(): Tensor;

  /** To another dtype or device; another handle of it when it is there already. Moving between devices blocks. */
  to(target: Device | DType): Tensor;

  /** The same elements in row-major order without gaps, a copy only where they are not. */
  contiguous(): Tensor;

  /** A copy in memory of its own. */
  clone(): Tensor;

  /** Another shape of as many elements; one size may be -1. A view where the strides allow it. */
  reshape(...shape: Sizes): Tensor;

  /** Consecutive pieces of one dimension, 0 by default, as views: of these sizes, or of one, the last piece maybe smaller. */
  split(sizes: number | readonly number[], dim?: number): Tensor[];

  /** The dimensions in another order, as a view. */
  permute(...dims: Sizes): Tensor;

  /** Two dimensions exchanged, as a view. */
  transpose(dim0: number, dim1: number): Tensor;

  /** A matrix transposed; fewer dimensions as they are. */
  t(): Tensor;

  /** Some dimensions at other places, as a view; the others keep their order. */
  movedim(source: number | readonly number[], destination: number | readonly number[]): Tensor;

  /** Elements `start` to `end` (exclusive) of one dimension, as a view; negative positions count from the end. */
  slice(dim: number, start: number, end?: number): Tensor;

  /** Dimensions of size 1 (and new leading ones) repeated without a copy; -1 keeps a size. */
  expand(...shape: Sizes): Tensor;

  /** `expand` after PyTorch's other name: to a shape that this one broadcasts to. */
  broadcastTo(shape: readonly number[]): Tensor;

  /** Without the dimensions of size 1, or those named, where their size is 1. */
  squeeze(dim?: number | readonly number[]): Tensor;

  /** With a new dimension of size 1. */
  unsqueeze(dim: number): Tensor;

  /** The dimensions from `startDim` (0) to `endDim` (the last one) as one. */
  flatten(startDim?: number, endDim?: number): Tensor;

  /** One dimension as several; one size may be -1. */
  unflatten(dim: number, sizes: readonly number[]): Tensor;

  /** The whole tensor so many times along each dimension, new leading ones first; a copy. */
  repeat(...repeats: Sizes): Tensor;

  /** `repeat`, where repeats that are missing in front count as 1. */
  tile(...repeats: Sizes): Tensor;

  /**
   * Each element so many times in a row, along a dimension or, without one, of the flattened tensor: a number of times for
   * all, or int32 [n], one for each, which is read (blocking).
   */
  repeatInterleave(repeats: number | Tensor, dim?: number): Tensor;

  /** The order of the elements turned round along some dimensions; a copy. */
  flip(...dims: Sizes): Tensor;

  /** Elements moved along, what leaves at one end coming in at the other; without `dims` those of the flattened tensor. */
  roll(shifts: number | readonly number[], dims?: number | readonly number[]): Tensor;

  /**
   * Elements added before and behind the last dimension, the one before it, and so on: [before, after, before, after, ...].
   * Negative numbers cut off in the mode 'constant', which fills with `value`, 0 by default. The other modes are for any
   * dimensions, not only the last ones of a batch as in PyTorch.
   */
  pad(padding: readonly number[], mode?: PadMode, value?: number): Tensor;

  /** Windows of `size` elements, `step` apart, of a dimension; a view, their elements are the new last dimension. */
  unfold(dim: number, size: number, step: number): Tensor;

  /** At most so many pieces of equal size, but for the last one, as views. */
  chunk(chunks: number, dim?: number): Tensor[];

  /** So many pieces, the first ones larger by 1, or pieces that end at the positions given, as views. */
  tensorSplit(indicesOrSections: number | readonly number[], dim?: number): Tensor[];

  /** The positions of a dimension (the first by default), which goes, as views. */
  unbind(dim?: number): Tensor[];

  /** The last two dimensions with 0 above the diagonal, or the one so many places above it. */
  tril(diagonal?: number): Tensor;

  /** The last two dimensions with 0 below the diagonal, or the one so many places above it. */
  triu(diagonal?: number): Tensor;

  /** The diagonal of a matrix, a view, or the matrix whose diagonal this is, so many places above the main one. */
  diag(diagonal?: number): Tensor;

  /** The diagonal of two dimensions (the first two by default) as the new last dimension, a view. */
  diagonal(offset?: number, dim1?: number, dim2?: number): Tensor;
}
