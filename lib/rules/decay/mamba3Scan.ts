// The scan of Mamba-3 (Lahoti et al. 2026, arXiv 2603.15569), of one input and one output or several: the trapezoidal rule
// between two tokens, and keys and queries that turn by learned angles.
import { argumentError, checkNumber, type Tensor } from '../../core';
import { cat, ones, repeatHeads, split, stack, tril, withChecks, zerosBeside } from '../../ops';
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

/** Turns, of which the whole ones are dropped: -1/2 .. 1/2. The difference is exact. */
const partOfTurn = (turns: Tensor): Tensor => turns.sub(turns.detach().round());

/** Tokens that are added up before whole turns are dropped. */
const BLOCK = 16;

/** Running sum of turns [B, T, H, R], but for whole ones: of blocks, then of their sums, so that none grows and loses digits. */
function turnsSoFar(turns: Tensor): Tensor {
  const [B, T, H, R] = turns.shape;
  if (T <= BLOCK) return partOfTurn(turns.cumsum(1));
  const blocks = Math.ceil(T / BLOCK);
  const inside = partOfTurn(
    turns
      .pad([0, 0, 0, 0, 0, blocks * BLOCK - T])
      .reshape(B, blocks, BLOCK, H, R)
      .cumsum(2),
  );
  const sums = turnsSoFar(inside.slice(2, BLOCK - 1).squeeze(2));
  const before = cat([zerosBeside(turns, [B, 1, H, R]), sums.slice(1, 0, blocks - 1)], 1);
  return partOfTurn(inside.add(before.unsqueeze(2)))
    .reshape(B, blocks * BLOCK, H, R)
    .slice(1, 0, T);
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
const STATES = { state: 'B H K V', key: 'B H K', value: 'B H V', angle: 'B H R' } as const;

type ScanRun = Run<typeof INPUTS, typeof STATES, number>;

/** What a token writes with: strengths for it and for the one before it, and the keys and queries, turned. */
interface Tokens {
  present: Tensor;
  past: Tensor;
  /** What a token adds for the next one: it is added to its own write, and taken off its own read. */
  next: Tensor;
  k: Tensor;
  q: Tensor;
  angles: Tensor;
}

function tokensOf({ inputs, states, sizes: { B, H } }: ScanRun): Tokens {
  const { dt, trap } = inputs;
  const share = trap.sigmoid();
  const [present, past] = [share.mul(dt), share.neg().add(1).mul(dt)];
  const next = cat([past.slice(1, 1), zerosBeside(past, [B, 1, H])], 1);
  const turns = partOfTurn(inputs.angles.tanh().mul(0.5).mul(dt.unsqueeze(3)));
  const begun = states.angle.div(2 * Math.PI).unsqueeze(1);
  const sum = turnsSoFar(turns).add(begun);
  const angles = sum.sub(sum.detach().floor()).mul(2 * Math.PI);
  const headed = (t: Tensor, bias?: Tensor | null): Tensor => {
    const [lead, width] = [t.shape.slice(0, 2), t.shape.slice(3)];
    const own = repeatHeads(t.reshape([...t.shape.slice(0, 3), width.reduce((a, n) => a * n)]), H);
    const wide = own.reshape([...lead, H, ...width]);
    const each = width.length === 1 ? angles : angles.unsqueeze(3).expand([...lead, H, width[0], angles.shape[3]]);
    return turned(bias ? wide.add(bias) : wide, each);
  };
  return { present, past, next, k: headed(inputs.b, inputs.bBias), q: headed(inputs.c, inputs.cBias), angles };
}

const last = (t: Tensor): Tensor => t.slice(1, t.shape[1] - 1).squeeze(1);

/** One input, one output: a token is a write of the recurrence. */
function single(given: ScanRun): Ran<typeof STATES> {
  const { inputs, states, settings: scale } = given;
  const { x, gate, d } = inputs;
  const { present, past, next, k, q, angles } = tokensOf(given);
  const carried = states.key
    .mul(past.slice(1, 0, 1).squeeze(1).unsqueeze(2))
    .unsqueeze(3)
    .mul(states.value.unsqueeze(2));
  const options = { scale, initialState: states.state.add(carried), outputFinalState: true };
  const { output, finalState } = withChecks(false, () =>
    recurrence.sequence(q, k, x, { gate, beta: present.add(next), ...options }),
  );
  const own = q.mul(k).sum(3).mul(next).mul(-scale);
  return {
    output: output.add(x.mul((d ? own.add(d) : own).unsqueeze(3))),
    states: { state: finalState!, key: last(k), value: last(x), angle: last(angles) },
  };
}

/** M inputs, M outputs: a token is M writes one after the other, of which each of its M reads has seen those before it. */
function several(given: ScanRun): Ran<typeof STATES> {
  const { inputs, states, settings: scale, sizes } = given;
  const { x, gate, d } = inputs;
  const { B, T, H, M } = sizes;
  const { present, past, next, k, q, angles } = tokensOf(given);
  const rows = (t: Tensor): Tensor => t.transpose(2, 3).reshape(B, T * M, H, t.shape[4]);
  const carried = states.key
    .transpose(2, 3)
    .matmul(states.value)
    .mul(past.slice(1, 0, 1).squeeze(1).unsqueeze(2).unsqueeze(3));
  const write = present.add(next);
  const perWrite = {
    gate: cat([gate.unsqueeze(2), zerosBeside(gate, [B, T, M - 1, H])], 2).reshape(B, T * M, H),
    beta: write
      .unsqueeze(2)
      .expand(B, T, M, H)
      .reshape(B, T * M, H),
  };
  const options = { scale, initialState: states.state.add(carried), outputFinalState: true };
  const { output, finalState } = withChecks(false, () =>
    recurrence.sequence(rows(q), rows(k), rows(x), { ...perWrite, ...options }),
  );
  // Of its own token a read gets all M writes, without what they add for the next one.
  const matrix = (t: Tensor): Tensor => t.unsqueeze(3).unsqueeze(4);
  const seen = tril(ones([M, M], { dtype: write.dtype, device: write.device }));
  const missing = matrix(present)
    .sub(matrix(write).mul(seen))
    .mul(q.matmul(k.transpose(3, 4)))
    .mul(scale);
  const read = output.reshape(B, T, M, H, x.shape[4]).transpose(2, 3).add(missing.matmul(x));
  return {
    output: d ? read.add(x.mul(d.unsqueeze(1).unsqueeze(2))) : read,
    states: { state: finalState!, key: last(k), value: last(x), angle: last(angles) },
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
 * default). States: `state` [B, H, K, V], the last turned `key` [B, H, K] and `value` [B, H, V], and the `angle` [B, H, R].
 *
 * With M inputs and outputs, x [B, T, H, M, V], b and c [B, T, G, M, K], biases [H, M, K], a token writes the sum of its M
 * outer products and reads M times: output [B, T, H, M, V], `key` [B, H, M, K] and `value` [B, H, M, V]; the rest is per head as
 * above. It costs a scan of M T tokens.
 */
export const mamba3Scan = defineVariants<typeof INPUTS, typeof STATES, Mamba3ScanOptions>(
  'mamba3Scan',
  common.options,
  (where, _, { x }) => (x?.ndim === (where === 'mamba3Scan' ? 5 : 4) ? many : one),
) as typeof one;
