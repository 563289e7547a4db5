// What the log-linear rules share: their inputs, the position of a sequence, whole sequences and single tokens.
import { argumentError, checkInteger, checkNumber, describe, type OptionNames, type Tensor } from '../../core';
import { cat, repeatHeads, withChecks } from '../../ops';
import { unobserved } from '../observe';
import type { Ran, Run } from '../sequential/types';
import { type Linear, logLinearChunks } from './chunks';
import { levelsAt } from './levels';

/** Options of the log-linear rules. */
export interface LogLinearOptions {
  /** Multiplies the output; K ** -0.5 by default. */
  scale?: number | null;
  /**
   * Tokens before the first one, which say what the levels of the state hold: a number, or one for each sequence. 0 by default;
   * it must be given with a state.
   */
  position?: number | readonly number[] | null;
}

export const LOG_LINEAR_OPTIONS: OptionNames<LogLinearOptions> = { scale: true, position: true };

export const LOG_LINEAR_INPUTS = {
  q: 'B T G K',
  k: 'B T G K',
  v: 'B T H V',
  levelScales: 'B T H L',
  gate: 'B T H?',
} as const;

const LOG_LINEAR_STATES = { state: 'B H L K V' } as const;

type Inputs = typeof LOG_LINEAR_INPUTS;
type Settings = ReturnType<typeof readLogLinear>;

/** Checks the options of a call, or of a step where `where` names one. */
function readLogLinear(
  where: string,
  { scale, position }: LogLinearOptions,
  given: object,
): { scale: number | null; position: number | readonly number[]; where: string } {
  const state = (given as { initialState?: unknown }).initialState ?? null;
  if (position == null && (state !== null || where.endsWith('.step'))) {
    const expected = 'the number of tokens before, given with a state';
    throw argumentError('INVALID_ARGUMENT', where, 'position', expected, describe(position));
  }
  const counts = position == null ? 0 : position;
  for (const count of typeof counts === 'object' ? counts : [counts]) {
    checkInteger(where, 'position', count, 0, 2 ** 30);
  }
  return { scale: scale == null ? null : checkNumber(where, 'scale', scale), position: counts, where };
}

/** Requires heads of values that those of keys divide, and a position for each sequence. */
function settleLogLinear(where: string, { B, G, H, V }: Record<string, number>, { position }: Settings): void {
  if (G === 0 || H % G !== 0) {
    throw argumentError('SHAPE', where, 'v', `[..., a multiple of ${G}, ${V}] (heads, width)`, `[..., ${H}, ${V}]`);
  }
  if (typeof position === 'number' || position.length === B) return;
  throw argumentError('INVALID_ARGUMENT', where, 'position', `one number, or ${B}`, describe(position));
}

/** What both rules are defined by. */
export const LOG_LINEAR = {
  states: LOG_LINEAR_STATES,
  options: LOG_LINEAR_OPTIONS,
  settings: readLogLinear,
  settle: settleLogLinear,
  packs: true,
} as const;

/** Requires a scale for every level that the tokens up to t have. */
function checkLevels(where: string, levels: number, t: number): void {
  if (levels >= levelsAt(t)) return;
  const expected = `[..., at least ${levelsAt(t)}] (levels of ${t + 1} tokens)`;
  throw argumentError('SHAPE', where, 'levelScales', expected, `[..., ${levels}]`);
}

const positionOf = (position: Settings['position'], n: number): number =>
  typeof position === 'number' ? position : position[n];

/** The scale of a call. */
export const scaleOf = ({ scale }: Settings, k: Tensor): number => scale ?? Math.max(1, k.shape[k.ndim - 1]) ** -0.5;

/** Whole sequences: all at once where they begin at one position, else one after the other. */
export function runLogLinear(
  { inputs, states, settings, sizes, cuSeqlens }: Run<Inputs, typeof LOG_LINEAR_STATES, Settings>,
  further: Readonly<Record<string, Tensor>>,
  linear: Linear,
): Ran<typeof LOG_LINEAR_STATES> {
  const { v, levelScales, gate, q, k } = inputs;
  const tokens = { q, k, ...(gate && { gate }), ...further };
  const { position, where } = settings;
  const one = (rows: (x: Tensor) => Tensor, state: Tensor, from: number): { output: Tensor; states: Tensor } => {
    const own = Object.fromEntries(Object.entries(tokens).map(([name, x]) => [name, rows(x)]));
    const part = { tokens: own, v: rows(v), levelScales: rows(levelScales), states: state, position: from };
    const T = part.v.shape[1];
    if (T === 0) return { output: part.v, states: state };
    checkLevels(where, sizes.L, from + T - 1);
    return unobserved(() => withChecks(false, () => logLinearChunks(linear, part)));
  };
  const { state } = states;
  const alike = typeof position === 'number' || position.every((p) => p === position[0]);
  if (!cuSeqlens && alike) {
    const { output, states: after } = one((x) => x, state, positionOf(position, 0));
    return { output, states: { state: after } };
  }
  const count = cuSeqlens ? cuSeqlens.length - 1 : v.shape[0];
  const parts = Array.from({ length: count }, (_, n) => {
    const rows = (x: Tensor): Tensor => (cuSeqlens ? x.slice(1, cuSeqlens[n], cuSeqlens[n + 1]) : x.slice(0, n, n + 1));
    return one(rows, state.slice(0, n, n + 1), positionOf(position, n));
  });
  return {
    output: cat(
      parts.map(({ output }) => output),
      cuSeqlens ? 1 : 0,
    ),
    states: { state: cat(parts.map((part) => part.states)) },
  };
}

/** Below the lowest bit of t nothing stays at its level: it becomes the block of that bit. States [B, H, L, K, V]. */
function mergeLevels(states: Tensor, t: number): void {
  if (t === 0) return;
  const level = levelsAt(t & -t) - 1;
  states.slice(2, level, level + 1).copy_(states.slice(2, 0, level).sum(2, true));
  states.slice(2, 0, level).fill_(0);
}

/** One token: `pass` changes all states in place, `write` is what the token adds to the first [B, H, V]. */
export function stepLogLinear(
  { inputs, states: { state }, settings, sizes }: Run<Inputs, typeof LOG_LINEAR_STATES, Settings>,
  pass: (states: Tensor, key: Tensor) => void,
  written: Tensor,
): Tensor {
  const { q, k, levelScales, gate } = inputs;
  const { position, where } = settings;
  const { B, H } = sizes;
  const positions = Array.from({ length: B }, (_, n) => positionOf(position, n));
  const last = Math.max(0, ...positions);
  checkLevels(where, sizes.L, last);
  if (positions.every((p) => p === last)) mergeLevels(state, last);
  else positions.forEach((p, n) => mergeLevels(state.slice(0, n, n + 1), p));
  const levels = levelsAt(last);
  const used = state.slice(2, 0, levels);
  if (gate) used.mul_(gate.exp().reshape(B, H, 1, 1, 1));
  const key = repeatHeads(k, H).unsqueeze(2).unsqueeze(2);
  pass(used, key);
  const own = state.slice(2, 0, 1);
  own.add_(key.transpose(3, 4).mul(written.unsqueeze(2).unsqueeze(2)));
  const read = repeatHeads(q, H).unsqueeze(2).unsqueeze(2).matmul(used).squeeze(3);
  return read
    .mul(levelScales.slice(2, 0, levels).unsqueeze(3))
    .sum(2)
    .mul(scaleOf(settings, k));
}
