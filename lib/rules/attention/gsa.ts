// Gated slot attention (Zhang et al. 2024; spec 2.13.19).
import { checkNumber } from '../../core';
import { checkGate } from '../recurrence/checks';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { attendToSlots, settleQueryHeads } from './slots';

/** Options of `gsa`. */
export interface GsaOptions {
  /** Multiplies the queries, in front of the softmax; K ** -0.5 by default. */
  scale?: number | null;
}

const OPTIONS = { scale: true } as const;

const rule = defineSequential({
  name: 'gsa',
  inputs: { q: 'B T Q K', k: 'B T H K', v: 'B T H V', slots: 'B T H M', gate: 'B T H M' },
  states: { keyState: 'B H K M', valueState: 'B H M V' },
  packs: true,
  options: OPTIONS,
  settings(where, { scale }: GsaOptions, { q, gate }) {
    checkGate(where, gate);
    return checkNumber(where, 'scale', scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5);
  },
  settle: settleQueryHeads,
  run: ({ inputs, states, settings: scale, cuSeqlens }) => attendToSlots('gsa', inputs, states, scale, cuSeqlens),
});

/**
 * Attention to M slots that are written and forgotten one by one (Zhang et al. 2024, "Gated Slot Attention for Efficient
 * Linear-Time Sequence Modeling"): H_t = H_{t-1} Diag(exp(gate_t)) + k_t s_t^T,  a_t = softmax(scale H_t^T q_t),
 * Hv_t = Diag(exp(gate_t)) Hv_{t-1} + s_t v_t^T,  output Hv_t^T a_t [B, T, Q, V]; s_t = 1 - exp(gate_t) in GSA itself.
 * q [B, T, Q, K], k [B, T, H, K], v [B, T, H, V], `slots` s and the logarithm `gate` [B, T, H, M]; each head of k serves
 * Q / H consecutive ones of q. States `keyState` H [N, H, K, M] and `valueState` Hv [N, H, M, V].
 */
export const gsa = withQkv('gsa', rule, Object.keys(OPTIONS));
