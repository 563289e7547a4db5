// What one head's memory did while a sequence was read: its writes, what it knew, how full it was, what queries read.
import { Pace } from '../platform';
import { dualForm, type DualRow } from './dual';
import { type MemoryInputs, outputOf, readFrom, rowOf, statesOf, type Step, type Write } from './memory';
import { rankOf, singularValues } from './rank';
import { type Fate, fatesOf } from './retention';

/** Moments at which singular values are found: the more of them there are the longer each takes, with their third power. */
const [FEWEST_RANKED, MOST_RANKED] = [4, 16];
const RANK_WORK = 2 ** 22;

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
  /** After the last step. */
  knownNow: Float64Array;
  /** Root of the sum of squares of what each step added to the matrix; erasure is part of it, decay is not. */
  written: Float64Array;
  /** Root of the sum of squares of the matrix: at the start, and after each step. */
  norm: Float64Array;
  /**
   * Its singular values, largest first, and exp of their entropy, the effective rank, at some moments: `at` counts steps that are
   * over.
   */
  rank: { at: number; value: number; singular: Float64Array }[];
  /** How the matrix changed. */
  changes: Step[];
  /** What each query read [V]. */
  outputs: Float64Array[];
  /** The same from the writes before it. */
  dual: DualRow[];
  /** How much of each write is left, step by step, and which steps took what is gone. */
  fates: Fate[];
}

/** Measures, with a turn for others now and then, after which `atRest` may throw. */
export async function measureMemory(memory: MemoryInputs, atRest = (): void => undefined): Promise<MemoryCourse> {
  const turns = new Pace();
  const pace = {
    rest: async (): Promise<void> => {
      await turns.rest();
      atRest();
    },
  };
  const { steps, keyDim: rows, valueDim: columns } = memory;
  const series = (): Float64Array => new Float64Array(steps);
  const [knownBefore, knownAfter, written] = [series(), series(), series()];
  let last = memory.initialState;
  const norm = new Float64Array(steps + 1);
  norm[0] = length(memory.initialState);
  const rank: MemoryCourse['rank'] = [];
  const ranked = RANK_WORK / (rows * columns * Math.min(rows, columns));
  const every = Math.max(1, Math.ceil(steps / Math.min(MOST_RANKED, Math.max(FEWEST_RANKED, ranked))));
  const rankAt = async (at: number, data: Float64Array): Promise<void> => {
    if (at % every !== 0 && at !== steps) return;
    const singular = await singularValues({ rows, columns, data }, pace);
    rank.push({ at, value: rankOf(singular), singular });
  };
  await rankAt(0, memory.initialState);
  const changes: Step[] = [];
  const outputs: Float64Array[] = [];
  for (const { t, step, before, after } of statesOf(memory)) {
    const [key, value] = [rowOf(memory.k, t), rowOf(memory.v, t)];
    knownBefore[t] = cosine(readFrom(before, key), value);
    knownAfter[t] = cosine(readFrom(after, key), value);
    norm[t + 1] = length(after);
    written[t] = sizeOf(step.writes);
    // Nothing is written over the last one.
    last = after;
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
  const fates: Fate[] = [];
  for (const fate of fatesOf(memory)) {
    fates.push(fate);
    await pace.rest();
  }
  const gate = memory.gate ?? memory.valueGate;
  return {
    strength: memory.beta && series().map((_, t) => mean(rowOf(memory.beta!, t))),
    forgets: gate && series().map((_, t) => 1 - mean(rowOf(gate, t).map(Math.exp))),
    knownBefore,
    knownAfter,
    knownNow: series().map((_, t) => cosine(readFrom(last, rowOf(memory.k, t)), rowOf(memory.v, t))),
    written,
    norm,
    rank,
    changes,
    outputs,
    dual,
    fates,
  };
}

/** Of a sum of outer products, by the products of their sides. */
function sizeOf(writes: readonly Write[]): number {
  let sum = 0;
  for (const a of writes) for (const b of writes) sum += dot(a.column, b.column) * dot(a.row, b.row);
  return Math.sqrt(Math.max(0, sum));
}

function length(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
}

function mean(values: Float64Array): number {
  return values.reduce((sum, x) => sum + x / values.length, 0);
}

/** NaN beside a zero. */
function cosine(a: Float64Array, b: Float64Array): number {
  return dot(a, b) / (length(a) * length(b));
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, x, i) => sum + x * b[i], 0);
}
