// EFLA: the delta rule as the exact flow of its gradient over a step beta ("Error-Free Linear Attention", 2025).
import type { Tensor } from '../../core';
import { repeatHeads, toFloat32, where } from '../../ops';
import { checkPerHead, defineRule } from '../recurrence/define';

/** Inputs beside q, k, v. */
export interface EflaGates {
  /** How long the flow lasts [B, T, HV], at least 0. */
  beta: Tensor;
}

const name = 'efla';

/** Below it (1 - e^-x) / x is a series: divided, its slope would be a difference of large numbers. */
const SMALL = 0.1;
/** Of that series, from the last: the terms left out are below 1e-16. */
const TERMS = [9, 8, 7, 6, 5, 4, 3, 2];

/** (1 - e^-x) / x, 1 where x is 0. */
function meanDecay(x: Tensor): Tensor {
  const near = x.abs().lt(SMALL);
  const small = where(near, x, 0);
  // 1 - x/2 (1 - x/3 (1 - x/4 ...))
  const series = TERMS.reduce(
    (inner, n) =>
      inner
        .mul(small)
        .mul(-1 / n)
        .add(1),
    small.mul(-1 / 10).add(1),
  );
  const large = where(near, 1, x);
  return where(near, series, large.neg().expm1().neg().div(large));
}

/**
 * S_t = (I - a k_t k_t^T) S_{t-1} + a k_t v_t^T with a = (1 - exp(-beta_t |k_t|^2)) / |k_t|^2, beta_t where k_t = 0;
 * o_t = scale S_t^T q_t (arXiv 2512.12602): a delta rule whose keys need not have unit length, for no beta is too long.
 */
export const efla = defineRule<EflaGates>({
  name,
  gates: { beta: true },
  kind: { eraseFrom: 'decayed' },
  lower: ({ q, k, v }, { beta }) => {
    checkPerHead(name, 'beta', beta, v);
    const lengths = repeatHeads(toFloat32(k).square().sum(-1, true), v.shape[v.ndim - 2]).squeeze(-1);
    const step = toFloat32(beta);
    return { q, k, v, beta: meanDecay(step.mul(lengths)).mul(step) };
  },
});
