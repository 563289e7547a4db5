// States of several texts of different lengths: joined as far as the texts can be told apart by a dimension.
import { noGrad } from '../autograd';
import { scope, Tensor } from '../core';
import type { State } from './state';

/**
 * What texts of different lengths cannot have in common, such as a cache that grows: one of a single text for each, in the
 * order of the batch.
 */
export type Rows<S extends State = State> = { rows: S[] };

/** No model calls a part of its state so. */
export function isRows(state: State): state is Rows {
  return typeof state === 'object' && state !== null && 'rows' in state;
}

type Form = (batch: number) => State;

/** Whether texts differ by one dimension of every tensor, and by lists with a number for each. */
export function joins(initialState: Form): boolean {
  return noGrad(() => scope(() => alike(initialState(1), initialState(2))));
}

function alike(one: State, two: State): boolean {
  if (one instanceof Tensor) return two instanceof Tensor && batchDimension(one, two) >= 0;
  if (one === null) return two === null;
  if (typeof one === 'number') return false;
  if (isNumberEach(one, two)) return true;
  const [parts, others] = [Object.entries(one), two as { [name: string]: State }];
  return parts.length === Object.keys(others).length && parts.every(([name, part]) => alike(part, others[name]));
}

/** Which dimension counts the texts, by tensors of one and of two; -1 where none does, or the text's length counts, too. */
export function batchDimension(one: Tensor, two: Tensor): number {
  const differing = one.shape.flatMap((d, i) => (d === two.shape[i] ? [] : [i]));
  const [at] = differing;
  const counts = differing.length === 1 && one.shape[at] === 1 && two.shape[at] === 2;
  return counts && one.ndim === two.ndim && !one.shape.includes(0) ? at : -1;
}

/** Whether it is a list with a number for each of the texts. */
export function isNumberEach(one: State, two: State): boolean {
  return isNumbers(one) && isNumbers(two) && one.length === 1 && two.length === 2;
}

function isNumbers(state: State): state is number[] {
  return Array.isArray(state) && state.every((part) => typeof part === 'number');
}

/** The state of empty texts which may come to differ in length: joined where it can be, else in rows. */
export function raggedState(initialState: Form, batch: number): State {
  if (joins(initialState)) return initialState(batch);
  return { rows: Array.from({ length: batch }, () => initialState(1)) };
}

/**
 * Of whose texts, and of how many, a state was last seen to be: what changes in place keeps its form, so that a generation
 * looks at it once.
 */
const known = new WeakMap<object, { owner: object; batch: number }>();

export function remember(state: State, owner: object, batch: number): void {
  if (typeof state === 'object' && state !== null) known.set(state, { owner, batch });
}

/** Whether it is known to be of this owner's texts; of anyone's, without one. */
export function isKnown(state: unknown, owner?: object, batch?: number): boolean {
  const seen = typeof state === 'object' && state !== null ? known.get(state) : undefined;
  return seen !== undefined && (owner === undefined || (seen.owner === owner && seen.batch === batch));
}

/** Whose texts a state is known to be of. */
export function ownerOf(state: object): object | undefined {
  return known.get(state)?.owner;
}

/** Remembers of a state what is known of another one of the same form and other texts. */
export function rememberLike(state: State, like: State, batch: number): void {
  const seen = typeof like === 'object' && like !== null ? known.get(like) : undefined;
  if (seen) remember(state, seen.owner, batch);
}
