// From the first time to the last in segments of steps, without a record and with one.
import { scope, type Tensor } from '../../core';
import { checkpoint } from '../../autograd';
import type { Derivative } from './step';
import { gridOf, type Place, walkAdaptively, type WalkSettings, walkTo } from './walk';

/** dy/dt at time t in the state y, of its shape, dtype and device; `args` are those of the options. */
export type OdeField = (t: number, y: Tensor, args: readonly Tensor[]) => Tensor;

/** Steps between the states that are kept for the backward pass, or, without one, between those that are freed. */
const SEGMENT = 8;

/** Lists of states at every time but the first, without a record. */
export function solve(
  settings: WalkSettings,
  derivative: Derivative,
  states: readonly Tensor[],
  times: readonly number[],
): Tensor[][] {
  const outputs: Tensor[][] = [];
  const grid = settings.tableau.error ? null : gridOf(settings, times);
  let place: Place = { t: times[0], states, size: null, tried: 0 };
  for (let i = 0; grid ? i < grid.length : place.t !== times[times.length - 1]; i += SEGMENT) {
    const part = scope(() =>
      grid
        ? walkTo(settings, derivative, place, grid.slice(i, i + SEGMENT), times)
        : walkAdaptively(settings, derivative, place, times, SEGMENT),
    );
    // The state between two segments is of no use any more, but where a time stands there.
    const last = place.states;
    if (last !== states && last !== outputs.at(-1)) for (const y of last) y.dispose();
    outputs.push(...part.outputs);
    place = part.place;
  }
  return outputs;
}

/**
 * The same with a record: a segment of steps runs again in the backward pass, of which only the state before it is kept.
 * Steps of adapted size are chosen when a segment runs first; that choice has no gradient.
 */
export function solveRecorded(
  settings: WalkSettings,
  field: OdeField,
  y0: Tensor,
  args: readonly Tensor[],
  times: readonly number[],
): Tensor[] {
  const outputs: Tensor[] = [];
  const grid = settings.tableau.error ? null : gridOf(settings, times);
  let [y, place]: [Tensor, Place] = [y0, { t: times[0], states: [], size: null, tried: 0 }];
  for (let i = 0; grid ? i < grid.length : place.t !== times[times.length - 1]; i += SEGMENT) {
    const start = place;
    let ends = grid?.slice(i, i + SEGMENT);
    const segment = (state: Tensor, ...own: Tensor[]): Tensor[] => {
      const derivative: Derivative = (t, [at]) => [field(t, at, own)];
      const from = { ...start, states: [state] };
      const part = ends
        ? walkTo(settings, derivative, from, ends, times)
        : walkAdaptively(settings, derivative, from, times, SEGMENT);
      ends ??= part.ends;
      place = { ...part.place, states: [] };
      return [...part.outputs.map(([output]) => output), part.place.states[0]];
    };
    const all = grid && grid.length <= SEGMENT ? segment(y, ...args) : checkpoint(segment, y, ...args);
    y = all.pop()!;
    outputs.push(...all);
  }
  return outputs;
}
