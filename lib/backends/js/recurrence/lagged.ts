// A block of tokens of one head in one pass over the state per token, for rules that erase, write once and read along
// the keys. What token t needs of the state S_{t-1} before it are two products, since
// S_t^T q = S_{t-1}^T (D q) + (w . q) r; so the pass that takes them can bring the state from S_{t-2} to S_{t-1} first:
//   S <- D_{t-1} S + w_{t-1} r_{t-1}^T,   a = S^T (X_t e_t),   b = S^T (D_t q_t),   r_t = beta (v - a)
// Its loop is what V8 compiles best: the keys interleaved in one array, four lanes (see lanes.ts), sums in registers,
// and indices cut to so few bits that no addition of them needs an overflow check.
import { add4, LANES, scale4 } from './lanes';
import type { Operands, Plan } from './operands';
import { addBonus } from './scan';

/** Numbers for each key: w of the token before, e and q; where something decays, its D comes first. */
const PLAIN = 3;
const DECAYED = 4;

const KEYS = 0xffff;
const PLACES = 0xffffff;

export function runsLagged({ K, lanes, erase, secondWrite, exchanged }: Plan, capacity: number): boolean {
  const fits = K <= KEYS && K * lanes <= PLACES && capacity * K * DECAYED <= PLACES;
  return fits && erase !== 'none' && !secondWrite && !exchanged;
}

export class LaggedForm {
  private readonly keys: Float64Array;
  /** w . q of each token, 0 where the read comes first. */
  private readonly within: Float64Array;

  constructor(
    private readonly plan: Plan,
    private readonly x: Operands,
  ) {
    this.keys = new Float64Array(x.capacity * plan.K * (x.decay ? DECAYED : PLAIN));
    this.within = new Float64Array(x.capacity);
  }

  /** Runs n tokens through the state S [lanes, K], which moves on; output and written [n, lanes]. */
  run(n: number, S: Float64Array, output: Float64Array, written: Float64Array): void {
    const { plan, x } = this;
    const { K, lanes } = plan;
    this.interleave(n);
    for (let j = 0; j < lanes; j += LANES) {
      if (x.decay) this.runDecayed(n, S, j, output, written);
      else this.runPlain(n, S, j, output, written);
      // The update that no later token of this block makes.
      if (x.decay) scale4(S, j * K, K, x.decay, (n - 1) * K);
      add4(S, j * K, K, x.w, (n - 1) * K, written, (n - 1) * lanes + j);
    }
    if (x.bonus) addBonus(plan, x.bonus, x.v, n, output);
  }

  private interleave(n: number): void {
    const { keys, within } = this;
    const { q, e, w, decay } = this.x;
    const { K, erase, readBefore } = this.plan;
    const width = decay ? DECAYED : PLAIN;
    for (let t = 0; t < n; t++) {
      let dot = 0;
      for (let i = 0; i < K; i++) {
        const at = t * K + i;
        const end = (at + 1) * width;
        const d = decay ? decay[at] : 1;
        if (decay) keys[end - 4] = t > 0 ? decay[at - K] : 1;
        keys[end - 3] = t > 0 ? w[at - K] : 0;
        keys[end - 2] = erase === 'decayed' ? e[at] * d : e[at];
        keys[end - 1] = readBefore ? q[at] : q[at] * d;
        dot += q[at] * w[at];
      }
      within[t] = readBefore ? 0 : dot;
    }
  }

