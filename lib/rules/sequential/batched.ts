// Products of the vectors and matrices of each member of a batch.
import type { Tensor } from '../../core';

/** a b^T: a [B, I], b [B, J] to [B, I, J]. */
export const outerOf = (a: Tensor, b: Tensor): Tensor => a.unsqueeze(2).mul(b.unsqueeze(1));

/** M x: M [B, I, J], x [B, J] to [B, I]. */
export const columnsBy = (M: Tensor, x: Tensor): Tensor => M.matmul(x.unsqueeze(2)).squeeze(2);

/** M^T x: M [B, I, J], x [B, I] to [B, J]. */
export const rowsBy = (M: Tensor, x: Tensor): Tensor => x.unsqueeze(1).matmul(M).squeeze(1);
