// The running maximum that keeps exponential gates in range: a scan in which sums are maxima and products are sums.
import { type Tensor } from '../../core';
import { cat, type CuSeqlens, indexSelect, maximumScan, tensor, zerosBeside } from '../../ops';

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

/**
 * m_t = max(decay_t + m_{t-1}, input_t) along the tokens of decay and input [B, T, H], from `initial` [N, H].
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
  const decays = led(decay, zerosBeside(initial, initial.shape).sub(Infinity));
  const inputs = led(input, initial);
  const all = maximumScan(inputs, decays, 1);
  const max = places ? rowsAt(all.squeeze(0), places.tokens).unsqueeze(0) : all.slice(1, 1);
  const base = max.detach();
  const previous = places
    ? rowsAt(cat([base.squeeze(0), initial]), places.previous).unsqueeze(0)
    : cat([initial.unsqueeze(1), base.slice(1, 0, T - 1)], 1);
  const last = (m: Tensor): Tensor =>
    places ? rowsAt(cat([m.squeeze(0), initial]), places.last) : m.slice(1, T - 1).squeeze(1);
  return { max, base, previous, final: { max: last(max), base: last(base) } };
}
