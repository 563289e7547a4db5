// Rows of a table by index.
import { argumentError, formatShape, type Tensor } from '../core';
import { record } from '../autograd';
import { checkFloat, checkIndices, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { contiguous } from './view';

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
