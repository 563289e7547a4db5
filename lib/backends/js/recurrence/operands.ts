// Operands of the recurrence in double precision: strided rows of q, k, v, gates become contiguous Float64Arrays, a
// block of tokens of one head at a time, so that the loops over them never see strides, missing options or float32.
import { tokenStride, type Tensor } from '../../../core';
import { ERASE_FROM, type KernelArguments } from '../../table';
import { smallestNormal } from '../special';
import { floats, maybe, type Floats } from '../view';
import { padded } from './lanes';

type Arguments = KernelArguments<'recurrence'> | KernelArguments<'recurrenceBackward'>;

/** Shapes and options, the same for every token. */
export interface Plan {
  readonly heads: number;
  readonly K: number;
  readonly V: number;
  /** Those of V that v and the output have: all but a normaliser. */
  readonly values: number;
  /** V in whole groups of lanes. */
  readonly lanes: number;
  readonly scale: number;
  readonly gateWidth: number;
  readonly betaWidth: number;
  readonly erase: (typeof ERASE_FROM)[number];
  readonly secondWrite: boolean;
  readonly readBefore: boolean;
  readonly exchanged: boolean;
  readonly bonus: Floats | null;
}

export function planOf(args: Arguments): Plan {
  return {
    heads: args.heads,
    K: args.keyDim,
    V: args.valueDim,
    values: args.valueDim - (args.max ? 1 : 0),
    lanes: padded(args.valueDim),
    scale: args.scale,
    gateWidth: args.gateWidth,
    betaWidth: args.betaWidth,
    erase: ERASE_FROM[args.eraseFrom],
    secondWrite: args.secondWrite !== 0,
    readBefore: args.readBefore !== 0,
    exchanged: args.exchanged !== 0,
    bonus: maybe(args.bonus),
  };
}

/** A strided operand [tokens, heads, width] from a tensor [B, T, H, D] or [B, T, H]. */
interface Heads {
  data: Floats;
  token: number;
  head: number;
  count: number;
}

function headsOf(t: Tensor): Heads {
  return { data: floats(t), token: tokenStride(t.shape, t.strides)!, head: t.strides[2], count: t.shape[2] };
}

/** out[t * stride + i] = factor x[token + t, head, i] */
function stage(
  x: Heads,
  token: number,
  n: number,
  head: number,
  heads: number,
  width: number,
  out: Float64Array,
  stride: number,
  factor = 1,
): void {
  const { data } = x;
  let at = token * x.token + Math.floor((head * x.count) / heads) * x.head;
  for (let t = 0; t < n; t++, at += x.token) {
    for (let i = 0; i < width; i++) out[t * stride + i] = factor * data[at + i];
  }
}

/** Up to `capacity` tokens of one head. Value rows are padded to whole groups of lanes with zeros. */
export class Operands {
  /** Queries times scale: [n, K], or over the lanes when exchanged. */
  readonly q: Float64Array;
  /** Their width. */
  readonly qWidth: number;
  /** Width of the output: that of the lanes, or K when exchanged. */
  readonly outWidth: number;
  readonly k: Float64Array;
  readonly e: Float64Array;
  readonly w: Float64Array;
  readonly v: Float64Array;
  /** exp(gate), [n, K], or null when nothing decays. */
  readonly decay: Float64Array | null;
  /** Strengths [n, lanes], ones when there are none. */
  readonly beta: Float64Array;
  /** scale q . (bonus k), or null without a bonus. */
  readonly bonus: Float64Array | null;
  private readonly inputs: { q: Heads; k: Heads; v: Heads; gate?: Heads; beta?: Heads; e?: Heads; w?: Heads };

