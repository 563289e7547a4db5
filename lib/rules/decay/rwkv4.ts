// RWKV-4: an average of the values so far, weighted by exponentials of keys and age (Peng et al. 2023, "RWKV: Reinventing RNNs
// for the Transformer Era"; spec 2.13.20).
import { noGrad } from '../../autograd';
import { scope, type Tensor } from '../../core';
import { cat, full, linearScan, maximum, tensor, zerosBeside } from '../../ops';
import { defineSequential } from '../sequential/define';

/** The logarithm of the largest weight where there is none yet. */
const NOTHING = -1e38;
/** Tokens of a piece of the running maximum, which is found in pieces. */
const PIECE = 32;
/** A decay of exp(-1000) per token leaves nothing; more of it would only round the keys away. */
const LARGEST_DECAY = 1000;
/** exp(60) is more than any keys are apart, and float32 still holds its multiples; it has no exp(89). */
const LARGEST_EXPONENT = 60;

/** w = exp(timeDecay), always finite: 0 times an infinite one is NaN. */
const decayOf = (timeDecay: Tensor): Tensor => timeDecay.minimum(LARGEST_EXPONENT).exp();

/** 0, -w, -2 w, ...: [n, D]. */
function ages(n: number, w: Tensor): Tensor {
  const { dtype, device } = w;
  return tensor(
    Float64Array.from({ length: n }, (_, i) => -i),
    { shape: [n, 1], dtype, device },
  ).mul(w);
}

/**
 * About max over s <= t of k_s - (t - s) w, and of what was before: [B, T, D]. It keeps exponentials in range, and cancels; so it
 * may be off by a little, and the log of the sum of exponentials, for which there is a scan, stands in for it.
 */
function levels(k: Tensor, w: Tensor, before: Tensor): Tensor {
  const [B, T, D] = k.shape;
  const C = Math.min(PIECE, T);
  const pieces = Math.ceil(T / C);
  const { dtype, device } = k;
  const padded = cat([k, full([B, pieces * C - T, D], NOTHING, { dtype, device })], 1).reshape(B, pieces, C, D);
  const age = ages(C, w);
  const alone = padded.sub(age).logcumsumexp(2).add(age);
  const ends = pieces === 1 ? null : levels(alone.slice(2, -1).squeeze(2), w.mul(C), before);
  const carried = ends ? cat([before.unsqueeze(1), ends.slice(1, 0, pieces - 1)], 1) : before.unsqueeze(1);
  const both = maximum(alone, carried.unsqueeze(2).sub(w).add(age));
  return both.reshape(B, pieces * C, D).slice(1, 0, T);
}

type Inputs = Record<'k' | 'v' | 'timeDecay' | 'timeFirst', Tensor>;
type States = Record<'numerator' | 'denominator' | 'max', Tensor>;

/** (old a + own v) / (old b + own), where a and b have the exponent `level` and the present token has `bonus`. */
function average(level: Tensor, { numerator, denominator }: Omit<States, 'max'>, bonus: Tensor, v: Tensor): Tensor {
  const top = noGrad(() => maximum(level, bonus));
  const [old, own] = [level.sub(top).exp(), bonus.sub(top).exp()];
  return numerator.mul(old).add(own.mul(v)).div(denominator.mul(old).add(own));
}

/** The equations of one token, T = 1. */
function oneToken({ k, v, timeDecay, timeFirst }: Inputs, states: States): { output: Tensor; states: States } {
  const [key, value] = [k.squeeze(1), v.squeeze(1)];
  const past = states.max.sub(decayOf(timeDecay));
  const max = maximum(past, key);
  const [keep, weight] = [past.sub(max).exp(), key.sub(max).exp()];
  return {
    output: average(states.max, states, key.add(timeFirst), value).unsqueeze(1),
    states: {
      numerator: states.numerator.mul(keep).add(weight.mul(value)),
      denominator: states.denominator.mul(keep).add(weight),
      max,
    },
  };
}

/** All tokens at once. */
function manyTokens(
  { k, v, timeDecay, timeFirst }: Inputs,
  { numerator, denominator, max }: States,
  T: number,
): { output: Tensor; states: States } {
  const w = decayOf(timeDecay);
  const level = noGrad(() => scope(() => levels(k, w.minimum(LARGEST_DECAY), max)));
  const previous = cat([max.unsqueeze(1), level.slice(1, 0, T - 1)], 1);
  const weight = k.sub(level).exp();
  // In this order: of large numbers near each other the difference is exact.
  const decay = previous.sub(level).sub(w).exp();
  // What was before the first token is a token of its own, so that place t holds what token t finds.
  const sums = (before: Tensor, x: Tensor): Tensor => {
    const first = before.unsqueeze(1);
    return linearScan(cat([first, x], 1), cat([zerosBeside(first), decay], 1), 1);
  };
  const [a, b] = [sums(numerator, weight.mul(v)), sums(denominator, weight)];
  const found = { numerator: a.slice(1, 0, T), denominator: b.slice(1, 0, T) };
  // The exact maximum goes into the state.
  const end = level.slice(1, -1);
  const largest = k.sub(end).add(ages(T, w).flip(0)).max(1);
  const above = maximum(max.sub(end.squeeze(1)).sub(w.mul(T)), largest);
  const final = (t: Tensor): Tensor => t.slice(1, T).squeeze(1).mul(above.neg().exp());
  return {
    output: average(previous, found, k.add(timeFirst), v),
    states: { numerator: final(a), denominator: final(b), max: end.squeeze(1).add(above) },
  };
}

/**
 * a_t = sum over s < t of exp(k_s - (t - 1 - s) w) v_s, b_t the same without v, w = exp(timeDecay):
 * output_t = (a_t + exp(timeFirst + k_t) v_t) / (b_t + exp(timeFirst + k_t)), [B, T, D], in every channel. k, v [B, T, D],
 * timeDecay, timeFirst [D]; the states `numerator`, `denominator` and `max` [B, D] are a exp(-max), b exp(-max) and the largest
 * exponent in them, -1e38 before the first token. Two scans over all tokens, stable for keys of any size.
 */
export const rwkv4 = defineSequential({
  name: 'rwkv4',
  inputs: { k: 'B T D', v: 'B T D', timeDecay: 'D', timeFirst: 'D' },
  states: { numerator: 'B D', denominator: 'B D', max: 'B D' },
  blank: { max: NOTHING },
  options: {},
  settings: () => null,
  run: ({ inputs, states, sizes: { T } }) => (T === 1 ? oneToken(inputs, states) : manyTokens(inputs, states, T)),
});
