// The dual form: what a query reads as a sum over the writes before it, attention over the past that a matrix has taken in.
import { bonusOf, entryOf, type MemoryInputs, readFrom, rowOf, statesOf } from './memory';

/** What the query of one step reads, taken apart. */
export interface DualRow {
  /**
   * Of write j = 0 .. t: by how much its value stands in what is read. Behind erasures and decays of later writes, scale and
   * denominator included; where every value has a weight of its own, the multiple of the value that comes nearest.
   */
  weights: Float64Array;
  /** What is read of the matrix before the first step [V]. */
  initial: Float64Array;
  /** The sum: what is read [V]. */
  output: Float64Array;
}

/**
 * Taken apart for one step after another. A query goes back through the steps: the weight of write j is what it is on the key
 * of that write, and beyond the write it has lost its part along what was erased, and decays. Oja's rule, which erases on the
 * other side, is taken apart into its effective changes.
 */
export function* dualForm(memory: MemoryInputs): Generator<DualRow> {
  const { steps, keyDim: K, valueDim: V, kind, bonus, scale, denominator } = memory;
  const effective = kind.exchanged ? [...statesOf(memory)].map(({ step }) => step.writes[0].column) : null;
  const erases = !effective && (kind.eraseFrom === 'decayed' || kind.eraseFrom === 'undecayed');
  const betaWidth = effective || !memory.beta ? 1 : memory.beta.width;
  // A query for every value where their strengths differ, else one for all.
  const width = erases ? betaWidth : 1;
  for (let t = 0; t < steps; t++) {
    const q = rowOf(memory.q, t);
    const factor = scale / (denominator ? denominator.data[t] : 1);
    const queries = Array.from({ length: width }, () => Float64Array.from(q));
    const fade = new Float64Array(V).fill(1);
    const weights = new Float64Array(t + 1);
    const output = new Float64Array(V);
    const present = bonus ? bonusOf(q, bonus, rowOf(memory.k, t)) : 0;
    for (let j = t; j >= 0; j--) {
      const [k, v] = [rowOf(memory.k, j), rowOf(memory.v, j)];
      const beta = memory.beta && rowOf(memory.beta, j);
      const gate = memory.gate && rowOf(memory.gate, j);
      const seen = j < t || kind.read !== 'before';
      const column = effective?.[j] ?? (kind.secondWrite ? k : memory.writeKey ? rowOf(memory.writeKey, j) : k);
      const strength = (c: number): number => (effective || kind.secondWrite ? 1 : entryOf(beta, c, 1));
      const along = queries.map((x) => dot(x, column));
      const weight = (c: number): number =>
        (seen ? along[width === 1 ? 0 : c] * strength(betaWidth === 1 ? 0 : c) * fade[c] : 0) + (j === t ? present : 0);
      let [onto, size] = [0, 0];
      for (let c = 0; c < V; c++) {
        const part = factor * weight(c) * v[c];
        output[c] += part;
        onto += part * v[c];
        size += v[c] * v[c];
      }
      weights[j] = betaWidth === 1 && !memory.valueGate ? factor * weight(0) : size > 0 ? onto / size : 0;
      if (!seen) continue;
      queries.forEach((x, c) => {
        const e = memory.eraseKey ? rowOf(memory.eraseKey, j) : k;
        const w = memory.writeKey ? rowOf(memory.writeKey, j) : k;
        const loss = erases ? entryOf(beta, c, 1) * dot(x, w) : 0;
        for (let i = 0; i < K; i++) {
          const decay = gate ? Math.exp(entryOf(gate, i, 0)) : 1;
          x[i] = kind.eraseFrom === 'undecayed' ? decay * x[i] - loss * e[i] : decay * (x[i] - loss * e[i]);
        }
      });
      if (memory.valueGate) for (let c = 0; c < V; c++) fade[c] *= Math.exp(rowOf(memory.valueGate, j)[c]);
    }
    const S = memory.initialState;
    const initial = width === 1 ? readFrom(S, queries[0]) : columnReads(S, queries);
    for (let c = 0; c < V; c++) output[c] += initial[c] *= factor * fade[c];
    yield { weights, initial, output };
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Column c of S [K, V] times query c. */
function columnReads(S: Float64Array, queries: readonly Float64Array[]): Float64Array {
  const V = queries.length;
  return Float64Array.from(queries, (x, c) => x.reduce((sum, xi, i) => sum + xi * S[i * V + c], 0));
}
