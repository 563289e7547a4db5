// Rows of a table by index, and those of the unit matrix.
import { argumentError, checkInteger, formatShape, scoped, type Tensor } from '../core';
import { record } from '../autograd';
import { checkFloat, checkIndices, emptyLike, fill, kernelsOf, takesBfloat16, zerosBeside } from './kernel';
import { max } from './extremes';
import { scatterAdd } from './indexing';
import { contiguous, reshape } from './view';

/**
 * weight[indices]: weight [vocabulary, D], indices int32 of any shape; result [...indices, D]. An index outside the
 * vocabulary is INVALID_ARGUMENT, thrown here or by what reads the result.
 */
export const embedding = takesBfloat16((weight: Tensor, indices: Tensor): Tensor => {
  checkFloat('embedding', 'weight', weight);
  checkIndices('embedding', 'indices', indices, weight);
  if (weight.ndim !== 2)
    throw argumentError('SHAPE', 'embedding', 'weight', '[vocabulary, D]', formatShape(weight.shape));
  const [vocabulary, d] = weight.shape;
  const rows = indices.size;
  const ids = contiguous(indices);
  const y = emptyLike(weight, [...indices.shape, d]);
  kernelsOf(weight).embedding({ weight: contiguous(weight), indices: ids, y, rows, d, vocabulary });
  record('embedding', [weight], [y], [ids], ([g], [sids]) => [g && addToRows(g, sids, vocabulary)], 'composed');
  return y;
});

/** Rows of g [...indices, D] added up by index: [vocabulary, D]. */
function addToRows(g: Tensor, indices: Tensor, vocabulary: number): Tensor {
  const [rows, d] = [indices.size, g.shape[g.ndim - 1]];
  const y = emptyLike(g, [vocabulary, d]);
  kernelsOf(g).embeddingBackward({ indices, dy: contiguous(g), dweight: y, rows, d, vocabulary });
  record('embedding', [g], [y], [indices], ([h], [ids]) => [h && embedding(h, ids)], 'composed');
  return y;
}

/**
 * 1 at the position that each index (int32 [...]) names and 0 elsewhere, int32 [..., numClasses]. Without `numClasses` it is
 * the largest index and one more, which is read (blocking). An index outside is INVALID_ARGUMENT, thrown here or by what
 * reads the result.
 */
export const oneHot = scoped((indices: Tensor, numClasses?: number): Tensor => {
  checkIndices('oneHot', 'indices', indices, indices);
  if (numClasses === undefined && indices.size === 0) {
    throw argumentError('INVALID_ARGUMENT', 'oneHot', 'numClasses', 'a number where there is no index', 'none');
  }
  const n = checkInteger('oneHot', 'numClasses', numClasses ?? Math.max(max(indices).item() + 1, 1), 1);
  const at = reshape(indices, [...indices.shape, 1]);
  const ones = emptyLike(at);
  fill(ones, 1);
  return scatterAdd(zerosBeside(indices, [...indices.shape, n]), -1, at, ones);
});
