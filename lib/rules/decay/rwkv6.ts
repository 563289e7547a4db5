// RWKV-6: reads before it writes, with a bonus for the present token (Peng et al. 2024; spec 2.13.7).
import type { Tensor } from '../../core';
import { defineRule } from '../recurrence/define';

/** o_t = scale (S_{t-1}^T q_t + (q_t . (bonus * k_t)) v_t),  S_t = exp(gate_t) S_{t-1} + k_t v_t^T; gate [B, T, H, K], bonus [H, K]. */
export const rwkv6 = defineRule<{ gate?: Tensor | null; bonus?: Tensor | null }>({
  name: 'rwkv6',
  gates: { gate: true, bonus: true },
  kind: { read: 'before' },
  lower: ({ q, k, v }, { gate, bonus }) => ({ q, k, v, gate, bonus }),
});
