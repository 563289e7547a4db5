// What the calls of a step depend on beside the values in a state's memory: where its tensors lie, and its numbers. Some of them
// grow with every token, and the calls with them.
import { type Storage, Tensor } from '../core';
import { ownerOf } from './ragged';
import type { State } from './state';

/** A part of a state that knows how many tokens it has read; of texts that differ in length, a number for each. */
export interface Counter {
  position: number | number[];
}

/** How the numbers of a part of a state go on. */
export interface Pace {
  /** What a token adds to the numbers that change, by name; to each of a list. */
  readonly each: Readonly<Record<string, number>>;
  /** So many tokens from here on add as much, and what kernels are called with differs between them in whole numbers that grow evenly. */
  readonly tokens: number;
}

/** An owner of states, as `remember` knows it, whose numbers have a pace. */
interface Paced {
  pace?(state: object): Pace | null;
}

/** Owners of counters from which nothing is computed. */
const idle = new WeakSet<object>();

/**
 * Counts a token in a state of this owner, as `remember` knows it, that changes in place; `used` says whether calls of kernels
 * depend on how many there are.
 */
export function countToken(owner: object, state: Counter, used: boolean): void {
  state.position = further(state.position, 1);
  noteUse(owner, used);
}

/** Notes of an owner of counters whether calls of kernels depend on them. */
export function noteUse(owner: object, used: boolean): void {
  if (used) idle.delete(owner);
  else idle.add(owner);
}

function further(place: number | number[], by: number): number | number[] {
  return typeof place === 'number' ? place + by : place.map((each) => each + by);
}

type Part = Record<string, number | number[]>;

/** What a state is beside the values in its memory, in the order of lists and names. */
export interface Form {
  readonly storages: Storage[];
  /** Those that stay: the others, and what is added to them. */
  readonly numbers: number[];
  /** Numbers that grow as calls do. */
  readonly places: number[];
  /** What a token adds to each of `places`. */
  readonly steps: number[];
  /** Parts of the state with what a token adds to their numbers, also to those from which nothing is computed. */
  readonly moving: [Part, Pace['each']][];
  /** So many tokens in a row go on like this. */
  tokens: number;
}

const COUNTER: Pace = { each: { position: 1 }, tokens: Infinity };

export function formOf(state: State): Form {
  const form: Form = { storages: [], numbers: [], places: [], steps: [], moving: [], tokens: Infinity };
  const walk = (part: State): void => {
    if (part instanceof Tensor) form.storages.push(part.storage);
    else if (typeof part === 'number') form.numbers.push(part);
    else if (part !== null) walkPart(part);
  };
  const walkPart = (part: object): void => {
    const owner = ownerOf(part);
    const counts = owner !== undefined && idle.has(owner);
    const pace = counts ? COUNTER : (owner as Paced | undefined)?.pace?.(part);
    if (pace) {
      form.moving.push([part as Part, pace.each]);
      form.tokens = Math.min(form.tokens, pace.tokens);
    }
    for (const [name, each] of Object.entries(part) as [string, State][]) {
      const step = pace?.each[name];
      if (step === undefined) walk(each);
      else if (!counts) note(each as number | number[], step);
    }
  };
  const note = (place: number | number[], step: number): void => {
    const places = [place].flat();
    form.places.push(...places);
    form.steps.push(...places.map(() => step));
  };
  walk(state);
  return form;
}

/** Counts a token in a state of this form. */
export function move({ moving }: Form): void {
  for (const [part, each] of moving) for (const name in each) part[name] = further(part[name], each[name]);
}

/** Sets what a state of form `to` counts to so many tokens behind a state of form `from`, which has the same parts. */
export function moveBehind(from: Form, to: Form, tokens: number): void {
  to.moving.forEach(([part, each], i) => {
    for (const name in each) part[name] = further(from.moving[i][0][name], tokens * each[name]);
  });
}

/** How many tokens behind `from` the same state stands in form `to`; null where it has another form, or `from` does not reach so far. */
export function tokensBetween(from: Form, to: Form): number | null {
  const same = isSameList(from.storages, to.storages) && isSameList(from.numbers, to.numbers);
  if (!same || !isSameList(from.steps, to.steps)) return null;
  const at = from.steps.findIndex((step) => step !== 0);
  const tokens = at < 0 ? 0 : (to.places[at] - from.places[at]) / from.steps[at];
  const even = from.places.every((place, i) => to.places[i] === place + tokens * from.steps[i]);
  return even && tokens >= 0 && tokens < from.tokens ? tokens : null;
}

export function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((each, i) => each === b[i]);
}