  constructor(
    private readonly plan: Plan,
    args: Arguments,
    readonly capacity: number,
  ) {
    const { K, lanes, exchanged, gateWidth, betaWidth } = plan;
    this.qWidth = exchanged ? lanes : K;
    this.outWidth = exchanged ? K : lanes;
    this.q = new Float64Array(capacity * this.qWidth);
    this.k = new Float64Array(capacity * K);
    this.e = args.eraseKey ? new Float64Array(capacity * K) : this.k;
    this.w = args.writeKey ? new Float64Array(capacity * K) : this.k;
    this.v = new Float64Array(capacity * lanes);
    this.decay = gateWidth > 0 ? new Float64Array(capacity * K) : null;
    this.beta = new Float64Array(capacity * lanes).fill(betaWidth > 0 ? 0 : 1);
    this.bonus = plan.bonus && new Float64Array(capacity);
    const optional = (t: Tensor | null) => (t ? headsOf(t) : undefined);
    this.inputs = {
      q: headsOf(args.q),
      k: headsOf(args.k),
      v: headsOf(args.v),
      gate: gateWidth > 0 ? optional(args.gate) : undefined,
      beta: betaWidth > 0 ? optional(args.beta) : undefined,
      e: optional(args.eraseKey),
      w: optional(args.writeKey),
    };
  }

  load(token: number, n: number, head: number): void {
    const { heads, K, V, values, lanes, scale, exchanged, gateWidth, betaWidth } = this.plan;
    const { q, k, v, gate, beta, e, w } = this.inputs;
    stage(q, token, n, head, heads, exchanged ? V : K, this.q, this.qWidth, scale);
    stage(k, token, n, head, heads, K, this.k, K);
    stage(v, token, n, head, heads, values, this.v, lanes);
    if (values < V) for (let t = 0; t < n; t++) this.v[t * lanes + values] = 1;
    if (e) stage(e, token, n, head, heads, K, this.e, K);
    if (w) stage(w, token, n, head, heads, K, this.w, K);
    if (gate && this.decay) {
      stage(gate, token, n, head, heads, gateWidth, this.decay, K);
      exponentiate(this.decay, n, K, gateWidth);
    }
    if (beta) {
      stage(beta, token, n, head, heads, betaWidth, this.beta, lanes);
      if (betaWidth === 1) for (let t = 0; t < n; t++) this.beta.fill(this.beta[t * lanes], t * lanes, (t + 1) * lanes);
    }
    if (this.bonus) this.loadBonus(n, head);
  }

  private loadBonus(n: number, head: number): void {
    const { K, bonus } = this.plan;
    for (let t = 0; t < n; t++) {
      let sum = 0;
      for (let i = 0; i < K; i++) sum += this.q[t * K + i] * bonus![head * K + i] * this.k[t * K + i];
      this.bonus![t] = sum;
    }
  }
}

/** Gates to factors; a scalar gate fills its row. */
function exponentiate(gate: Float64Array, n: number, K: number, width: number): void {
  for (let at = 0; at < n * K; at += K) {
    if (width === 1) gate.fill(Math.exp(gate[at]), at, at + K);
    else for (let i = at; i < at + K; i++) gate[i] = Math.exp(gate[i]);
  }
}

/** S[j, i] = x[i, j], or 0 without x; padding lanes are 0. */
export function loadState(x: Floats | null, at: number, { K, V, lanes }: Plan, S: Float64Array): void {
  if (!x) {
    S.fill(0);
    return;
  }
  S.fill(0, V * K, lanes * K);
  for (let i = 0; i < K; i++) for (let j = 0; j < V; j++) S[j * K + i] = x[at + i * V + j];
}

/** y[i, j] = S[j, i], 0 instead of subnormal numbers. */
export function storeState(S: Float64Array, { K, V }: Plan, y: Floats, at: number): void {
  const smallest = smallestNormal(y);
  for (let i = 0; i < K; i++) {
    for (let j = 0; j < V; j++) {
      const s = S[j * K + i];
      y[at + i * V + j] = Math.abs(s) < smallest ? 0 : s;
    }
  }
}

/** y[token + t, head, :] = x[t, : width], rows of x `stride` apart. */
export function storeRows(
  x: Float64Array,
  stride: number,
  y: Floats,
  token: number,
  n: number,
  head: number,
  heads: number,
  width: number,
): void {
  for (let t = 0; t < n; t++) {
    const at = ((token + t) * heads + head) * width;
    for (let i = 0; i < width; i++) y[at + i] = x[t * stride + i];
  }
}
