// A block of tokens of one head in one pass over the state per token, for rules that erase, write once
// and read along the keys.
// What token t needs of the state S_{t-1} before it are two products, since S_t^T q = S_{t-1}^T (D q) + (w . q) r; so
// the pass that takes them also brings the state from S_{t-2} to S_{t-1} first:
//   S <- D_{t-1} S + w_{t-1} r_{t-1}^T,   erased = S^T (X_t e_t),   read = S^T (D_t q_t)
// and the update of the last token is one more pass. Keys lie interleaved, [D, w, X e, D q] for each, in one array:
// this and bounded indices are what V8 needs to keep the loop free of overflow checks and spilled registers.
import { LANES } from './lanes';
import type { Operands, Plan } from './operands';
import { addBonus } from './scan';

/** Numbers for each key: three where nothing decays. */
const PLAIN = 3;
const DECAYED = 4;

/** Indices are cut to these bits: sums of them provably fit a small integer. */
const KEYS = 0xffff;
const PLACES = 0xffffff;

export function runsLagged({ K, lanes, erase, secondWrite, exchanged }: Plan, capacity: number): boolean {
  const fits = K <= KEYS && K * lanes <= PLACES && (capacity + 1) * K * DECAYED <= PLACES;
  return fits && erase !== 'none' && !secondWrite && !exchanged;
}

export class LaggedForm {
  private readonly width: number;
  private readonly keys: Float64Array;
  /** scale w . q of each token, 0 where the read comes first. */
  private readonly within: Float64Array;
  /** erased and read of four lanes */
  private readonly sums = new Float64Array(2 * LANES);
  private readonly nothing = new Float64Array(LANES);

  constructor(
    private readonly plan: Plan,
    private readonly x: Operands,
  ) {
    this.width = x.decay ? DECAYED : PLAIN;
    this.keys = new Float64Array((x.capacity + 1) * plan.K * this.width);
    this.within = new Float64Array(x.capacity);
  }

  /** Runs n tokens through the state S [lanes, K], which moves on; output and written [n, lanes]. */
  run(n: number, S: Float64Array, output: Float64Array, written: Float64Array): void {
    this.interleave(n);
    for (let j = 0; j < this.plan.lanes; j += LANES) this.runLanes(n, S, j, output, written);
    if (this.x.bonus) addBonus(this.plan, this.x.bonus, this.x.v, n, output);
  }

  private runLanes(n: number, S: Float64Array, j: number, output: Float64Array, written: Float64Array): void {
    const { sums, within } = this;
    const { v, beta } = this.x;
    const { lanes } = this.plan;
    this.pass(S, j, 0, this.nothing, 0);
    for (let t = 0; t < n; t++) {
      const at = t * lanes + j;
      for (let l = 0; l < LANES; l++) {
        const r = beta[at + l] * (v[at + l] - sums[l]);
        written[at + l] = r;
        output[at + l] = sums[LANES + l] + within[t] * r;
      }
      this.pass(S, j, t + 1, written, at);
    }
  }

  private pass(S: Float64Array, j: number, row: number, c: Float64Array, cAt: number): void {
    const { K } = this.plan;
    if (this.x.decay) decayPass4(S, j * K, K, this.keys, row * K * DECAYED, c, cAt, this.sums);
    else pass4(S, j * K, K, this.keys, row * K * PLAIN, c, cAt, this.sums);
  }

  /** Row t of `keys`: decay and write key of the token before, erase key and query of token t; nothing beyond the ends. */
  private interleave(n: number): void {
    const { keys, within, width } = this;
    const { q, e, w, decay } = this.x;
    const { K, erase, readBefore } = this.plan;
    const row = K * width;
    keys.fill(0, 0, row);
    keys.fill(0, n * row, (n + 1) * row);
    if (decay) for (let to = 0; to < row; to += width) keys[to] = 1;
    for (let t = 0; t < n; t++) {
      let dot = 0;
      for (let i = 0; i < K; i++) {
        const at = t * K + i;
        const read = (at + 1) * width - 2;
        const write = read + row - 1;
        const d = decay ? decay[at] : 1;
        keys[read] = erase === 'decayed' ? e[at] * d : e[at];
        keys[read + 1] = readBefore ? q[at] : q[at] * d;
        keys[write] = w[at];
        if (decay) keys[write - 1] = d;
        dot += q[at] * w[at];
      }
      within[t] = readBefore ? 0 : dot;
    }
  }
}

