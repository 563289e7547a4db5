// Gated linear attention (Yang et al. 2023; spec 2.13.4); with a scalar gate also Mamba-2's and mLSTM's recurrence.
import type { Tensor } from '../../core';
import { defineRule } from '../recurrence/define';

/** S_t = exp(gate_t) S_{t-1} + k_t v_t^T,  o_t = scale S_t^T q_t; gate [B, T, HV] or [B, T, HV, K], a logarithm. */
export const gatedLinearAttention = defineRule<{ gate?: Tensor | null }>({
  name: 'gatedLinearAttention',
  gates: { gate: true },
  kind: {},
  lower: ({ q, k, v }, { gate }) => ({ q, k, v, gate }),
});
