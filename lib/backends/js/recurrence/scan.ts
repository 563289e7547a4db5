// A block of tokens of one head, token by token: the recurrence of spec 4.1 as it is written down.
import { add4, addDot4, dot4, gather4, LANES, scale4 } from './lanes';
import type { Operands, Plan } from './operands';

/** Tokens whose operands are staged at once: they stay in the cache for all value lanes. */
export const BLOCK = 32;

/** Runs n tokens through the state S [lanes, K], which moves on; output [n, outWidth] and written [n, lanes]. */
export function scan(
  plan: Plan,
  x: Operands,
  n: number,
  S: Float64Array,
  output: Float64Array,
  written: Float64Array,
): void {
  if (plan.exchanged) output.fill(0, 0, n * x.outWidth);
  for (let j = 0; j < plan.lanes; j += LANES) scanLanes(plan, x, n, S, j, output, written);
  if (x.bonus) addBonus(plan, x.bonus, x.v, n, output);
}

function scanLanes(
  plan: Plan,
  x: Operands,
  n: number,
  S: Float64Array,
  j: number,
  output: Float64Array,
  written: Float64Array,
): void {
  const { K, lanes, erase, secondWrite, readBefore, exchanged } = plan;
  const { q, k, e, w, v, beta, decay } = x;
  const s = j * K;
  const erased = new Float64Array(LANES);
  for (let t = 0; t < n; t++) {
    const key = t * K;
    const value = t * lanes + j;
    if (readBefore) dot4(S, s, K, q, key, output, value);
    if (erase === 'undecayed') dot4(S, s, K, e, key, erased, 0);
    if (decay) scale4(S, s, K, decay, key);
    if (erase === 'decayed') dot4(S, s, K, e, key, erased, 0);
    for (let l = 0; l < LANES; l++) {
      const u = secondWrite ? 0 : v[value + l];
      written[value + l] = beta[value + l] * (u - erased[l]);
    }
    if (secondWrite) add4(S, s, K, k, key, v, value);
    if (readBefore || exchanged) add4(S, s, K, w, key, written, value);
    else addDot4(S, s, K, w, key, written, value, q, key, output, value);
    if (exchanged) gather4(S, s, K, output, key, q, value);
  }
}

/** o_t += bonus_t v_t */
export function addBonus({ lanes }: Plan, bonus: Float64Array, v: Float64Array, n: number, output: Float64Array): void {
  for (let t = 0; t < n; t++) {
    for (let at = t * lanes; at < (t + 1) * lanes; at++) output[at] += bonus[t] * v[at];
  }
}
