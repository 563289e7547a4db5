// Q-Delta: a gated delta rule whose error is also read along the query (2026).
import type { Tensor } from '../../core';
import { toFloat32 } from '../../ops';
import { checkPerHead, defineRule } from '../recurrence/define';

/** Inputs beside q, k, v. */
export interface QDeltaGates {
  /** lambda, the share of the query in what is erased [B, T, H]; the authors have sigmoid(W x - 0.9). */
  queryShare: Tensor;
  /** Strength of the write [B, T, HV] or [B, T, HV, V]; 1 by default. */
  beta?: Tensor | null;
  /** Log of the decay [B, T, HV] or [B, T, HV, K]; none by default. */
  gate?: Tensor | null;
}

const name = 'qDeltaRule';

/**
 * S~ = exp(gate_t) S_{t-1},  S_t = S~ + beta_t k_t (v_t - S~^T (k_t + lambda_t q_t))^T,  o_t = scale S_t^T q_t (arXiv
 * 2606.08804). q and k are those behind `qkL2Norm`, in a step, too, where the authors' program leaves out both it and lambda.
 */
export const qDeltaRule = defineRule<QDeltaGates>({
  name,
  gates: { queryShare: true, beta: true, gate: true },
  kind: { eraseFrom: 'decayed' },
  lower: ({ q, k, v }, { queryShare, beta, gate }) => {
    checkPerHead(name, 'queryShare', queryShare, k);
    const eraseKey = toFloat32(k).add(toFloat32(queryShare).unsqueeze(-1).mul(toFloat32(q)));
    return { q, k, v, eraseKey, beta, gate };
  },
});
