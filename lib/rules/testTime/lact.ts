// LaCT: a SwiGLU network that learns the text in large chunks, a step of an optimiser for each (Zhang et al. 2025).
import { argumentError, checkInteger, describe, type Tensor } from '../../core';
import { cat, ones, split, zerosBeside } from '../../ops';
import { headsFirst } from '../attention/tiles';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import { inSegments } from '../sequential/segments';
import { orthogonalize } from './orthogonalize';

/** Options of `lact`. */
export interface LactOptions {
  /** Tokens between two changes of the network, 2048 by default. */
  chunkSize?: number;
  /** Whether a step is the gradient made orthogonal, as in Muon: true by default. */
  muon?: boolean;
}

const name = 'lact';
const OPTIONS = { chunkSize: true, muon: 'flag' } as const;

/** Added to norms that divide. */
const EPS = 1e-5;

/** The three matrices as one, [..., M, 2 K + V] of w0 [M, K], w1^T [M, V] and w2 [M, K]. */
interface Weights {
  w0: Tensor;
  w1: Tensor;
  w2: Tensor;
}

const joined = ({ w0, w1, w2 }: Weights): Tensor => cat([w0, w1.transpose(-2, -1), w2], -1);
const apart = (all: Tensor, K: number): Weights => {
  const [w0, w1, w2] = split(all, [K, all.shape[all.ndim - 1] - 2 * K, K], -1);
  return { w0, w1: w1.transpose(-2, -1), w2 };
};

/** Of x [B, H, C, K]: w1 (silu(w0 x) * (w2 x)) and what it is made of. */
function network({ w0, w1, w2 }: Weights, x: Tensor): { output: Tensor; gate: Tensor; up: Tensor; hidden: Tensor } {
  const gate = x.matmul(w0.transpose(2, 3));
  const up = x.matmul(w2.transpose(2, 3));
  const hidden = gate.silu().mul(up);
  return { output: hidden.matmul(w1.transpose(2, 3)), gate, up, hidden };
}

/** k [B, H, C, K], v [B, H, C, V], rates [B, H, C, 1] of a chunk. */
interface Lesson {
  k: Tensor;
  v: Tensor;
  rate0: Tensor;
  rate1: Tensor;
  rate2: Tensor;
}

/** The gradient of the sum of f(k) . v, of which every token has its rates; joined. */
function ascent(weights: Weights, { k, v, rate0, rate1, rate2 }: Lesson): Tensor {
  const { gate, up, hidden } = network(weights, k);
  const back = v.matmul(weights.w1);
  const s = gate.sigmoid();
  const dgate = back
    .mul(up)
    .mul(s)
    .mul(gate.mul(s.neg().add(1)).add(1));
  const dup = back.mul(gate.silu());
  const sumOver = (left: Tensor, right: Tensor): Tensor => left.transpose(2, 3).matmul(right);
  return cat([sumOver(dgate, k.mul(rate0)), sumOver(hidden, v.mul(rate1)), sumOver(dup, k.mul(rate2))], 3);
}

const lengths = (rows: Tensor): Tensor => rows.square().sum(-1, true).sqrt();

/** Rows as long as those of `like`. */
const aslong = (rows: Tensor, like: Tensor): Tensor => rows.div(lengths(rows).add(EPS)).mul(lengths(like));

/** The weights after a step, every row as long as it was at first. */
function stepped(weights: Tensor, direction: Tensor, first: Tensor, K: number, muon: boolean): Tensor {
  const [at, to, from] = [weights, direction, first].map((all) => apart(all, K));
  const next = (x: keyof Weights): Tensor => aslong(at[x].add(muon ? orthogonalize(to[x]) : to[x]), from[x]);
  return joined({ w0: next('w0'), w1: next('w1'), w2: next('w2') });
}

/** How many tokens of a chunk the states hold: the same of all sequences. */
function tokensIn(tally: Tensor, chunkSize: number): number {
  const counts = tally.select(2, 0).dataSync();
  const [count] = counts;
  if (counts.every((other) => other === count) && Number.isInteger(count) && count >= 0 && count < chunkSize)
    return count;
  const expected = `one number of tokens from 0 to ${chunkSize - 1} for all sequences and heads`;
  throw argumentError('INVALID_ARGUMENT', name, 'tally', expected, describe([...counts]));
}

