// The backward pass of the recurrence (spec 2.15): segments of tokens from the last to the first. The states of a
// segment are computed again from its checkpoint and the written values, then the tokens are undone one by one.
import type { KernelArguments } from '../../table';
import { floats, maybe, sequenceStarts, type Floats } from '../view';
import { add4, dot4, gather4, gatherProducts4, LANES, scale4 } from './lanes';
import { Normalizer } from './normalizer';
import { loadState, Operands, planOf, storeRows, storeState, type Plan } from './operands';

/** Gradients of a segment of one head: those of vectors over the keys [n, K], those of values [n, lanes]. */
class Gradients {
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly e: Float64Array;
  readonly w: Float64Array;
  readonly gate: Float64Array;
  readonly v: Float64Array;
  readonly beta: Float64Array;

  constructor(capacity: number, plan: Plan, qWidth: number, ownErase: boolean, ownWrite: boolean) {
    const keys = () => new Float64Array(capacity * plan.K);
    this.q = new Float64Array(capacity * qWidth);
    this.k = keys();
    this.e = ownErase ? keys() : this.k;
    this.w = ownWrite ? keys() : this.k;
    this.gate = keys();
    this.v = new Float64Array(capacity * plan.lanes);
    this.beta = new Float64Array(capacity * plan.lanes);
  }

  clear(): void {
    for (const x of [this.q, this.k, this.e, this.w, this.gate, this.v, this.beta]) x.fill(0);
  }
}

export function recurrenceBackward(args: KernelArguments<'recurrenceBackward'>): void {
  const plan = planOf(args);
  const { heads, K, V, values, lanes, exchanged } = plan;
  const every = args.checkpointEvery;
  const starts = sequenceStarts(args.offsets, args.sequences, args.tokens);
  const longest = starts.reduce((most, start, n) => (n > 0 ? Math.max(most, start - starts[n - 1]) : most), 0);
  const capacity = Math.min(every, longest);
  const x = new Operands(plan, args, capacity);
  const d = new Gradients(capacity, plan, x.qWidth, args.deraseKey !== null, args.dwriteKey !== null);
  const segment = new Segment(plan, x, d, capacity);
  const states = floats(args.states);
  const written = floats(args.written);
  const doutput = floats(args.doutput);
  const dfinal = maybe(args.dfinalState);
  const dinitial = maybe(args.dinitialState);
  const dbonus = maybe(args.dbonus);
  const dq = floats(args.dq);
  const dk = floats(args.dk);
  const dv = floats(args.dv);
  const dgate = maybe(args.dgate);
  const dbeta = maybe(args.dbeta);
  const de = maybe(args.deraseKey);
  const dw = maybe(args.dwriteKey);
  const checkpointState = new Float64Array(lanes * K);
  const dS = new Float64Array(lanes * K);
  const outWidth = exchanged ? K : values;
  const normalizer = Normalizer.of(plan, args);
  const output = maybe(args.output);
  const dmax = maybe(args.dmax);

  let checkpoint = 0;
  for (let n = 0; n < args.sequences; n++) {
    const length = starts[n + 1] - starts[n];
    const segments = Math.ceil(length / every);
    for (let h = 0; h < heads; h++) {
      const stateAt = (n * heads + h) * K * V;
      loadState(dfinal, stateAt, plan, dS);
      segment.dbonus.fill(0);
      for (let c = segments - 1; c >= 0; c--) {
        const token = starts[n] + c * every;
        const count = Math.min(every, length - c * every);
        x.load(token, count, h);
        loadRows(doutput, token, count, h, heads, outWidth, segment.doutput, x.outWidth);
        if (output && dmax) normalizer?.undo(segment.doutput, output, dmax, token, count, h);
        loadRows(written, token, count, h, heads, V, segment.written, lanes);
        loadState(states, ((checkpoint + c) * heads + h) * K * V, plan, checkpointState);
        segment.run(count, checkpointState, dS, h);

        storeRows(d.q, x.qWidth, dq, token, count, h, heads, exchanged ? V : K);
        storeRows(d.k, K, dk, token, count, h, heads, K);
        storeRows(d.v, lanes, dv, token, count, h, heads, values);
        if (de) storeRows(d.e, K, de, token, count, h, heads, K);
        if (dw) storeRows(d.w, K, dw, token, count, h, heads, K);
        if (dgate) storeGate(d.gate, K, plan.gateWidth, dgate, token, count, h, heads);
        if (dbeta) storeGate(d.beta, lanes, plan.betaWidth, dbeta, token, count, h, heads);
      }
      if (dinitial) storeState(dS, plan, dinitial, stateAt);
      if (dbonus) dbonus.set(segment.dbonus, (n * heads + h) * K);
    }
    checkpoint += segments;
  }
}

/** One segment of one head, all value lanes. */
class Segment {
  readonly doutput: Float64Array;
  readonly written: Float64Array;
  /** Gradient of the bonus of the present head, summed over the tokens of a sequence. */
  readonly dbonus: Float64Array;
  /** The states of four lanes before each token and after the last. */
  private readonly states: Float64Array;
  private readonly decayed: Float64Array;
  private readonly erased = new Float64Array(LANES);
  private readonly dwritten = new Float64Array(LANES);
  private readonly derased = new Float64Array(LANES);

  constructor(
    private readonly plan: Plan,
    private readonly x: Operands,
    private readonly d: Gradients,
    capacity: number,
  ) {
    this.doutput = new Float64Array(capacity * x.outWidth);
    this.written = new Float64Array(capacity * plan.lanes);
    this.dbonus = new Float64Array(plan.K);
    this.states = new Float64Array((capacity + 1) * LANES * plan.K);
    this.decayed = new Float64Array(LANES * plan.K);
  }

