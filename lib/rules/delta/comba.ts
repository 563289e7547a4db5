// Comba: error feedback from the undecayed state (Hu et al. 2025; spec 2.13.11).
import type { Tensor } from '../../core';
import { checkLike, defineRule } from '../recurrence/define';

/** S_t = exp(gate_t) S_{t-1} + beta_t k_t (v_t - S_{t-1}^T p_t)^T,  o_t = scale S_t^T q_t; p [B, T, H, K], gate [B, T, HV]. */
export const comba = defineRule<{ p: Tensor; beta?: Tensor | null; gate?: Tensor | null }>({
  name: 'comba',
  gates: { p: true, beta: true, gate: true },
  kind: { eraseFrom: 'undecayed' },
  lower: ({ q, k, v }, { p, beta, gate }) => {
    checkLike('comba', 'p', p, k);
    return { q, k, v, eraseKey: p, beta, gate };
  },
});
