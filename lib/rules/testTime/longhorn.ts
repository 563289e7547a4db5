// Longhorn: a memory per channel that solves its online regression in closed form (Liu et al. 2024; spec 2.13.14).
import type { Tensor } from '../../core';
import { cat, linearScan, withChecks } from '../../ops';
import { runRecurrence } from '../recurrence/run';
import { defineSequential } from '../sequential/define';
import { inSegments } from '../sequential/segments';

/** Options of `longhorn`. */
export interface LonghornOptions {
  /** The published program's approximation, which keeps the diagonal of k k^T only, true by default; false solves exactly. */
  diagonal?: boolean;
}

interface Operands {
  q: Tensor;
  k: Tensor;
  x: Tensor;
  delta: Tensor;
}

/** Tokens whose states [D, N] exist at once. */
const SEGMENT = 32;

/** S = S - delta (S k - x) k^T row by row: a delta rule whose strengths differ between its values. */
function exact({ q, k, x, delta }: Operands, state: Tensor): { output: Tensor; state: Tensor } {
  const operands = { q: q.unsqueeze(2), k: k.unsqueeze(2), v: x.unsqueeze(2), beta: delta.unsqueeze(2) };
  const initialState = state.transpose(1, 2).unsqueeze(1);
  const options = { scale: 1, initialState, outputFinalState: true };
  const { output, finalState } = withChecks(false, () =>
    runRecurrence('longhorn', operands, options, { eraseFrom: 'decayed' }),
  );
  return { output: output.squeeze(2), state: finalState!.squeeze(1).transpose(1, 2).contiguous() };
}

/** S = (1 - delta k^2) S + delta x k, element by element: a scan. */
function approximate(tokens: Operands, state: Tensor): { output: Tensor; state: Tensor } {
  const loop = { tokens: { ...tokens }, states: { state }, weights: {} };
  const { output, states } = inSegments(loop, SEGMENT, ({ q, k, x, delta }, before) => {
    const keys = k.unsqueeze(2);
    const keep = delta.unsqueeze(3).mul(keys.square()).neg().add(1);
    const write = delta.mul(x).unsqueeze(3).mul(keys);
    const first = write.slice(1, 0, 1).add(keep.slice(1, 0, 1).mul(before.state.unsqueeze(1)));
    const S = linearScan(cat([first, write.slice(1, 1)], 1), keep, 1);
    const after = S.slice(1, S.shape[1] - 1).squeeze(1);
    return { output: S.matmul(q.unsqueeze(3)).squeeze(3), states: { state: after } };
  });
  return { output, state: states.state };
}

/**
 * S [D, N] becomes the solution of argmin |S - S_{t-1}|^2 + sum over channels of beta (S k_t - x_t)^2: with
 * beta = sigmoid(betaLogit_t), delta = beta / (1 + beta |k_t|^2) exactly S_t = S_{t-1} - delta (S_{t-1} k_t - x_t) k_t^T, and
 * as published, with `diagonal`, S_t = (1 - delta k_t^2) S_{t-1} + delta x_t k_t. y_t = S_t q_t + d x_t, times silu(z_t) where z is
 * given: output [B, T, D]. x, betaLogit, z [B, T, D], q, k [B, T, N], d [D], nothing by default; the `state` is [B, D, N].
 */
export const longhorn = defineSequential({
  name: 'longhorn',
  inputs: { x: 'B T D', betaLogit: 'B T D', q: 'B T N', k: 'B T N', d: 'D?', z: 'B T D?' },
  states: { state: 'B D N' },
  options: { diagonal: 'flag' },
  settings: (_, options: LonghornOptions) => ({ diagonal: options.diagonal ?? true }),
  run({ inputs: { x, betaLogit, q, k, d, z }, states, settings }) {
    const beta = betaLogit.sigmoid();
    const delta = beta.div(k.square().sum(2, true).mul(beta).add(1));
    const solve = settings.diagonal ? approximate : exact;
    const { output, state } = solve({ q, k, x, delta }, states.state);
    const y = d ? output.add(x.mul(d)) : output;
    return { output: z ? y.mul(z.silu()) : y, states: { state } };
  },
});
