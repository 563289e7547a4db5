// The gated Oja rule: the delta rule with keys and values exchanged (Oja 1982; spec 2.6, 2.13.13).
import type { Tensor } from '../../core';
import { defineRule } from '../recurrence/define';

/**
 * S~ = S_{t-1} diag(exp(gate_t)),  S_t = S~ + beta_t (k_t - S~ v_t) v_t^T,  o_t = scale S_t^T q_t; gate [B, T, HV, V], beta
 * [B, T, HV] or [B, T, HV, K]. v of unit length.
 */
export const ojaRule = defineRule<{ beta?: Tensor | null; gate?: Tensor | null }>({
  name: 'ojaRule',
  gates: { beta: true, gate: true },
  kind: { eraseFrom: 'decayed', exchanged: true },
  lower: ({ q, k, v }, { beta, gate }) => ({ q, k, v, beta, valueGate: gate }),
});
