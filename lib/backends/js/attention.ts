// Causal softmax attention, with grouped heads, a window, and packed sequences.
import type { KernelArguments } from '../table';
import { floats, sequenceStarts, type Floats } from './view';

type Shape = Pick<
  KernelArguments<'attention'>,
  'offsets' | 'sequences' | 'tokens' | 'keys' | 'heads' | 'keyHeads' | 'window'
>;

/** One query of one head: its row among [tokens, heads], and the rows [first, last) of [keys, keyHeads] it sees. */
interface Query {
  row: number;
  first: number;
  last: number;
  /** The head's row of the first token of the keys; later tokens are keyHeads apart. */
  keyRow: number;
}

function* queries(shape: Shape): Generator<Query> {
  const { offsets, sequences, heads, keyHeads, window } = shape;
  const starts = sequenceStarts(offsets, sequences, shape.tokens);
  const keyStarts = offsets ? starts : sequenceStarts(null, sequences, shape.keys);
  for (let n = 0; n < sequences; n++) {
    const length = starts[n + 1] - starts[n];
    const ahead = keyStarts[n + 1] - keyStarts[n] - length;
    for (let h = 0; h < heads; h++) {
      const keyRow = keyStarts[n] * keyHeads + Math.floor((h * keyHeads) / heads);
      for (let t = 0; t < length; t++) {
        const last = Math.max(t + ahead + 1, 0);
        const first = window > 0 ? Math.max(last - window, 0) : 0;
        yield { row: (starts[n] + t) * heads + h, first, last, keyRow };
      }
    }
  }
}

function dot(x: Floats, xAt: number, y: Floats, yAt: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[xAt + i] * y[yAt + i];
  return sum;
}

export function attention(args: KernelArguments<'attention'>): void {
  const { keyHeads, keyDim: K, valueDim: V, scale } = args;
  const q = floats(args.q);
  const k = floats(args.k);
  const v = floats(args.v);
  const y = floats(args.y);
  const lse = floats(args.lse);
  const scores = new Float64Array(args.offsets ? args.tokens : args.keys);
  const row = new Float64Array(V);
  for (const { row: r, first, last, keyRow } of queries(args)) {
    let most = -Infinity;
    for (let s = first; s < last; s++) {
      scores[s] = scale * dot(q, r * K, k, (keyRow + s * keyHeads) * K, K);
      most = Math.max(most, scores[s]);
    }
    row.fill(0);
    let sum = 0;
    for (let s = first; s < last; s++) {
      const p = Math.exp(scores[s] - most);
      const at = (keyRow + s * keyHeads) * V;
      sum += p;
      for (let i = 0; i < V; i++) row[i] += p * v[at + i];
    }
    // A query that sees no key gets zeros.
    for (let i = 0; i < V; i++) y[r * V + i] = last > first ? row[i] / sum : 0;
    lse[r] = most + Math.log(sum);
  }
}

export function attentionBackward(args: KernelArguments<'attentionBackward'>): void {
  const { keyHeads, keyDim: K, valueDim: V, scale } = args;
  const q = floats(args.q);
  const k = floats(args.k);
  const v = floats(args.v);
  const y = floats(args.y);
  const lse = floats(args.lse);
  const dy = floats(args.dy);
  const dq = floats(args.dq);
  const keyRows = (args.offsets ? args.tokens : args.sequences * args.keys) * keyHeads;
  const dk = new Float64Array(keyRows * K);
  const dv = new Float64Array(keyRows * V);
  const row = new Float64Array(K);
  for (const { row: r, first, last, keyRow } of queries(args)) {
    const delta = dot(dy, r * V, y, r * V, V);
    row.fill(0);
    for (let s = first; s < last; s++) {
      const kAt = (keyRow + s * keyHeads) * K;
      const vAt = (keyRow + s * keyHeads) * V;
      const p = Math.exp(scale * dot(q, r * K, k, kAt, K) - lse[r]);
      const ds = scale * p * (dot(dy, r * V, v, vAt, V) - delta);
      for (let i = 0; i < V; i++) dv[vAt + i] += p * dy[r * V + i];
      for (let i = 0; i < K; i++) {
        dk[kAt + i] += ds * q[r * K + i];
        row[i] += ds * k[kAt + i];
      }
    }
    for (let i = 0; i < K; i++) dq[r * K + i] = row[i];
  }
  floats(args.dk).set(dk);
  floats(args.dv).set(dv);
}