  /** Four lanes from j on through all tokens, but for the last update. */
  private runPlain(n: number, S: Float64Array, j: number, output: Float64Array, written: Float64Array): void {
    const { keys, within } = this;
    const { v, beta } = this.x;
    const { lanes } = this.plan;
    const K = this.plan.K & KEYS;
    const s = (j * K) & PLACES;
    const s1 = s + K;
    const s2 = s1 + K;
    const s3 = s2 + K;
    let r0 = 0;
    let r1 = 0;
    let r2 = 0;
    let r3 = 0;
    for (let t = 0; t < n; t++) {
      const row = (t * K * PLAIN) & PLACES;
      let a0 = 0;
      let a1 = 0;
      let a2 = 0;
      let a3 = 0;
      let b0 = 0;
      let b1 = 0;
      let b2 = 0;
      let b3 = 0;
      for (let i = 0; i < K; i++) {
        const at = row + i * PLAIN;
        const w = keys[at];
        const e = keys[at + 1];
        const q = keys[at + 2];
        const z0 = S[s + i] + r0 * w;
        S[s + i] = z0;
        a0 += z0 * e;
        b0 += z0 * q;
        const z1 = S[s1 + i] + r1 * w;
        S[s1 + i] = z1;
        a1 += z1 * e;
        b1 += z1 * q;
        const z2 = S[s2 + i] + r2 * w;
        S[s2 + i] = z2;
        a2 += z2 * e;
        b2 += z2 * q;
        const z3 = S[s3 + i] + r3 * w;
        S[s3 + i] = z3;
        a3 += z3 * e;
        b3 += z3 * q;
      }
      const to = t * lanes + j;
      const again = within[t];
      written[to] = r0 = beta[to] * (v[to] - a0);
      output[to] = b0 + again * r0;
      written[to + 1] = r1 = beta[to + 1] * (v[to + 1] - a1);
      output[to + 1] = b1 + again * r1;
      written[to + 2] = r2 = beta[to + 2] * (v[to + 2] - a2);
      output[to + 2] = b2 + again * r2;
      written[to + 3] = r3 = beta[to + 3] * (v[to + 3] - a3);
      output[to + 3] = b3 + again * r3;
    }
  }

  /** The same with a decay. */
  private runDecayed(n: number, S: Float64Array, j: number, output: Float64Array, written: Float64Array): void {
    const { keys, within } = this;
    const { v, beta } = this.x;
    const { lanes } = this.plan;
    const K = this.plan.K & KEYS;
    const s = (j * K) & PLACES;
    const s1 = s + K;
    const s2 = s1 + K;
    const s3 = s2 + K;
    let r0 = 0;
    let r1 = 0;
    let r2 = 0;
    let r3 = 0;
    for (let t = 0; t < n; t++) {
      const row = (t * K * DECAYED) & PLACES;
      let a0 = 0;
      let a1 = 0;
      let a2 = 0;
      let a3 = 0;
      let b0 = 0;
      let b1 = 0;
      let b2 = 0;
      let b3 = 0;
      for (let i = 0; i < K; i++) {
        const at = row + i * DECAYED;
        const d = keys[at];
        const w = keys[at + 1];
        const e = keys[at + 2];
        const q = keys[at + 3];
        const z0 = S[s + i] * d + r0 * w;
        S[s + i] = z0;
        a0 += z0 * e;
        b0 += z0 * q;
        const z1 = S[s1 + i] * d + r1 * w;
        S[s1 + i] = z1;
        a1 += z1 * e;
        b1 += z1 * q;
        const z2 = S[s2 + i] * d + r2 * w;
        S[s2 + i] = z2;
        a2 += z2 * e;
        b2 += z2 * q;
        const z3 = S[s3 + i] * d + r3 * w;
        S[s3 + i] = z3;
        a3 += z3 * e;
        b3 += z3 * q;
      }
      const to = t * lanes + j;
      const again = within[t];
      written[to] = r0 = beta[to] * (v[to] - a0);
      output[to] = b0 + again * r0;
      written[to + 1] = r1 = beta[to + 1] * (v[to + 1] - a1);
      output[to + 1] = b1 + again * r1;
      written[to + 2] = r2 = beta[to + 2] * (v[to + 2] - a2);
      output[to + 2] = b2 + again * r2;
      written[to + 3] = r3 = beta[to + 3] * (v[to + 3] - a3);
      output[to + 3] = b3 + again * r3;
    }
  }
}
