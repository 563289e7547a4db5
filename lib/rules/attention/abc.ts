// Attention with bounded memory control (Peng et al. 2022; spec 2.13.19).
import { checkNumber, type Tensor } from '../../core';
import { cat, logcumsumexp, where as choose } from '../../ops';
import { finiteLogarithm, shareOf } from '../recurrence/logarithms';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { attendToSlots, settleQueryHeads } from './slots';

/** Options of `abc`. */
export interface AbcOptions {
  /** Multiplies the queries, in front of the softmax over the slots; K ** -0.5 by default. */
  scale?: number | null;
}

const OPTIONS = { scale: true } as const;

/** log(e^a + e^b), where b may be -Infinity. */
function logAdd(a: Tensor, b: Tensor): Tensor {
  const most = a.maximum(b).detach();
  return a.sub(most).exp().add(b.sub(most).exp()).log().add(most);
}

const rule = defineSequential({
  name: 'abc',
  inputs: { q: 'B T Q K', k: 'B T H K', v: 'B T H V', slots: 'B T H M' },
  states: { keyState: 'B H K M', valueState: 'B H M V', logSum: 'B H M' },
  // No slot has been written.
  blank: { logSum: -Infinity },
  options: OPTIONS,
  settings: (where, { scale }: AbcOptions, { q }) =>
    checkNumber(where, 'scale', scale ?? Math.max(1, q.shape[q.ndim - 1]) ** -0.5),
  settle: settleQueryHeads,
  run({ inputs: { slots, ...inputs }, states: { logSum, ...states }, settings: scale }) {
    const T = slots.shape[1];
    const start = logSum.unsqueeze(1);
    const sums = logAdd(logcumsumexp(finiteLogarithm(slots), 1), start);
    const gate = cat([start, sums.slice(1, 0, T - 1)], 1).sub(sums);
    // What stands in a slot before anything was written to it keeps its weight.
    const decay = choose(gate.eq(-Infinity), 0, gate);
    const written = { ...inputs, slots: shareOf(slots, sums), gate: decay };
    const { output, states: after } = attendToSlots('abc', written, states, scale, null);
    return { output, states: { ...after, logSum: sums.slice(1, T - 1).squeeze(1) } };
  },
});

/**
 * Attention to M slots, each the mean of keys and of values weighted by exp(slots) over the past (Peng et al. 2022, "ABC:
 * Attention with Bounded-memory Control"): with z_t the logarithm of the sum of exp(slots) up to t, it is `gsa` with
 * s_t = exp(slots_t - z_t) and gate z_{t-1} - z_t, 0 at the first token. q [B, T, Q, K], k [B, T, H, K], v [B, T, H, V],
 * `slots` [B, T, H, M]: output [B, T, Q, V]. States `keyState` [N, H, K, M], `valueState` [N, H, M, V] and `logSum`, z
 * [N, H, M], -Infinity before anything was written; a token does not write a slot where its `slots` is -Infinity.
 */
export const abc = withQkv('abc', rule, Object.keys(OPTIONS));