/** S_l += c_l w, then sums_l = S_l . e and sums_{4 + l} = S_l . q. */
function pass4(
  S: Float64Array,
  sAt: number,
  K: number,
  keys: Float64Array,
  keyAt: number,
  c: Float64Array,
  cAt: number,
  sums: Float64Array,
): void {
  const n = K & KEYS;
  const first = keyAt & PLACES;
  const s = sAt & PLACES;
  const s1 = s + n;
  const s2 = s1 + n;
  const s3 = s2 + n;
  const c0 = c[cAt];
  const c1 = c[cAt + 1];
  const c2 = c[cAt + 2];
  const c3 = c[cAt + 3];
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  let b3 = 0;
  for (let i = 0; i < n; i++) {
    const at = first + i * PLAIN;
    const w = keys[at];
    const e = keys[at + 1];
    const q = keys[at + 2];
    const z0 = S[s + i] + c0 * w;
    S[s + i] = z0;
    a0 += z0 * e;
    b0 += z0 * q;
    const z1 = S[s1 + i] + c1 * w;
    S[s1 + i] = z1;
    a1 += z1 * e;
    b1 += z1 * q;
    const z2 = S[s2 + i] + c2 * w;
    S[s2 + i] = z2;
    a2 += z2 * e;
    b2 += z2 * q;
    const z3 = S[s3 + i] + c3 * w;
    S[s3 + i] = z3;
    a3 += z3 * e;
    b3 += z3 * q;
  }
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = b0;
  sums[5] = b1;
  sums[6] = b2;
  sums[7] = b3;
}

/** The same after S_l *= d. */
function decayPass4(
  S: Float64Array,
  sAt: number,
  K: number,
  keys: Float64Array,
  keyAt: number,
  c: Float64Array,
  cAt: number,
  sums: Float64Array,
): void {
  const n = K & KEYS;
  const first = keyAt & PLACES;
  const s = sAt & PLACES;
  const s1 = s + n;
  const s2 = s1 + n;
  const s3 = s2 + n;
  const c0 = c[cAt];
  const c1 = c[cAt + 1];
  const c2 = c[cAt + 2];
  const c3 = c[cAt + 3];
  let a0 = 0;
  let a1 = 0;
  let a2 = 0;
  let a3 = 0;
  let b0 = 0;
  let b1 = 0;
  let b2 = 0;
  let b3 = 0;
  for (let i = 0; i < n; i++) {
    const at = first + i * DECAYED;
    const d = keys[at];
    const w = keys[at + 1];
    const e = keys[at + 2];
    const q = keys[at + 3];
    const z0 = S[s + i] * d + c0 * w;
    S[s + i] = z0;
    a0 += z0 * e;
    b0 += z0 * q;
    const z1 = S[s1 + i] * d + c1 * w;
    S[s1 + i] = z1;
    a1 += z1 * e;
    b1 += z1 * q;
    const z2 = S[s2 + i] * d + c2 * w;
    S[s2 + i] = z2;
    a2 += z2 * e;
    b2 += z2 * q;
    const z3 = S[s3 + i] * d + c3 * w;
    S[s3 + i] = z3;
    a3 += z3 * e;
    b3 += z3 * q;
  }
  sums[0] = a0;
  sums[1] = a1;
  sums[2] = a2;
  sums[3] = a3;
  sums[4] = b0;
  sums[5] = b1;
  sums[6] = b2;
  sums[7] = b3;
}
