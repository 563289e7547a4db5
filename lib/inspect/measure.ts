// What one head's memory did while a sequence was read: its writes, what it knew, how full it was, what queries read.
import { Pace } from '../platform';
import { dualForm, type DualRow } from './dual';
import { type MemoryInputs, outputOf, readFrom, rowOf, statesOf, type Step } from './memory';
import { effectiveRank } from './rank';

/** Moments at which the rank is measured. */
const RANKED = 16;

/** Measurements of one head's memory, an entry or a row for each step, in order. */
export interface MemoryCourse {
  /** How much of the value is written; null where all of it always is. */
  strength: Float64Array | null;
  /** The share of the matrix that is given up, the mean over its rows; null where none is. */
  forgets: Float64Array | null;
  /** Cosine between what the memory answers to the key and the value, before the write; NaN where either is zero. */
  knownBefore: Float64Array;
  /** After it. */
  knownAfter: Float64Array;
  /** Root of the sum of squares of the matrix: at the start, and after each step. */
  norm: Float64Array;
  /** exp of the entropy of its singular values, at some moments: `at` counts steps that are over. */
  rank: { at: number; value: number }[];
  /** How the matrix changed. */
  changes: Step[];
  /** What each query read [V]. */
  outputs: Float64Array[];
  /** The same from the writes before it. */
  dual: DualRow[];
}

/** Measures, with a turn for others now and then. */
export async function measureMemory(memory: MemoryInputs): Promise<MemoryCourse> {
  const pace = new Pace();
  const { steps, keyDim: rows, valueDim: columns } = memory;
  const series = (): Float64Array => new Float64Array(steps);
  const [knownBefore, knownAfter] = [series(), series()];
  const norm = new Float64Array(steps + 1);
  norm[0] = length(memory.initialState);
  const rank: MemoryCourse['rank'] = [];
  const every = Math.max(1, Math.ceil(steps / RANKED));
  const rankAt = async (at: number, data: Float64Array): Promise<void> => {
    if (at % every === 0 || at === steps) rank.push({ at, value: await effectiveRank({ rows, columns, data }, pace) });
  };
  await rankAt(0, memory.initialState);
  const changes: Step[] = [];
  const outputs: Float64Array[] = [];
  for (const { t, step, before, after } of statesOf(memory)) {
    const [key, value] = [rowOf(memory.k, t), rowOf(memory.v, t)];
    knownBefore[t] = cosine(readFrom(before, key), value);
    knownAfter[t] = cosine(readFrom(after, key), value);
    norm[t + 1] = length(after);
    await rankAt(t + 1, after);
    changes.push(step);
    outputs.push(outputOf(memory, t, before, after));
    await pace.rest();
  }
  const dual: DualRow[] = [];
  for (const row of dualForm(memory)) {
    dual.push(row);
    await pace.rest();
  }
  const gate = memory.gate ?? memory.valueGate;
  return {
    strength: memory.beta && series().map((_, t) => mean(rowOf(memory.beta!, t))),
    forgets: gate && series().map((_, t) => 1 - mean(rowOf(gate, t).map(Math.exp))),
    knownBefore,
    knownAfter,
    norm,
    rank,
    changes,
    outputs,
    dual,
  };
}

function length(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
}

function mean(values: Float64Array): number {
  return values.reduce((sum, x) => sum + x / values.length, 0);
}

/** NaN beside a zero. */
function cosine(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i], 0) / (length(a) * length(b));
}
