// The log-linear form of the gated delta rule: every level is erased and decays (Guo et al. 2025; spec 2.13.18).
import { deltaRule } from '../delta/deltaRule';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { LOG_LINEAR, LOG_LINEAR_INPUTS, LOG_LINEAR_OPTIONS, runLogLinear, scaleOf, stepLogLinear } from './rule';

const rule = defineSequential({
  name: 'logLinearDeltaRule',
  inputs: { ...LOG_LINEAR_INPUTS, beta: 'B T H' },
  ...LOG_LINEAR,
  run: (given) =>
    runLogLinear(given, { beta: given.inputs.beta }, ({ q, k, gate, beta }, values, initialState) => {
      const options = { gate, beta, scale: scaleOf(given.settings, k), initialState, outputFinalState: true } as const;
      return deltaRule(q, k, values, options);
    }),
  step(given) {
    const { beta, v } = given.inputs;
    const strength = beta.unsqueeze(2);
    const erase = (states: typeof v, key: typeof v): void => {
      const known = key.matmul(states).mul(strength.unsqueeze(3).unsqueeze(3));
      states.sub_(key.transpose(3, 4).mul(known));
    };
    return stepLogLinear(given, erase, v.mul(strength));
  },
});

/**
 * Log-linear Gated DeltaNet: the state of every level goes through exp(gate_t) (I - beta_t k_t k_t^T), the present token adds
 * beta_t k_t v_t^T to level 0, and o_t = scale sum_l levelScales_{t, l} S^(l)^T q_t: output [B, T, H, V]. Levels, shapes, `state`
 * and `position` as in `logLinearAttention`; beta [B, T, H].
 */
export const logLinearDeltaRule = withQkv('logLinearDeltaRule', rule, Object.keys(LOG_LINEAR_OPTIONS));
