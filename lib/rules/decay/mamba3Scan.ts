// The scan of Mamba-3 with one input and one output (Lahoti et al. 2026, arXiv 2603.15569): the trapezoidal rule between two
// tokens, and keys and queries that turn by learned angles.
import { argumentError, checkNumber, type Tensor } from '../../core';
import { cat, repeatHeads, split, stack, withChecks, zerosBeside } from '../../ops';
import { lowerRule } from '../recurrence/define';
import { defineSequential } from '../sequential/define';

/** Options of `mamba3Scan`. */
export interface Mamba3ScanOptions {
  /** Multiplies what is read from the state, 1 by default. */
  scale?: number | null;
}

const recurrence = lowerRule<{ gate: Tensor; beta: Tensor }>({
  name: 'mamba3Scan',
  kind: {},
  lower: ({ q, k, v }, { gate, beta }) => ({ q, k, v, gate, beta }),
});

/** Pairs (2 i, 2 i + 1) of the first 2 R coordinates of x [..., K] turned by angles [..., R]. */
function turned(x: Tensor, angles: Tensor): Tensor {
  const R = angles.shape[angles.ndim - 1];
  const K = x.shape[x.ndim - 1];
  if (R === 0) return x;
  const [moving, still] = split(x, [2 * R, K - 2 * R], -1);
  const [a, b] = split(moving.reshape([...angles.shape, 2]), [1, 1], -1).map((half) => half.squeeze(-1));
  const [cos, sin] = [angles.cos(), angles.sin()];
  const pairs = stack([a.mul(cos).sub(b.mul(sin)), a.mul(sin).add(b.mul(cos))], -1);
  return cat([pairs.reshape(moving.shape), still], -1);
}

/** Angles without the turns that they have made: large ones would lose their digits. */
const withoutTurns = (angles: Tensor): Tensor =>
  angles.sub(
    angles
      .detach()
      .div(2 * Math.PI)
      .floor()
      .mul(2 * Math.PI),
  );

/**
 * With t = sigmoid(trap_t), a = exp(gate_t), k_t = b_t + bBias and q_t = c_t + cBias turned by the running sum of
 * pi tanh(angles_t) dt_t:  S_t = a S_{t-1} + (1 - t) dt_t a k_{t-1} x_{t-1}^T + t dt_t k_t x_t^T,  o_t = scale S_t^T q_t + d x_t:
 * output [B, T, H, V]. x [B, T, H, V], steps dt > 0, log decays gate and trap [B, T, H], angles [B, T, H, R] of the first 2 R
 * coordinates, b and c [B, T, G, K], where head h has group floor(h G / H), bBias and cBias [H, K] (0 by default), d [H] (0 by
 * default). States: `state` [B, H, K, V], the last turned `key` [B, H, K] and `value` [B, H, V], and the `angle` [B, H, R].
 */
export const mamba3Scan = defineSequential({
  name: 'mamba3Scan',
  inputs: {
    x: 'B T H V',
    dt: 'B T H',
    gate: 'B T H',
    trap: 'B T H',
    angles: 'B T H R',
    b: 'B T G K',
    c: 'B T G K',
    bBias: 'H K?',
    cBias: 'H K?',
    d: 'H?',
  },
  states: { state: 'B H K V', key: 'B H K', value: 'B H V', angle: 'B H R' },
  options: { scale: true },
  settings: (where, { scale }: Mamba3ScanOptions) => checkNumber(where, 'scale', scale ?? 1),
  settle(where, { G, H, K, R }) {
    if (G === 0 || H % G !== 0) {
      throw argumentError('SHAPE', where, 'b', `[..., a divisor of ${H}, ${K}] (groups, state)`, `[..., ${G}, ${K}]`);
    }
    if (2 * R > K) throw argumentError('SHAPE', where, 'angles', `[..., at most ${K >> 1}] (pairs)`, `[..., ${R}]`);
  },
  run({ inputs, states, settings: scale, sizes: { B, H, T } }) {
    const { x, dt, gate, trap, d } = inputs;
    const share = trap.sigmoid();
    const [present, past] = [share.mul(dt), share.neg().add(1).mul(dt)];
    // What a token adds for the next one is added to its own write, and taken off its own read.
    const next = cat([past.slice(1, 1), zerosBeside(past, [B, 1, H])], 1);
    const turns = inputs.angles.tanh().mul(Math.PI).mul(dt.unsqueeze(3));
    const angles = withoutTurns(turns.cumsum(1).add(states.angle.unsqueeze(1)));
    const headed = (t: Tensor, bias?: Tensor | null): Tensor => {
      const own = repeatHeads(t, H);
      return turned(bias ? own.add(bias) : own, angles);
    };
    const [k, q] = [headed(inputs.b, inputs.bBias), headed(inputs.c, inputs.cBias)];
    const carried = states.key
      .mul(past.slice(1, 0, 1).squeeze(1).unsqueeze(2))
      .unsqueeze(3)
      .mul(states.value.unsqueeze(2));
    const options = { scale, initialState: states.state.add(carried), outputFinalState: true };
    const { output, finalState } = withChecks(false, () =>
      recurrence.sequence(q, k, x, { gate, beta: present.add(next), ...options }),
    );
    const own = q.mul(k).sum(3).mul(next).mul(-scale);
    const last = (t: Tensor): Tensor => t.slice(1, T - 1).squeeze(1);
    return {
      output: output.add(x.mul((d ? own.add(d) : own).unsqueeze(3))),
      states: { state: finalState!, key: last(k), value: last(x), angle: last(angles) },
    };
  },
});
