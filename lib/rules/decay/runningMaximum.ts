// The running maximum that keeps exponential gates in range: a scan in which sums are maxima and products are sums.
import { type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import {
  cat,
  type CuSeqlens,
  gt,
  indexSelect,
  linearScan,
  maximum,
  split,
  tensor,
  where,
  zerosBeside,
} from '../../ops';

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

/** `initial` [N, H] at the first token of every sequence, zeros elsewhere: [B, T, H]. */
function atFirst(initial: Tensor, B: number, T: number, cuSeqlens: CuSeqlens | null): Tensor {
  const [N, H] = initial.shape;
  if (!cuSeqlens) return cat([initial.unsqueeze(1), zerosBeside(initial, [B, T - 1, H])], 1);
  const places = new Int32Array(T).fill(N);
  for (let n = 0; n < N; n++) if (cuSeqlens[n] < cuSeqlens[n + 1]) places[cuSeqlens[n]] = n;
  return rowsAt(cat([initial, zerosBeside(initial, [1, H])]), places).unsqueeze(0);
}

/** true at the first token of every sequence: bool [1, T, 1]. */
function firstTokens(T: number, cuSeqlens: CuSeqlens | null, device: Tensor['device']): Tensor {
  const mask = new Array<number>(T).fill(0);
  for (const start of cuSeqlens ?? [0]) if (start < T) mask[start] = 1;
  return tensor(mask, { shape: [1, T, 1], dtype: 'int32', device }).gt(0);
}

/** m_t of every token, off the tape: m of every second one as that of half as many, and from it the others. */
function largestInputs(decay: Tensor, input: Tensor): Tensor {
  const [B, T, H] = decay.shape;
  if (T === 1) return input;
  if (T % 2 === 1) {
    const blank = zerosBeside(decay, [B, 1, H]);
    return largestInputs(cat([decay, blank], 1), cat([input, blank.sub(Infinity)], 1)).slice(1, 0, T);
  }
  const ofPairs = (t: Tensor): Tensor[] => split(t.reshape(B, T / 2, 2 * H), [H, H], 2);
  const [[decay0, decay1], [input0, input1]] = [ofPairs(decay), ofPairs(input)];
  const second = largestInputs(decay0.add(decay1), maximum(input1, input0.add(decay1)));
  const later = maximum(input0.slice(1, 1), second.slice(1, 0, T / 2 - 1).add(decay0.slice(1, 1)));
  return cat([cat([input0.slice(1, 0, 1), later], 1), second], 2).reshape(B, T, H);
}

/**
 * m_t = max(decay_t + m_{t-1}, input_t) along the tokens of decay and input [B, T, H], from `initial` [N, H]. Which of the two
 * it is, is found first, by halves; with that known m is a linear recurrence, whose backward pass is one, too.
 */
export function runningMaximum(
  decay: Tensor,
  input: Tensor,
  initial: Tensor,
  cuSeqlens: CuSeqlens | null,
): RunningMaximum {
  const [B, T] = decay.shape;
  if (T === 0) return { max: input, base: input.detach(), previous: input, final: { max: initial, base: initial } };
  const first = firstTokens(T, cuSeqlens, decay.device);
  const before = atFirst(initial, B, T, cuSeqlens);
  const shifted = (m: Tensor): Tensor => where(first, before, cat([m.slice(1, 0, 1), m.slice(1, 0, T - 1)], 1));
  const carries = noGrad(() => {
    const alone = where(first, maximum(input, decay.add(before)), input);
    // Nothing goes on from one sequence into the next.
    const found = largestInputs(where(first, -Infinity, decay), alone);
    return gt(decay.add(shifted(found)), input);
  });
  const factor = where(first, 0, carries.to(decay.dtype));
  const max = linearScan(where(carries, decay.add(before), input), factor, 1);
  const base = max.detach();
  const lastOf = (end: number, n: number): number => (end > cuSeqlens![n] ? end - 1 : T + n);
  const ends = cuSeqlens && Int32Array.from(cuSeqlens.slice(1), lastOf);
  const last = (m: Tensor): Tensor =>
    ends ? rowsAt(cat([m.squeeze(0), initial]), ends) : m.slice(1, T - 1).squeeze(1);
  return { max, base, previous: shifted(base), final: { max: last(max), base: last(base) } };
}
