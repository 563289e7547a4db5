// A block of tokens of one head in one pass over the state per token, for rules that erase, write once and read along
// the keys. What token t needs of the state S_{t-1} before it are two products, since
// S_t^T q = S_{t-1}^T (D q) + (w . q) r; so the pass that takes them can bring the state from S_{t-2} to S_{t-1} first:
//   S <- D_{t-1} S + w_{t-1} r_{t-1}^T,   a = S^T (X_t e_t),   b = S^T (D_t q_t),   r_t = beta (v - a)
// Its loop is written for what V8 makes of it. Arrays of the module are constants in the machine code, address and
// length; with an array for each kind of number, one bounds check serves all that share an index; two lanes and two
// keys at a time are what the registers hold.
import type { Operands, Plan } from './operands';
import { addBonus, BLOCK } from './scan';

/** Wider keys are left to the plain loop: addresses of small arrays fit into an instruction. */
const MAX_K = 256;
const SIZE = (BLOCK + 1) * MAX_K;
/** Above all indices; no addition of numbers cut to these bits needs an overflow check. */
const BITS = 0xffff;

/** D and w of the token before; a row more than tokens. */
const decays = new Float64Array(SIZE);
const writes = new Float64Array(SIZE);
/** X e and D q, or q where the read comes first. */
const erases = new Float64Array(SIZE);
const reads = new Float64Array(SIZE);
/** Two lanes of the state; as long as the others, so that all bounds are the same. */
const lane0 = new Float64Array(SIZE);
const lane1 = new Float64Array(SIZE);
/** w . q of each token, 0 where the read comes first. */
const within = new Float64Array(BLOCK);

export function isLagged({ K, erase, secondWrite, exchanged }: Plan): boolean {
  return K <= MAX_K && K % 2 === 0 && erase !== 'none' && !secondWrite && !exchanged;
}

/** Runs n tokens through the state S [lanes, K], which moves on; output and written [n, lanes]. */
export function runLagged(
  plan: Plan,
  x: Operands,
  n: number,
  S: Float64Array,
  output: Float64Array,
  written: Float64Array,
): void {
  stage(plan, x, n);
  for (let j = 0; j < plan.lanes; j += 2) advance(plan, x, n, S, j, output, written);
  if (x.bonus) addBonus(plan, x.bonus, x.v, n, output);
}

function stage({ K, erase, readBefore }: Plan, { q, e, w, decay }: Operands, n: number): void {
  const size = n * K;
  // Nothing comes before the first token; what an earlier call left there may be NaN, even times 0.
  decays.fill(1, 0, decay ? K : size + K);
  writes.fill(0, 0, K);
  writes.set(w.subarray(0, size), K);
  erases.set(e.subarray(0, size));
  reads.set(q.subarray(0, size));
  if (decay) {
    decays.set(decay.subarray(0, size), K);
    if (erase === 'decayed') for (let at = 0; at < size; at++) erases[at] *= decay[at];
    if (!readBefore) for (let at = 0; at < size; at++) reads[at] *= decay[at];
  }
  for (let t = 0; t < n; t++) {
    let dot = 0;
    for (let at = t * K; at < (t + 1) * K; at++) dot += q[at] * w[at];
    within[t] = readBefore ? 0 : dot;
  }
}

/** Two lanes from j on through all tokens. */
function advance(
  plan: Plan,
  { v, beta }: Operands,
  n: number,
  S: Float64Array,
  j: number,
  output: Float64Array,
  written: Float64Array,
): void {
  // Read from the module once: inside a loop they are not taken for constants.
  const D = decays;
  const W = writes;
  const E = erases;
  const Q = reads;
  const S0 = lane0;
  const S1 = lane1;
  const { lanes } = plan;
  const K = plan.K & BITS;
  const s = j * K;
  for (let i = 0; i < K; i++) {
    S0[i] = S[s + i];
    S1[i] = S[s + K + i];
  }
  let r0 = 0;
  let r1 = 0;
  for (let t = 0; t < n; t++) {
    const row = (t * K) & BITS;
    let a0 = 0;
    let a1 = 0;
    let b0 = 0;
    let b1 = 0;
    for (let i = 0; i < K; i += 2) {
      const at = row + i;
      const d = D[at];
      const w = W[at];
      const y0 = S0[i] * d + r0 * w;
      S0[i] = y0;
      const y1 = S1[i] * d + r1 * w;
      S1[i] = y1;
      const e = E[at];
      a0 += y0 * e;
      a1 += y1 * e;
      const q = Q[at];
      b0 += y0 * q;
      b1 += y1 * q;

      const d2 = D[at + 1];
      const w2 = W[at + 1];
      const z0 = S0[i + 1] * d2 + r0 * w2;
      S0[i + 1] = z0;
      const z1 = S1[i + 1] * d2 + r1 * w2;
      S1[i + 1] = z1;
      const e2 = E[at + 1];
      a0 += z0 * e2;
      a1 += z1 * e2;
      const q2 = Q[at + 1];
      b0 += z0 * q2;
      b1 += z1 * q2;
    }
    const to = t * lanes + j;
    const again = within[t];
    written[to] = r0 = beta[to] * (v[to] - a0);
    output[to] = b0 + again * r0;
    written[to + 1] = r1 = beta[to + 1] * (v[to + 1] - a1);
    output[to + 1] = b1 + again * r1;
  }
  const last = n * K;
  for (let i = 0; i < K; i++) {
    S[s + i] = S0[i] * D[last + i] + r0 * W[last + i];
    S[s + K + i] = S1[i] * D[last + i] + r1 * W[last + i];
  }
}
