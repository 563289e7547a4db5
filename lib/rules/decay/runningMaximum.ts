// The running maximum that keeps exponential gates in range: a scan in which sums are maxima and products are sums.
import { type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { cat, type CuSeqlens, gt, indexSelect, linearScan, maximum, tensor, where, zerosBeside } from '../../ops';

/**
 * m over the tokens. What is divided by e^m and what it is multiplied by do not depend on which m that is: of them m is only
 * the `base`, which is off the tape, and gradients need no sums that cancel.
 */
export interface RunningMaximum {
  /** m_t [B, T, H] */
  max: Tensor;
  /** The same off the tape. */
  base: Tensor;
  /** m_{t-1} [B, T, H], off the tape but for those that were given. */
  previous: Tensor;
  /** m after the last token [N, H], and its base: where there was no token, both are what was given. */
  final: { max: Tensor; base: Tensor };
}

/** Rows of `table` [rows, H] at places that the host knows: [places, H]. */
function rowsAt(table: Tensor, places: Int32Array): Tensor {
  return indexSelect(table, 0, tensor(places, { dtype: 'int32', device: table.device }));
}

/** Of packed sequences, each with a token in front; place T + n is in what was given for sequence n. */
interface Places {
  /** Where the tokens come from, those in front among them. */
  led: Int32Array;
  /** Where tokens are among them. */
  tokens: Int32Array;
  /** What each token and the end of each sequence come after. */
  previous: Int32Array;
  last: Int32Array;
}

function placesOf(cuSeqlens: CuSeqlens, T: number): Places {
  const [led, tokens, previous, last]: number[][] = [[], [], [], []];
  for (let n = 0; n + 1 < cuSeqlens.length; n++) {
    led.push(T + n);
    let before = T + n;
    for (let t = cuSeqlens[n]; t < cuSeqlens[n + 1]; t++) {
      tokens.push(led.length);
      led.push(t);
      previous.push(before);
      before = t;
    }
    last.push(before);
  }
  const [a, b, c, d] = [led, tokens, previous, last].map((places) => Int32Array.from(places));
  return { led: a, tokens: b, previous: c, last: d };
}

/** Tokens whose pairs are all looked at: with the one in front a sequence mostly has one more than a power of two. */
const BLOCK = 9;
/** Decays are held above it, so that 0 times one of them is 0: nothing is left of what decays so far. */
const FARTHEST = -1e30;

interface Pairs {
  /** 1 where a token of a block stands in front of another one, else 0 [BLOCK, BLOCK, 1, 1, 1]. */
  before: Tensor;
  /** 0 where it does or is the same one, else -Infinity. */
  seen: Tensor;
}

function pairsBeside(like: Tensor): Pairs {
  const each = (value: (distance: number) => number): Tensor => {
    const values = Array.from({ length: BLOCK * BLOCK }, (_, i) => value((i % BLOCK) - Math.floor(i / BLOCK)));
    return tensor(values, { shape: [BLOCK, BLOCK, 1, 1, 1], dtype: like.dtype, device: like.device });
  };
  return { before: each((distance) => Number(distance > 0)), seen: each((distance) => (distance < 0 ? -Infinity : 0)) };
}

/** m_t of every token, off the tape: within blocks from every token before, across them from m at their ends. */
function largestInputs(decay: Tensor, input: Tensor, pairs: Pairs): Tensor {
  const [B, T, H] = decay.shape;
  const missing = (BLOCK - (T % BLOCK)) % BLOCK;
  if (missing > 0) {
    const blank = zerosBeside(decay, [B, missing, H]);
    const filled = cat([input, blank.sub(Infinity)], 1);
    return largestInputs(cat([decay, blank], 1), filled, pairs).slice(1, 0, T);
  }
  const blocks = T / BLOCK;
  // [BLOCK, B, blocks, H]
  const [decays, inputs] = [decay, input].map((t) => t.reshape(B, blocks, BLOCK, H).permute(2, 0, 1, 3).contiguous());
  // Sums from each token to each later one, never differences of sums, which would be inexact.
  const between = decays.mul(pairs.before).cumsum(1);
  const within = inputs.unsqueeze(1).add(pairs.seen).add(between).max(0);
  const joined = (t: Tensor): Tensor => t.permute(1, 2, 0, 3).reshape(B, T, H);
  if (blocks === 1) return joined(within);
  const sinceStart = decays.cumsum(0);
  const [left, largest] = [sinceStart, within].map((t) => t.slice(0, BLOCK - 1).squeeze(0));
  const atEnds = largestInputs(left, largest, pairs);
  const nothing = zerosBeside(decay, [B, 1, H]).sub(Infinity);
  const carried = sinceStart.add(cat([nothing, atEnds.slice(1, 0, blocks - 1)], 1));
  return joined(maximum(within, carried));
}

/**
 * m_t = max(decay_t + m_{t-1}, input_t) along the tokens of decay and input [B, T, H], from `initial` [N, H]. Which of the two
 * it is, is found first; with that known m is a linear recurrence, whose backward pass is one, too.
 */
export function runningMaximum(
  decay: Tensor,
  input: Tensor,
  initial: Tensor,
  cuSeqlens: CuSeqlens | null,
): RunningMaximum {
  const T = decay.shape[1];
  if (T === 0) return { max: input, base: input.detach(), previous: input, final: { max: initial, base: initial } };
  const places = cuSeqlens && placesOf(cuSeqlens, T);
  /** t [B, T, H] and one more token in front of every sequence, from which `first` [N, H] comes in. */
  const led = (t: Tensor, first: Tensor): Tensor =>
    places ? rowsAt(cat([t.squeeze(0), first]), places.led).unsqueeze(0) : cat([first.unsqueeze(1), t], 1);
  // Nothing comes to the tokens in front.
  const decays = led(decay, zerosBeside(initial, initial.shape).add(FARTHEST));
  const inputs = led(input, initial);
  const carries = noGrad(() => {
    const found = largestInputs(decays.maximum(FARTHEST), inputs, pairsBeside(decays));
    return gt(decays.add(cat([found.slice(1, 0, 1), found.slice(1, 0, -1)], 1)), inputs);
  });
  const all = linearScan(where(carries, decays, inputs), carries.to(decays.dtype), 1);
  const max = places ? rowsAt(all.squeeze(0), places.tokens).unsqueeze(0) : all.slice(1, 1);
  const base = max.detach();
  const previous = places
    ? rowsAt(cat([base.squeeze(0), initial]), places.previous).unsqueeze(0)
    : cat([initial.unsqueeze(1), base.slice(1, 0, T - 1)], 1);
  const last = (m: Tensor): Tensor =>
    places ? rowsAt(cat([m.squeeze(0), initial]), places.last) : m.slice(1, T - 1).squeeze(1);
  return { max, base, previous, final: { max: last(max), base: last(base) } };
}
