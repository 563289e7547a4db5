// One head's matrix memory over a sequence, as numbers: what was asked of it and written at each step, its states, its reads.
import type { Tensor } from '../core';
import type { MemoryCall } from '../rules';

/** Per-token rows of one head, [T, width] row by row. */
export interface Rows {
  /** Of a row. */
  width: number;
  /** Row t begins at t `width`. */
  data: Float64Array;
}

/** What one head of a memory was given, in float64. */
export interface MemoryInputs {
  /** Steps: tokens, or several for each where a rule writes several times. */
  steps: number;
  /** K: rows of the matrix. */
  keyDim: number;
  /** V: its columns. */
  valueDim: number;
  /** Queries [T, K]. */
  q: Rows;
  /** Keys [T, K]. */
  k: Rows;
  /** Values [T, V]. */
  v: Rows;
  /** Logarithm of the decay, one for all or one for each row of the matrix. */
  gate: Rows | null;
  /** Logarithm of the decay of each column. */
  valueGate: Rows | null;
  /** One for all or one for each value. */
  beta: Rows | null;
  /** Key of what is erased [T, K]; null for k. */
  eraseKey: Rows | null;
  /** Key of the write [T, K]; null for k. */
  writeKey: Rows | null;
  /** Weight of each key component of the present token [K]. */
  bonus: Float64Array | null;
  /** How the memory erases, writes and reads. */
  kind: MemoryCall['kind'];
  /** Multiplies what is read. */
  scale: number;
  /** What is read is divided by it [T, 1]; null where it is not. */
  denominator: Rows | null;
  /** The matrix before the first step [K, V]. */
  initialState: Float64Array;
}

/** How many heads the matrix of a call has. */
export function headsOf({ inputs }: MemoryCall): number {
  return inputs.v.shape[2];
}

/** The head of the first sequence, out of the tensors. */
export function inputsOf(call: MemoryCall, head: number): MemoryInputs {
  const { inputs, kind, scale, initialState } = call;
  const [, steps, HV, valueDim] = inputs.v.shape;
  const keyDim = inputs.q.shape[3];
  const rows = (t: Tensor | null | undefined): Rows | null => {
    if (!t) return null;
    const own = Math.floor((head * t.shape[2]) / HV);
    const data = Float64Array.from(
      t
        .slice(0, 0, 1)
        .slice(2, own, own + 1)
        .dataSync(),
    );
    return { width: data.length / steps, data };
  };
  const bonus = inputs.bonus ?? null;
  const bonusHead = bonus && Math.floor((head * bonus.shape[0]) / HV);
  return {
    steps,
    keyDim,
    valueDim,
    q: rows(inputs.q)!,
    k: rows(inputs.k)!,
    v: rows(inputs.v)!,
    gate: rows(inputs.gate),
    valueGate: rows(inputs.valueGate),
    beta: rows(inputs.beta),
    eraseKey: rows(inputs.eraseKey),
    writeKey: rows(inputs.writeKey),
    bonus: bonus && Float64Array.from(bonus.slice(0, bonusHead!, bonusHead! + 1).dataSync()),
    kind,
    scale,
    denominator: rows(call.denominator),
    initialState: initialState
      ? Float64Array.from(
          initialState
            .slice(0, 0, 1)
            .slice(1, head, head + 1)
            .dataSync(),
        )
      : new Float64Array(keyDim * valueDim),
  };
}

/** What a head was given in pieces, one after the other. */
export function joinInputs(pieces: readonly MemoryInputs[]): MemoryInputs {
  const [first] = pieces;
  const join = (of: (piece: MemoryInputs) => Rows | null): Rows | null => {
    const rows = pieces.map(of);
    if (rows[0] === null) return null;
    const data = new Float64Array(rows.reduce((sum, each) => sum + each!.data.length, 0));
    let at = 0;
    for (const each of rows) {
      data.set(each!.data, at);
      at += each!.data.length;
    }
    return { width: rows[0].width, data };
  };
  return {
    ...first,
    steps: pieces.reduce((sum, { steps }) => sum + steps, 0),
    q: join(({ q }) => q)!,
    k: join(({ k }) => k)!,
    v: join(({ v }) => v)!,
    gate: join(({ gate }) => gate),
    valueGate: join(({ valueGate }) => valueGate),
    beta: join(({ beta }) => beta),
    eraseKey: join(({ eraseKey }) => eraseKey),
    writeKey: join(({ writeKey }) => writeKey),
    denominator: join(({ denominator }) => denominator),
  };
}

