// LightNet: linear attention whose keys are a softmax over the text so far (Qin et al. 2024).
import { checkNumber } from '../../core';
import { cat, logcumsumexp, where, withChecks } from '../../ops';
import { finiteLogarithm, shareOf } from '../recurrence/logarithms';
import { runRecurrence } from '../recurrence/run';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';

/** Options of `lightNet`. */
export interface LightNetOptions {
  /** Multiplies the output; K ** -0.5 by default. */
  scale?: number | null;
}

const name = 'lightNet';
const OPTIONS = { scale: true } as const;

const rule = defineSequential({
  name,
  inputs: { q: 'B T H K', k: 'B T H K', v: 'B T G V' },
  states: { state: 'B G K V', logSum: 'B H K' },
  blank: { logSum: -Infinity },
  options: OPTIONS,
  settings: (where, options: LightNetOptions) => ({
    scale: options.scale == null ? null : checkNumber(where, 'scale', options.scale),
  }),
  run({ inputs: { q, k, v }, states, settings: { scale }, sizes: { T } }) {
    const before = states.logSum.unsqueeze(1);
    const sums = logcumsumexp(cat([before, finiteLogarithm(k)], 1), 1);
    const [last, present] = [sums.slice(1, 0, T), sums.slice(1, 1)];
    // Before the first token there is nothing to forget.
    const gate = where(last.eq(-Infinity), 0, last.sub(present));
    const operands = { q, k: shareOf(k, present), v, gate };
    const options = { scale, initialState: states.state, outputFinalState: true };
    const { output, finalState } = withChecks(false, () => runRecurrence(name, operands, options, {}));
    return { output, states: { state: finalState!, logSum: present.slice(1, T - 1).squeeze(1) } };
  },
});

/**
 * z_t = log of the sum over s <= t of exp(k_s), channel by channel; S_t = exp(z_{t-1} - z_t) S_{t-1} + exp(k_t - z_t) v_t^T,
 * o_t = scale S_t^T q_t: output [B, T, HV, V] (arXiv 2405.21022; flash-linear-attention). q, k [B, T, H, K], v [B, T, HV, V];
 * states `state` S [B, HV, K, V] and `logSum` z [B, H, K], -Infinity before the first token. A key of -Infinity is not written.
 */
export const lightNet = withQkv(name, rule, Object.keys(OPTIONS));
