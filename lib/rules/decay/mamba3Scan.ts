// The scan of Mamba-3 (Lahoti et al. 2026, arXiv 2603.15569), of one input and one output or several: the trapezoidal rule
// between two tokens, and keys and queries that turn by learned angles.
import { argumentError, checkNumber, type Tensor } from '../../core';
import { cat, repeatHeads, split, stack, withChecks, zerosBeside } from '../../ops';
import { lowerRule } from '../recurrence/define';
import { defineSequential } from '../sequential/define';
import type { Sizes } from '../sequential/shapes';
import type { Ran, Run } from '../sequential/types';
import { defineVariants } from '../sequential/variants';

/** Options of `mamba3Scan`. */
export interface Mamba3ScanOptions {
  /** Multiplies what is read from the state, 1 by default. */
  scale?: number | null;
}

const recurrence = lowerRule<{ gate: Tensor; beta: Tensor }>({
  name: 'mamba3Scan',
  kind: { read: 'before' },
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

/** Turns, of which the whole ones are dropped: -1/2 .. 1/2. The difference is exact. */
const partOfTurn = (turns: Tensor): Tensor => turns.sub(turns.detach().round());

const last = (t: Tensor): Tensor => t.slice(1, t.shape[1] - 1).squeeze(1);

/** Whole turns are the overflow of sums of int32 in this unit: such sums are exact, in whatever pieces they are made. */
const UNITS = 2 ** 32;

/** -1/2 .. 1/2 of a turn in units, int32. */
const unitsOf = (turns: Tensor): Tensor => turns.detach().mul(UNITS).round().to('int32');

/** The same backwards, of the dtype of `like`. */
const turnsOf = (units: Tensor, { dtype }: Tensor): Tensor => units.to(dtype).mul(1 / UNITS);

/**
 * Running sums of turns [B, T, H, R], but for whole ones, and the state after the last: an angle and what rounding it has left
 * out, in turns, [B, H, R, 2]. float64 has the digits; anything else adds up in units, so that the sum of any number of tokens is
 * wrong by their own roundings alone, and the same token by token.
 */
function turnsSoFar(turns: Tensor, state: Tensor): { turns: Tensor; state: Tensor } {
  const [angle, rest] = split(state, [1, 1], -1).map((half) => half.squeeze(-1));
  const sum = turns.cumsum(1).add(
    angle
      .mul(1 / (2 * Math.PI))
      .add(rest)
      .unsqueeze(1),
  );
  const ended = (sums: Tensor, left: (angle: Tensor) => Tensor): Tensor => {
    const end = last(sums).mul(2 * Math.PI);
    return stack([end, left(end)], -1);
  };
  if (turns.dtype === 'float64') {
    const part = partOfTurn(sum);
    return { turns: part, state: ended(part, (end) => zerosBeside(end, end.shape)) };
  }
  const held = (of: Tensor): Tensor => unitsOf(partOfTurn(of.mul(1 / (2 * Math.PI))));
  const units = unitsOf(turns)
    .cumsum(1)
    .add(
      held(angle)
        .add(unitsOf(partOfTurn(rest)))
        .unsqueeze(1),
    );
  // The value is exact; the gradient, and what is not finite, is that of the sum.
  const exact = turnsOf(units, turns).add(sum.sub(sum.detach()));
  return { turns: exact, state: ended(exact, (end) => turnsOf(last(units).sub(held(end)), turns)) };
}

const INPUTS = {
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
} as const;
const STATES = { state: 'B H K V', key: 'B H K', value: 'B H V', angle: 'B H R 2' } as const;

type ScanRun = Run<typeof INPUTS, typeof STATES, number>;

/** What a token writes with: strengths for it and for the one before it, and the keys and queries, turned. */
interface Tokens {
  present: Tensor;
  past: Tensor;
  /** Of its whole write: what it writes itself, and what the next token adds of it. */
  write: Tensor;
  k: Tensor;
  q: Tensor;
  /** After the last token, [B, H, R, 2]. */
  angle: Tensor;
}

function tokensOf({ inputs, states, sizes: { B, H } }: ScanRun): Tokens {
  const { dt, trap } = inputs;
  const share = trap.sigmoid();
  const [present, past] = [share.mul(dt), share.neg().add(1).mul(dt)];
  const write = present.add(cat([past.slice(1, 1), zerosBeside(past, [B, 1, H])], 1));
  const added = partOfTurn(inputs.angles.tanh().mul(0.5).mul(dt.unsqueeze(3)));
  const { turns, state: angle } = turnsSoFar(added, states.angle);
  const angles = turns.mul(2 * Math.PI);
  const headed = (t: Tensor, bias?: Tensor | null): Tensor => {
    const [lead, width] = [t.shape.slice(0, 2), t.shape.slice(3)];
    const own = repeatHeads(t.reshape([...t.shape.slice(0, 3), width.reduce((a, n) => a * n)]), H);
    const wide = own.reshape([...lead, H, ...width]);
    const each = width.length === 1 ? angles : angles.unsqueeze(3).expand([...lead, H, width[0], angles.shape[3]]);
    return turned(bias ? wide.add(bias) : wide, each);
  };
  const [k, q] = [headed(inputs.b, inputs.bBias), headed(inputs.c, inputs.cBias)];
  return { present, past, write, k, q, angle };
}

/**
 * One input, one output: a token is a write of the recurrence, for itself and for the next token, which reads it decayed.
 * A token's read of itself is added by hand: the part of its write that is for the next one is not there yet.
 */
function single(given: ScanRun): Ran<typeof STATES> {
  const { inputs, states, settings: scale } = given;
  const { x, gate, d } = inputs;
  const { present, past, write, k, q, angle } = tokensOf(given);
  const carried = states.key
    .mul(past.slice(1, 0, 1).squeeze(1).unsqueeze(2))
    .unsqueeze(3)
    .mul(states.value.unsqueeze(2));
  const options = { scale, initialState: states.state.add(carried), outputFinalState: true };
  const { output, finalState } = withChecks(false, () =>
    recurrence.sequence(q.mul(gate.exp().unsqueeze(3)), k, x, { gate, beta: write, ...options }),
  );
  const own = q.mul(k).sum(3).mul(present).mul(scale);
  return {
    output: output.add(x.mul((d ? own.add(d) : own).unsqueeze(3))),
    states: { state: finalState!, key: last(k), value: last(x), angle },
  };
}

/**
 * M inputs, M outputs: 2 M - 1 tokens of the recurrence, of which the first M read and the last M write, so that no read has
 * seen a write of its own token.
 */
function several(given: ScanRun): Ran<typeof STATES> {
  const { inputs, states, settings: scale, sizes } = given;
  const { x, gate, d } = inputs;
  const { B, T, H, M } = sizes;
  const { present, past, write, k, q, angle } = tokensOf(given);
  const none = (width: number[]): Tensor => zerosBeside(x, [B, T, M - 1, H, ...width]);
  const rows = (...parts: Tensor[]): Tensor => {
    const all = cat(parts, 2);
    return all.reshape([B, T * (2 * M - 1), ...all.shape.slice(3)]);
  };
  const reads = q.mul(gate.exp().unsqueeze(3).unsqueeze(4)).transpose(2, 3);
  const written = (t: Tensor): Tensor => rows(none([t.shape[4]]), t.transpose(2, 3));
  const carried = states.key
    .transpose(2, 3)
    .matmul(states.value)
    .mul(past.slice(1, 0, 1).squeeze(1).unsqueeze(2).unsqueeze(3));
  const perRow = {
    gate: rows(none([]), gate.unsqueeze(2), none([])),
    beta: rows(none([]), write.unsqueeze(2).expand(B, T, M, H)),
  };
  const options = { scale, initialState: states.state.add(carried), outputFinalState: true };
  const { output, finalState } = withChecks(false, () =>
    recurrence.sequence(rows(reads, none([q.shape[4]])), written(k), written(x), { ...perRow, ...options }),
  );
  const own = q.matmul(k.transpose(3, 4)).mul(present.unsqueeze(3).unsqueeze(4)).mul(scale);
  const before = output
    .reshape(B, T, 2 * M - 1, H, x.shape[4])
    .slice(2, 0, M)
    .transpose(2, 3);
  const read = before.add(own.matmul(x));
  return {
    output: d ? read.add(x.mul(d.unsqueeze(1).unsqueeze(2))) : read,
    states: { state: finalState!, key: last(k), value: last(x), angle },
  };
}

const settings = (where: string, { scale }: Mamba3ScanOptions): number => checkNumber(where, 'scale', scale ?? 1);

function settle(where: string, { G, H, K, R, M, V }: Sizes): void {
  if (M === 0) throw argumentError('SHAPE', where, 'x', `[..., at least 1, ${V}] (inputs, values)`, `[..., 0, ${V}]`);
  if (G === 0 || H % G !== 0) {
    throw argumentError('SHAPE', where, 'b', `[..., a divisor of ${H}, ${K}] (groups, state)`, `[..., ${G}, ${K}]`);
  }
  if (2 * R > K) throw argumentError('SHAPE', where, 'angles', `[..., at most ${K >> 1}] (pairs)`, `[..., ${R}]`);
}

const common = { name: 'mamba3Scan', options: { scale: true }, settings, settle } as const;

const one = defineSequential({ ...common, inputs: INPUTS, states: STATES, run: single });

const many = defineSequential({
  ...common,
  inputs: {
    ...INPUTS,
    x: 'B T H M V',
    b: 'B T G M K',
    c: 'B T G M K',
    bBias: 'H M K?',
    cBias: 'H M K?',
  },
  states: { ...STATES, key: 'B H M K', value: 'B H M V' },
  run: (given) => several(given as unknown as ScanRun),
});

/**
 * With t = sigmoid(trap_t), a = exp(gate_t), k_t = b_t + bBias and q_t = c_t + cBias turned by the running sum of
 * pi tanh(angles_t) dt_t:  S_t = a S_{t-1} + (1 - t) dt_t a k_{t-1} x_{t-1}^T + t dt_t k_t x_t^T,  o_t = scale S_t^T q_t + d x_t:
 * output [B, T, H, V]. x [B, T, H, V], steps dt > 0, log decays gate and trap [B, T, H], angles [B, T, H, R] of the first 2 R
 * coordinates, b and c [B, T, G, K], where head h has group floor(h G / H), bBias and cBias [H, K] (0 by default), d [H] (0 by
 * default). States: `state` [B, H, K, V], the last turned `key` [B, H, K] and `value` [B, H, V], and `angle` [B, H, R, 2]: the angle,
 * -pi to pi, and what rounding it has left out, in turns.
 *
 * With M inputs and outputs, x [B, T, H, M, V], b and c [B, T, G, M, K], biases [H, M, K], a token writes the sum of its M
 * outer products and reads M times: output [B, T, H, M, V], `key` [B, H, M, K] and `value` [B, H, M, V]; the rest is per head as
 * above. It costs a scan of (2 M - 1) T tokens.
 */
export const mamba3Scan = defineVariants<typeof INPUTS, typeof STATES, Mamba3ScanOptions>(
  'mamba3Scan',
  common.options,
  (where, _, { x }) => (x?.ndim === (where === 'mamba3Scan' ? 5 : 4) ? many : one),
) as typeof one;
