// Kaczmarz linear attention: a gated delta rule on raw keys, whose strength is a share of the exact projection (2026).
import { checkNumber, type Tensor } from '../../core';
import { repeatHeads, toFloat32 } from '../../ops';
import { checkPerHead, defineRule } from '../recurrence/define';

/** Inputs beside q, k, v. */
export interface KaczmarzGates {
  /** The share of the projection [B, T, HV]; 1 makes the memory answer k_t with v_t. */
  eta: Tensor;
  /** Log of the decay [B, T, HV] or [B, T, HV, K]; none by default. */
  gate?: Tensor | null;
  /** Added to |k|^2, 1e-6 by default. */
  eps?: number;
}

const name = 'kaczmarzAttention';

/**
 * S~ = exp(gate_t) S_{t-1},  S_t = S~ + beta k_t (v_t - S~^T k_t)^T with beta = eta_t / (|k_t|^2 + eps),  o_t = scale S_t^T q_t
 * (arXiv 2605.08587).
 */
export const kaczmarzAttention = defineRule<KaczmarzGates>({
  name,
  gates: { eta: true, gate: true, eps: true },
  kind: { eraseFrom: 'decayed' },
  lower: ({ q, k, v }, { eta, gate, eps = 1e-6 }) => {
    checkPerHead(name, 'eta', eta, v);
    checkNumber(name, 'eps', eps, 0);
    const lengths = repeatHeads(toFloat32(k).square().sum(-1, true), v.shape[v.ndim - 2]).squeeze(-1);
    return { q, k, v, gate, beta: toFloat32(eta).div(lengths.add(eps)) };
  },
});
