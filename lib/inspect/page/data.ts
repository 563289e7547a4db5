// What the script of a page gets of an inspection.
import type { InspectedMemory } from '../inspect';
import type { Rows } from '../memory';
import type { MemoryPlace } from '../places';
import { type Packed, packRows } from './pack';

/** One memory. `steps` rows in each of the packed ones. */
export interface PageMemory {
  layer: number;
  head: number;
  matrix: string;
  rule: string;
  K: number;
  V: number;
  steps: number;
  writesPerToken: number;
  readsBefore: boolean;
  key: Packed;
  value: Packed;
  output: Packed;
  /** Columns and rows of the changes of rank 1; as many of each step after each other as there are `changes`. */
  columns: Packed;
  rows: Packed;
  changes: number;
  /** Factors of rows and columns; null for 1. */
  decay: (Packed & { width: number }) | null;
  valueDecay: (Packed & { width: number }) | null;
  initial: Packed | null;
  /** Row t has t + 1 weights. */
  weights: Packed;
  /** Of write j how much is left and what was taken, after each step from its own on: T - j entries. `taken` null where no rule erases. */
  kept: Packed;
  taken: Packed | null;
  /** How much of each query comes from the matrix before the first step: its length over that of the whole. */
  fromStart: (number | null)[];
  strength: (number | null)[] | null;
  forgets: (number | null)[] | null;
  knownBefore: (number | null)[];
  knownAfter: (number | null)[];
  knownNow: (number | null)[];
  written: (number | null)[];
  norm: (number | null)[];
  /** Steps that are over, effective rank, singular values. */
  rank: [at: number, value: number | null, singular: (number | null)[]][];
}

/** All heads at a glance, as `MemoryPlace` has them. */
export interface PagePlace {
  layer: number;
  matrix: string;
  heads: number;
  holds: (number | null)[] | null;
}

export function pagePlace({ layer, matrix, heads, holds = null }: MemoryPlace): PagePlace {
  return { layer, matrix, heads, holds: holds && rounded(holds) };
}

/** Packs it; the order of the keys is that of the file. */
export function pageMemory({ layer, head, matrix, rule, writesPerToken, inputs, course }: InspectedMemory): PageMemory {
  const { steps, keyDim: K, valueDim: V, kind } = inputs;
  const { changes } = course;
  const rowsOf = ({ width, data }: Rows): Float64Array[] =>
    Array.from({ length: steps }, (_, t) => data.subarray(t * width, (t + 1) * width));
  const decays = (of: 'decay' | 'valueDecay'): PageMemory['decay'] => {
    const width = changes[0]?.[of]?.length ?? 0;
    return width === 0 ? null : { width, ...packRows(changes.map((change) => change[of]!)) };
  };
  const writes = changes.flatMap((change) => change.writes);
  return {
    layer,
    head,
    matrix,
    rule,
    K,
    V,
    steps,
    writesPerToken,
    readsBefore: kind.read === 'before',
    key: packRows(rowsOf(inputs.k)),
    value: packRows(rowsOf(inputs.v)),
    output: packRows(course.outputs),
    columns: packRows(writes.map(({ column }) => column)),
    rows: packRows(writes.map(({ row }) => row)),
    changes: writes.length / Math.max(1, steps),
    decay: decays('decay'),
    valueDecay: decays('valueDecay'),
    initial: inputs.initialState.some((x) => x !== 0) ? packRows([inputs.initialState]) : null,
    weights: packRows(course.dual.map(({ weights }) => weights)),
    kept: packRows(course.fates.map(({ kept }) => kept)),
    taken: course.fates.some(({ taken }) => taken.some((x) => x !== 0))
      ? packRows(course.fates.map(({ taken }) => taken))
      : null,
    fromStart: rounded(course.dual.map(({ initial, output }) => length(initial) / length(output))),
    strength: course.strength && rounded(course.strength),
    forgets: course.forgets && rounded(course.forgets),
    knownBefore: rounded(course.knownBefore),
    knownAfter: rounded(course.knownAfter),
    knownNow: rounded(course.knownNow),
    written: rounded(course.written),
    norm: rounded(course.norm),
    rank: course.rank.map(({ at, value, singular }) => [at, rounded([value])[0], rounded(singular)]),
  };
}

function rounded(values: ArrayLike<number>): (number | null)[] {
  return Array.from(values, (x) => (Number.isFinite(x) ? Number(x.toPrecision(4)) : null));
}

function length(values: ArrayLike<number>): number {
  return Math.sqrt(Array.from(values).reduce((sum, x) => sum + x * x, 0));
}
