// Which memories a model has, and which of them are asked for.
import { argumentError } from '../core';
import type { MemoryCall } from '../rules';
import { headsOf } from './memory';

/** The heads of one matrix of a layer. */
export interface MemoryPlace {
  /** Of the model, counted from 1. */
  layer: number;
  /** Which of the rule's matrices. */
  matrix: string;
  /** The rule that keeps it. */
  rule: string;
  /** How many there are. */
  heads: number;
  /** K: rows of each. */
  keyDim: number;
  /** V: columns. */
  valueDim: number;
  /**
   * Of each head how many tokens it holds in the end: what is left of each write, added up. With `survey` only; null where there are
   * too many heads, or too many numbers in all of them.
   */
  holds?: Float64Array | null;
}

/** Which of them; null and undefined are all. */
export interface Choice {
  layer?: number | null;
  matrix?: string | null;
  head?: number | null;
}

export function placeOf(layer: number, call: MemoryCall): MemoryPlace {
  const { rule, matrix, inputs } = call;
  return { layer, matrix, rule, heads: headsOf(call), keyDim: inputs.q.shape[3], valueDim: inputs.v.shape[3] };
}

/** Requires that there is what was chosen. */
export function checkChoice(where: string, places: readonly MemoryPlace[], { layer, matrix, head }: Choice): void {
  checkThere(where, 'layer', layer, [...new Set(places.map((place) => place.layer))]);
  const inLayer = places.filter((place) => (layer ?? place.layer) === place.layer);
  checkThere(where, 'matrix', matrix, [...new Set(inLayer.map((place) => place.matrix))]);
  const chosen = inLayer.filter((place) => (matrix ?? place.matrix) === place.matrix);
  const most = Math.max(...chosen.map(({ heads }) => heads));
  const heads = Array.from({ length: most }, (_, i) => i + 1);
  checkThere(where, 'head', head, heads);
}

function checkThere<T extends number | string>(
  where: string,
  argument: string,
  value: T | null | undefined,
  there: readonly T[],
): void {
  if (value == null || there.includes(value)) return;
  const expected = there.length === 1 ? `${there[0]}` : `one of ${there.join(', ')}`;
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, String(value));
}
