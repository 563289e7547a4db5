// One token of the recurrence for many states at once, in place, on the states as they lie in memory.
import { ERASE_FROM, type KernelArguments } from '../../table';
import { smallestNormal } from '../special';
import { floats, maybe, type Floats } from '../view';
import type { Tensor } from '../../../core';

/** Row of sequence n and head h of an operand [B, H, D] or [B, H], as numbers in double precision. */
function rowOf(t: Tensor, data: Floats, n: number, h: number, heads: number, width: number): Float64Array {
  const at = n * t.strides[0] + Math.floor((h * t.shape[1]) / heads) * t.strides[1];
  return Float64Array.from(data.subarray(at, at + width));
}

export function recurrenceStep(args: KernelArguments<'recurrenceStep'>): void {
  const { heads, keyDim: K, valueDim: V, scale, gateWidth, betaWidth } = args;
  const erase = ERASE_FROM[args.eraseFrom];
  const state = floats(args.state);
  const smallest = smallestNormal(state);
  const output = floats(args.output);
  const bonus = maybe(args.bonus);
  const reader = (t: Tensor) => {
    const data = floats(t);
    return (n: number, h: number, width: number) => rowOf(t, data, n, h, heads, width);
  };
  const readQ = reader(args.q);
  const readK = reader(args.k);
  const readV = reader(args.v);
  const readGate = args.gate && gateWidth > 0 ? reader(args.gate) : null;
  const readBeta = args.beta && betaWidth > 0 ? reader(args.beta) : null;
  const readE = args.eraseKey ? reader(args.eraseKey) : readK;
  const readW = args.writeKey ? reader(args.writeKey) : readK;
  const outWidth = args.exchanged ? K : V;

  for (let n = 0; n < args.sequences; n++) {
    for (let h = 0; h < heads; h++) {
      const q = readQ(n, h, args.exchanged ? V : K);
      const k = readK(n, h, K);
      const v = readV(n, h, V);
      const gate = readGate?.(n, h, gateWidth);
      const beta = readBeta?.(n, h, betaWidth);
      const w = readW(n, h, K);
      const S = state.subarray((n * heads + h) * K * V, (n * heads + h + 1) * K * V);
      const o = new Float64Array(outWidth);

      if (args.readBefore) addRead(S, q, o, V);
      const erased = new Float64Array(V);
      if (erase === 'undecayed') addRead(S, readE(n, h, K), erased, V);
      if (gate) {
        for (let i = 0; i < K; i++) {
          const decay = Math.exp(gate[gateWidth === 1 ? 0 : i]);
          for (let j = i * V; j < (i + 1) * V; j++) S[j] *= decay;
        }
      }
      if (erase === 'decayed') addRead(S, readE(n, h, K), erased, V);
      const r = v.map(
        (vj, j) => (beta ? beta[betaWidth === 1 ? 0 : j] : 1) * ((args.secondWrite ? 0 : vj) - erased[j]),
      );
      for (let i = 0; i < K; i++) {
        for (let j = 0; j < V; j++) {
          const s = S[i * V + j] + w[i] * r[j] + (args.secondWrite ? k[i] * v[j] : 0);
          S[i * V + j] = Math.abs(s) < smallest ? 0 : s;
        }
      }
      if (args.exchanged) {
        for (let i = 0; i < K; i++) for (let j = 0; j < V; j++) o[i] += S[i * V + j] * q[j];
      } else if (!args.readBefore) addRead(S, q, o, V);
      if (bonus) {
        let c = 0;
        for (let i = 0; i < K; i++) c += q[i] * bonus[h * K + i] * k[i];
        for (let j = 0; j < V; j++) o[j] += c * v[j];
      }
      for (let j = 0; j < outWidth; j++) output[(n * heads + h) * outWidth + j] = scale * o[j];
    }
  }
}

/** y += S^T x */
function addRead(S: Floats, x: Float64Array, y: Float64Array, V: number): void {
  for (let i = 0; i < x.length; i++) for (let j = 0; j < V; j++) y[j] += x[i] * S[i * V + j];
}
