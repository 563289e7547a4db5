// A block of tokens of one head at once: the chunk-parallel form of the recurrence (spec 2.14, forms a to g).
// Inside a chunk the written values N solve a triangular system in which the state at the chunk's start S appears
// once: (I + B X) N = B (U - E' S - Y V), with B = diag(beta), X and Y the products of erase keys with earlier write
// keys and keys, each weighted by the decay between the two tokens. A decay between two tokens is a running product
// of factors at most 1: it cannot overflow, and a gate of -Infinity is an exact 0.
import { add4, dot4, LANES, scale4 } from './lanes';
import type { Operands, Plan } from './operands';
import { addBonus } from './scan';

export const CHUNK = 16;

export class ChunkForm {
  /** Erase keys and queries as the state at the start sees them, write keys and keys as the state at the end does. */
  private readonly e: Float64Array;
  private readonly q: Float64Array;
  private readonly w: Float64Array;
  private readonly k: Float64Array;
  /** Decay of the whole chunk. */
  private readonly whole: Float64Array;
  /** Running decay between two tokens. */
  private readonly between: Float64Array;
  private readonly pairs = new Float64Array(CHUNK * CHUNK);

  constructor(
    private readonly plan: Plan,
    private readonly x: Operands,
  ) {
    const rows = () => new Float64Array(CHUNK * plan.K);
    this.e = rows();
    this.q = rows();
    this.w = rows();
    this.k = rows();
    this.whole = new Float64Array(plan.K);
    this.between = new Float64Array(plan.K);
  }

  /** Runs n <= CHUNK tokens through the state S [lanes, K], which moves on; output and written [n, lanes]. */
  run(n: number, S: Float64Array, output: Float64Array, written: Float64Array): void {
    const { plan, x } = this;
    this.weigh(n);
    this.solve(n, S, written);

    readState(plan, n, S, this.q, output);
    this.multiplyPairs(n, x.q, x.w, plan.readBefore);
    for (let t = 0; t < n; t++) this.addEarlier(t, t + 1, 1, written, output);
    if (plan.secondWrite) {
      this.multiplyPairs(n, x.q, x.k, plan.readBefore);
      for (let t = 0; t < n; t++) this.addEarlier(t, t + 1, 1, x.v, output);
    }
    if (x.bonus) addBonus(plan, x.bonus, x.v, n, output);

    for (let j = 0; j < plan.lanes; j += LANES) {
      const s = j * plan.K;
      if (x.decay) scale4(S, s, plan.K, this.whole, 0);
      for (let t = 0; t < n; t++) {
        add4(S, s, plan.K, this.w, t * plan.K, written, t * plan.lanes + j);
        if (plan.secondWrite) add4(S, s, plan.K, this.k, t * plan.K, x.v, t * plan.lanes + j);
      }
    }
  }

  /** Multiplies keys and queries by the decay from the chunk's start, write keys and keys by that to its end. */
  private weigh(n: number): void {
    const { plan, x } = this;
    const { K } = plan;
    const running = this.whole.fill(1);
    for (let t = 0; t < n; t++) {
      for (let i = 0; i < K; i++) {
        const at = t * K + i;
        const before = running[i];
        const after = x.decay ? before * x.decay[at] : before;
        this.e[at] = x.e[at] * (plan.erase === 'undecayed' ? before : after);
        this.q[at] = x.q[at] * (plan.readBefore ? before : after);
        running[i] = after;
      }
    }
    const rest = this.between.fill(1);
    for (let t = n - 1; t >= 0; t--) {
      for (let i = 0; i < K; i++) {
        const at = t * K + i;
        this.w[at] = x.w[at] * rest[i];
        this.k[at] = x.k[at] * rest[i];
        if (x.decay) rest[i] *= x.decay[at];
      }
    }
  }

  /** The written values N, by forward substitution over the tokens. */
  private solve(n: number, S: Float64Array, written: Float64Array): void {
    const { plan, x } = this;
    const { lanes } = plan;
    const undecayed = plan.erase === 'undecayed';
    if (plan.erase === 'none') written.fill(0, 0, n * lanes);
    else {
      readState(plan, n, S, this.e, written);
      for (let at = 0; at < n * lanes; at++) written[at] = -written[at];
      if (plan.secondWrite) {
        this.multiplyPairs(n, x.e, x.k, undecayed);
        for (let t = 0; t < n; t++) this.addEarlier(t, t, -1, x.v, written);
      }
      this.multiplyPairs(n, x.e, x.w, undecayed);
    }
    for (let t = 0; t < n; t++) {
      if (plan.erase !== 'none') this.addEarlier(t, t, -1, written, written);
      for (let at = t * lanes; at < (t + 1) * lanes; at++) {
        written[at] = x.beta[at] * (plan.secondWrite ? written[at] : written[at] + x.v[at]);
      }
    }
  }

  /** pairs[i, j] = a_i . (decay from j to i) b_j for j <= i; `before` stops one step short of i, where j < i. */
  private multiplyPairs(n: number, a: Float64Array, b: Float64Array, before: boolean): void {
    const { K } = this.plan;
    const { decay } = this.x;
    const { between, pairs } = this;
    for (let i = 0; i < n; i++) {
      between.fill(1);
      if (before) pairs[i * CHUNK + i] = 0;
      for (let j = before ? i - 1 : i; j >= 0; j--) {
        let sum = 0;
        if (decay) {
          for (let d = 0; d < K; d++) {
            sum += a[i * K + d] * between[d] * b[j * K + d];
            between[d] *= decay[j * K + d];
          }
        } else for (let d = 0; d < K; d++) sum += a[i * K + d] * b[j * K + d];
        pairs[i * CHUNK + j] = sum;
      }
    }
  }

  /** y_i += sign sum over j < end of pairs[i, j] x_j */
  private addEarlier(i: number, end: number, sign: number, x: Float64Array, y: Float64Array): void {
    const { lanes } = this.plan;
    for (let j = 0; j < end; j++) {
      const weight = sign * this.pairs[i * CHUNK + j];
      for (let l = 0; l < lanes; l++) y[i * lanes + l] += weight * x[j * lanes + l];
    }
  }
}

/** y [n, lanes] = x [n, K] S^T */
function readState({ K, lanes }: Plan, n: number, S: Float64Array, x: Float64Array, y: Float64Array): void {
  for (let j = 0; j < lanes; j += LANES) {
    for (let t = 0; t < n; t++) dot4(S, j * K, K, x, t * K, y, t * lanes + j);
  }
}
