// Elements by their positions.
import type { Tensor } from '../tensor';

/** What stands for one dimension of `index`: a position, a range, positions or a mask, or null for all of it. */
export type Index = number | readonly [start: number, end: number] | Tensor | null;

/** Methods that take elements by position. Indices are int32, from 0. */
export interface IndexingMethods {
  /** y[i, j, k] = this[i, index[i, j, k], k] for dim 1, and so on; the index is int32 and gives the shape. */
  gather(dim: number, index: Tensor): Tensor;

  /** A copy to which `source` is added where the index (int32) says, the opposite of `gather`. */
  scatterAdd(dim: number, index: Tensor, source: Tensor): Tensor;

  /** The positions `index` (int32 [n]) of one dimension, side by side. */
  indexSelect(dim: number, index: Tensor): Tensor;

  /** Elements start to start + length of one dimension, as a view. */
  narrow(dim: number, start: number, length: number): Tensor;

  /** One position of a dimension, which goes; a view. Negative ones count from the end. */
  select(dim: number, position: number): Tensor;

  /** Indices (int32 [n, rank]) of what is not 0, in row-major order. Blocks, since it reads the tensor. */
  nonzero(): Tensor;

  /** The elements [n] where the mask (bool, of this shape) holds, in row-major order. Blocks, since it reads the mask. */
  maskedSelect(mask: Tensor): Tensor;

  /**
   * An item for each of the first dimensions: a number takes one position, a pair a range, null all, a tensor (int32, or bool
   * for as many dimensions as it has) positions; several tensors act together, as in NumPy and PyTorch.
   */
  index(...items: Index[]): Tensor;
}
