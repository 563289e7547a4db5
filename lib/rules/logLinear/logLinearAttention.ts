// Log-linear attention: linear attention whose past lies in log T states (Guo et al. 2025; spec 2.13.18).
import { gatedLinearAttention } from '../decay/gatedLinearAttention';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { LOG_LINEAR, LOG_LINEAR_INPUTS, LOG_LINEAR_OPTIONS, runLogLinear, scaleOf, stepLogLinear } from './rule';

const rule = defineSequential({
  name: 'logLinearAttention',
  inputs: LOG_LINEAR_INPUTS,
  ...LOG_LINEAR,
  run: (given) =>
    runLogLinear(given, {}, ({ q, k, gate }, values, initialState) => {
      const options = { gate, scale: scaleOf(given.settings, k), initialState, outputFinalState: true } as const;
      return gatedLinearAttention(q, k, values, options);
    }),
  step: (given) => stepLogLinear(given, () => undefined, given.inputs.v),
});

/**
 * o_t = scale sum_{s <= t} levelScales_{t, level(t, s)} exp(b_t - b_s) (q_t . k_s) v_s with b the running sum of `gate`, level(t, t)
 * = 0 and else 1 + floor(log2(t xor s)): output [B, T, H, V]. q, k [B, T, G, K], v [B, T, H, V] with H a multiple of G, gate
 * [B, T, H] a logarithm (0 by default), levelScales [B, T, H, L] with L at least ceil(log2 T) + 1; the `state` [B, H, L, K, V]
 * holds what lies at each level behind the last token, and needs the `position` (an option) that it belongs to.
 */
export const logLinearAttention = withQkv('logLinearAttention', rule, Object.keys(LOG_LINEAR_OPTIONS));