  /** Moves dS from the state after the n tokens to the state before them and fills the gradients. */
  run(n: number, start: Float64Array, dS: Float64Array, head: number): void {
    this.d.clear();
    for (let j = 0; j < this.plan.lanes; j += LANES) {
      this.recompute(n, start, j);
      for (let t = n - 1; t >= 0; t--) this.undo(t, j, dS);
    }
    // Queries were staged with the scale on them.
    const { q } = this.d;
    for (let i = 0; i < n * this.x.qWidth; i++) q[i] *= this.plan.scale;
    if (this.x.bonus) this.undoBonus(n, head);
  }

  private recompute(n: number, start: Float64Array, j: number): void {
    const { K, lanes, secondWrite } = this.plan;
    const { states, x } = this;
    const size = LANES * K;
    for (let i = 0; i < size; i++) states[i] = start[j * K + i];
    for (let t = 0; t < n; t++) {
      const s = (t + 1) * size;
      states.copyWithin(s, s - size, s);
      if (x.decay) scale4(states, s, K, x.decay, t * K);
      add4(states, s, K, x.w, t * K, this.written, t * lanes + j);
      if (secondWrite) add4(states, s, K, x.k, t * K, x.v, t * lanes + j);
    }
  }

  /** One token of four lanes: the steps of the forward pass, each differentiated, from the last to the first. */
  private undo(t: number, j: number, dS: Float64Array): void {
    const { K, lanes, erase, secondWrite, readBefore } = this.plan;
    const { x, d, states, written, erased, dwritten, derased } = this;
    const s = j * K;
    const key = t * K;
    const value = t * lanes + j;
    const before = t * LANES * K;
    const size = LANES * K;
    const after = before + size;

    if (!readBefore) this.undoRead(t, j, after, dS);
    if (secondWrite) {
      dot4(dS, s, K, x.k, key, d.v, value);
      gather4(dS, s, K, d.k, key, x.v, value);
    }
    dot4(dS, s, K, x.w, key, dwritten, 0);
    gather4(dS, s, K, d.w, key, written, value);

    let from = before;
    let source = states;
    if (erase === 'decayed' && x.decay) {
      source = this.decayed;
      from = 0;
      for (let i = 0; i < size; i++) source[i] = states[before + i];
      scale4(source, 0, K, x.decay, key);
    }
    if (erase !== 'none') dot4(source, from, K, x.e, key, erased, 0);
    for (let l = 0; l < LANES; l++) {
      const u = secondWrite ? 0 : x.v[value + l];
      const du = x.beta[value + l] * dwritten[l];
      d.beta[value + l] = (u - erased[l]) * dwritten[l];
      derased[l] = -du;
      if (!secondWrite) d.v[value + l] = du;
    }
    if (erase !== 'none') gather4(source, from, K, d.e, key, derased, 0);
    if (erase === 'decayed') add4(dS, s, K, x.e, key, derased, 0);
    if (x.decay) {
      gatherProducts4(dS, s, states, before, K, x.decay, d.gate, key);
      scale4(dS, s, K, x.decay, key);
    }
    if (erase === 'undecayed') add4(dS, s, K, x.e, key, derased, 0);
    if (readBefore) this.undoRead(t, j, before, dS);
  }

  private undoRead(t: number, j: number, state: number, dS: Float64Array): void {
    const { K, lanes, exchanged } = this.plan;
    const { x, d, states, doutput } = this;
    const s = j * K;
    const value = t * lanes + j;
    if (exchanged) {
      dot4(states, state, K, doutput, t * K, d.q, value);
      add4(dS, s, K, doutput, t * K, x.q, value);
      return;
    }
    gather4(states, state, K, d.q, t * K, doutput, value);
    add4(dS, s, K, x.q, t * K, doutput, value);
  }

  /** Reads beside the state, o_t += scale q . (bonus k) v. */
  private undoBonus(n: number, head: number): void {
    const { K, lanes, scale, bonus } = this.plan;
    const { x, d, doutput } = this;
    for (let t = 0; t < n; t++) {
      let dc = 0;
      for (let at = t * lanes; at < (t + 1) * lanes; at++) {
        dc += doutput[at] * x.v[at];
        d.v[at] += x.bonus![t] * doutput[at];
      }
      for (let i = 0; i < K; i++) {
        const at = t * K + i;
        const u = bonus![head * K + i];
        d.q[at] += scale * dc * u * x.k[at];
        d.k[at] += dc * x.q[at] * u;
        this.dbonus[i] += dc * x.q[at] * x.k[at];
      }
    }
  }
}

/** x[token + t, head, :] to rows of `stride`. */
function loadRows(
  x: Floats,
  token: number,
  n: number,
  head: number,
  heads: number,
  width: number,
  out: Float64Array,
  stride: number,
): void {
  for (let t = 0; t < n; t++) {
    const at = ((token + t) * heads + head) * width;
    for (let i = 0; i < width; i++) out[t * stride + i] = x[at + i];
  }
}

/** Rows of a gate or a strength: as they are, or summed where one number served the whole row. */
function storeGate(
  x: Float64Array,
  stride: number,
  width: number,
  y: Floats,
  token: number,
  n: number,
  head: number,
  heads: number,
): void {
  if (width > 1) {
    storeRows(x, stride, y, token, n, head, heads, width);
    return;
  }
  for (let t = 0; t < n; t++) {
    let sum = 0;
    for (let i = 0; i < stride; i++) sum += x[t * stride + i];
    y[(token + t) * heads + head] = sum;
  }
}