const rule = defineSequential({
  name,
  inputs: {
    q: 'B T H K',
    k: 'B T H K',
    v: 'B T H V',
    rate0: 'B T H',
    rate1: 'B T H',
    rate2: 'B T H',
    momentum: 'B T H?',
    w0: 'H M K',
    w1: 'H V M',
    w2: 'H M K',
  },
  states: { shift: 'B H M 2K+V', pending: 'B H M 2K+V', tally: 'B H 2', direction: 'B H M 2K+V' },
  options: OPTIONS,
  settings: (where, options: LactOptions, { momentum }) => ({
    chunkSize: checkInteger(where, 'chunkSize', options.chunkSize ?? 2048, 1),
    muon: options.muon ?? true,
    moving: (momentum ?? null) !== null,
  }),
  without: ({ moving }) => (moving ? [] : ['direction']),
  run({ inputs, states, settings: { chunkSize, muon, moving }, sizes: { T, K, H } }) {
    const { w0, w1, w2, momentum, ...perToken } = inputs;
    const tokens = { ...perToken, momentum: momentum ?? zerosBeside(perToken.rate0) };
    const weights = { first: joined({ w0, w1, w2 }) };
    /** A chunk, or a part of one behind `before` of its tokens. */
    const chunk =
      (before: number) =>
      (tile: typeof tokens, own: typeof states, { first }: typeof weights) => {
        const at = own.shift.add(first);
        const heads = apart(at, K);
        const each = (x: Tensor): Tensor => x.transpose(1, 2).unsqueeze(3);
        const lesson = {
          k: headsFirst(tile.k),
          v: headsFirst(tile.v),
          rate0: each(tile.rate0),
          rate1: each(tile.rate1),
          rate2: each(tile.rate2),
        };
        const count = tile.q.shape[1];
        const output = headsFirst(network(heads, headsFirst(tile.q)).output);
        const pending = own.pending.add(ascent(heads, lesson));
        const added = cat(
          [ones([1, H, 1], { dtype: at.dtype, device: at.device }).mul(count), zerosBeside(at, [1, H, 1])],
          2,
        );
        const sums = cat([zerosBeside(at, [at.shape[0], H, 1]), tile.momentum.sum(1).unsqueeze(2)], 2);
        const tally = own.tally.add(added).add(sums);
        const rest = moving ? { direction: own.direction } : {};
        if (before + count < chunkSize) return { output, states: { ...own, pending, tally, ...rest } };
        const keep = tally.slice(2, 1).div(chunkSize).unsqueeze(3);
        const direction = moving ? pending.add(own.direction.mul(keep)) : pending;
        const shift = stepped(at, direction, first, K, muon).sub(first);
        const begun = { shift, pending: pending.mul(0), tally: tally.mul(0), ...(moving && { direction }) };
        return { output, states: begun as typeof states };
      };
    const before = tokensIn(states.tally, chunkSize);
    const left = before === 0 ? 0 : Math.min(T, chunkSize - before);
    if (left === 0) return inSegments({ tokens, states, weights }, chunkSize, chunk(0));
    const cut = (from: number, to: number): typeof tokens =>
      Object.fromEntries(Object.entries(tokens).map(([one, x]) => [one, x.slice(1, from, to)])) as typeof tokens;
    const begun = inSegments({ tokens: cut(0, left), states, weights }, chunkSize, chunk(before));
    if (left === T) return begun;
    const rest = inSegments({ tokens: cut(left, T), states: begun.states, weights }, chunkSize, chunk(0));
    return { output: cat([begun.output, rest.output], 1), states: rest.states };
  },
});

/**
 * A network f(x) = w1 (silu(w0 x) * (w2 x)) per head, read as o_t = f(q_t) with the weights of the chunk's beginning, output
 * [B, T, H, V] ("Test-Time Training Done Right", arXiv 2505.23884; its program). Behind every chunk of `chunkSize` tokens each
 * weight w becomes w + D, and its rows are brought to the lengths that they had at first (x / (|x| + 1e-5)): D is the gradient of
 * the sum of rate f(k) . v over the chunk, with `momentum` plus its mean over the chunk times the last D, and with `muon` made
 * orthogonal, each weight's by itself.
 *
 * q, k [B, T, H, K], v [B, T, H, V]; rate0, rate1, rate2 of the three weights and momentum, none by default, [B, T, H];
 * w0, w2 [H, M, K], w1 [H, V, M] before the first token. States: `shift` [B, H, M, 2 K + V], what [w0, w1^T, w2] have gained,
 * `pending`, the gradient of the chunk under way, `tally` [B, H, 2], its tokens and their momentum, and with momentum `direction`,
 * the last D before it is made orthogonal. How far the chunk is is read, which blocks.
 */
export const lact = withQkv(name, rule, Object.keys(OPTIONS));
