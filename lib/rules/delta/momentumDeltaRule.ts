// Momentum DeltaNet: the delta rule's gradient goes into a momentum, and that into the memory (2026).
import { argumentError, checkNumber, type Tensor } from '../../core';
import { repeatHeads } from '../../ops';
import { checkLogarithm } from '../recurrence/checks';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import { withQkv } from '../sequential/qkv';

/** Options of `momentumDeltaRule`. */
export interface MomentumDeltaOptions {
  /** Multiplies the output; K ** -0.5 by default. */
  scale?: number | null;
}

const name = 'momentumDeltaRule';
const OPTIONS = { scale: true } as const;

/** S^T x: S [B, H, K, V], x [B, H, K] to [B, H, V]. */
const read = (S: Tensor, x: Tensor): Tensor => x.unsqueeze(2).matmul(S).squeeze(2);

const rule = defineSequential({
  name,
  inputs: {
    q: 'B T H K',
    k: 'B T H K',
    v: 'B T G V',
    gate: 'B T G',
    momentumGate: 'B T G',
    beta: 'B T G',
    eta: 'B T G',
    p: 'B T H K?',
  },
  states: { state: 'B G K V', momentum: 'B G K V' },
  options: OPTIONS,
  settings(where, options: MomentumDeltaOptions, { q, gate, momentumGate }) {
    checkLogarithm(where, 'gate', gate);
    checkLogarithm(where, 'momentumGate', momentumGate);
    return { scale: checkNumber(where, 'scale', options.scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5) };
  },
  settle(where, { H, G, V }) {
    if (H > 0 && G % H === 0) return;
    throw argumentError(
      'SHAPE',
      where,
      'v',
      `[..., a multiple of ${H}, ${V}] (heads, value width)`,
      `[..., ${G}, ${V}]`,
    );
  },
  run({ inputs, states, settings: { scale }, sizes: { G } }) {
    const byHead = (x: Tensor): Tensor => repeatHeads(x, G);
    const number = (x: Tensor): Tensor => x.unsqueeze(3).unsqueeze(4);
    const tokens = {
      q: byHead(inputs.q).mul(scale),
      p: byHead(inputs.p ?? inputs.k),
      // What is written where the gradient is -k e^T.
      step: byHead(inputs.k).mul(inputs.eta.unsqueeze(3)).unsqueeze(4),
      v: inputs.v,
      decay: number(inputs.gate.exp()),
      keep: number(inputs.momentumGate.exp()),
      rate: number(inputs.beta),
    };
    return overTime({ tokens, states, weights: {} }, ({ q, p, step, v, decay, keep, rate }, { state, momentum }) => {
      const error = v.sub(read(state, p)).unsqueeze(2);
      const M = momentum.mul(keep).sub(step.mul(error));
      const S = state.mul(decay).sub(M.mul(rate));
      return { output: read(S, q), states: { state: S, momentum: M } };
    });
  },
});

/**
 * M_t = exp(momentumGate_t) M_{t-1} - eta_t k_t (v_t - S_{t-1}^T p_t)^T,  S_t = exp(gate_t) S_{t-1} - beta_t M_t,
 * o_t = scale S_t^T q_t: output [B, T, HV, V] (arXiv 2605.05838; flash-linear-attention). q, k, p [B, T, H, K], p = k by default,
 * v [B, T, HV, V]; gates, logarithms, beta and eta [B, T, HV]; states `state` S and `momentum` M [B, HV, K, V].
 */
export const momentumDeltaRule = withQkv(name, rule, Object.keys(OPTIONS));