/** Row t. */
export function rowOf({ width, data }: Rows, t: number): Float64Array {
  return data.subarray(t * width, (t + 1) * width);
}

/** The entry of a row that may have one for all. */
export function entryOf(row: Float64Array | null, i: number, otherwise: number): number {
  return row === null ? otherwise : row[row.length === 1 ? 0 : i];
}

/** S^T x, S [K, V] */
export function readFrom(S: Float64Array, x: Float64Array): Float64Array {
  const V = S.length / x.length;
  const y = new Float64Array(V);
  for (let i = 0; i < x.length; i++) for (let j = 0; j < V; j++) y[j] += x[i] * S[i * V + j];
  return y;
}

/** A rank-1 change of the matrix: column times row. */
export interface Write {
  /** [K] */
  column: Float64Array;
  /** [V] */
  row: Float64Array;
}

/** What a step does: the matrix decays, then changes of rank 1 are added. */
export interface Step {
  /** Factor of each row of the matrix [1 or K]; null for 1. */
  decay: Float64Array | null;
  /** Factor of each column [V]; null for 1. */
  valueDecay: Float64Array | null;
  /** With erasure and all, as they change the matrix. */
  writes: Write[];
}

/**
 * Walks through the states: `visit` gets each step with the state before and after it, which it may keep no longer than the
 * call. Oja's rule (`exchanged`) is the delta rule of the transposed matrix, with keys and values in each other's places.
 */
export function* statesOf(
  memory: MemoryInputs,
): Generator<{ t: number; step: Step; before: Float64Array; after: Float64Array }> {
  const { steps, keyDim: K, valueDim: V, kind } = memory;
  let before = Float64Array.from(memory.initialState);
  let after = new Float64Array(K * V);
  const at = (rows: Rows | null, t: number): Float64Array | null => rows && rowOf(rows, t);
  for (let t = 0; t < steps; t++) {
    const [k, v] = [rowOf(memory.k, t), rowOf(memory.v, t)];
    const beta = at(memory.beta, t);
    const decay = at(memory.gate, t)?.map(Math.exp) ?? null;
    const valueDecay = at(memory.valueGate, t)?.map(Math.exp) ?? null;
    for (let i = 0; i < K; i++) {
      const d = entryOf(decay, i, 1);
      for (let j = 0; j < V; j++) after[i * V + j] = d * entryOf(valueDecay, j, 1) * before[i * V + j];
    }
    const from = kind.eraseFrom === 'undecayed' ? before : after;
    const erases = kind.eraseFrom === 'decayed' || kind.eraseFrom === 'undecayed';
    const writes: Write[] = [];
    if (kind.exchanged) {
      const known = k.map((_, i) => v.reduce((sum, x, j) => sum + x * from[i * V + j], 0));
      writes.push({ column: k.map((x, i) => entryOf(beta, i, 1) * (x - (erases ? known[i] : 0))), row: v });
    } else {
      const known = erases ? readFrom(from, at(memory.eraseKey, t) ?? k) : new Float64Array(V);
      const row = v.map((x, j) => entryOf(beta, j, 1) * ((kind.secondWrite ? 0 : x) - known[j]));
      writes.push({ column: at(memory.writeKey, t) ?? k, row });
      if (kind.secondWrite) writes.push({ column: k, row: v });
    }
    for (const { column, row } of writes) {
      for (let i = 0; i < K; i++) for (let j = 0; j < V; j++) after[i * V + j] += column[i] * row[j];
    }
    yield { t, step: { decay, valueDecay, writes }, before, after };
    [before, after] = [after, before];
  }
}

/** What the query of step t reads, out of the states around it [V]. */
export function outputOf(memory: MemoryInputs, t: number, before: Float64Array, after: Float64Array): Float64Array {
  const { kind, bonus, scale, denominator } = memory;
  const q = rowOf(memory.q, t);
  const output = readFrom(kind.read === 'before' ? before : after, q);
  const present = bonus ? bonusOf(q, bonus, rowOf(memory.k, t)) : 0;
  const factor = scale / (denominator ? denominator.data[t] : 1);
  const v = rowOf(memory.v, t);
  return output.map((x, j) => factor * (x + present * v[j]));
}

/** q . (bonus k), the weight of the present token's value where the rule has one. */
export function bonusOf(q: Float64Array, bonus: Float64Array, k: Float64Array): number {
  return q.reduce((sum, x, i) => sum + x * bonus[i] * k[i], 0);
}
