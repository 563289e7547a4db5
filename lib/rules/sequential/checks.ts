// Checks of what goes into a sequential rule, and of its states.
import { argumentError, checkOptions, describe, FastWeightsError, formatShape, overlaps, Tensor } from '../../core';
import { gradEnabled } from '../../autograd';
import { checkTensor, checkWritable } from '../../ops';
import { checkShapes, type Shapes, type Sizes } from './shapes';
import { capital, type Tensors } from './types';

/** Requires states that a step may change in place, of the shapes that the inputs ask for. */
export function checkStates(where: string, state: unknown, shapes: Shapes, sizes: Sizes, like: Tensor): Tensors {
  const names = Object.keys(shapes);
  if (typeof state !== 'object' || state === null || state instanceof Tensor) {
    throw argumentError('INVALID_ARGUMENT', where, 'state', `{ ${names.join(', ')} }`, describe(state));
  }
  checkOptions<object>(where, state, Object.fromEntries(names.map((name) => [name, true])));
  const states = state as Tensors;
  for (const name of names) {
    checkTensor(where, name, states[name]);
    checkWritable(where, name, states[name]);
    if (states[name].dtype === 'bfloat16') throw argumentError('DTYPE', where, name, 'float32', 'bfloat16');
  }
  checkShapes(where, states, shapes, sizes, like);
  names.forEach((name, i) => {
    const other = names.slice(0, i).find((before) => overlaps(states[before], states[name]));
    if (other === undefined) return;
    throw argumentError('INVALID_ARGUMENT', where, name, `apart from ${other}`, 'a tensor that shares its memory');
  });
  if (gradEnabled()) {
    throw new FastWeightsError('GRAPH', `${where}: steps change their states in place and run only inside noGrad`);
  }
  return states;
}

/** Whether a state is in order: finite, or free of NaN where a blank one is not finite either. */
export type InOrder = (name: string, state: Tensor) => boolean;

const allFinite = (t: Tensor): boolean => t.dataSync().every((x) => Number.isFinite(x));

/** What states are in order, of a rule whose states are blank so. */
export const inOrder =
  (blank: Readonly<Record<string, number | undefined>>): InOrder =>
  (name, state) =>
    Number.isFinite(blank[name] ?? 0) ? allFinite(state) : !state.dataSync().some((x) => Number.isNaN(x));

/** What ran, for `requireFinite`. */
export interface Course {
  /** After the last token. */
  states: Tensors;
  /** [B, T, ...] */
  output: Tensor;
  /** T */
  tokens: number;
  /** The states after fewer tokens, where there may be more than one. */
  again: ((T: number) => Tensors) | null;
  /** Which of packed sequences it is, for messages. */
  sequence: number | null;
}

/**
 * With the checks of values on, requires finite states and outputs where the states before were finite, and names the first
 * token that left them.
 */
export function requireFinite(where: string, ok: InOrder, { states, output, tokens, again, sequence }: Course): void {
  const left = (found: Tensors): string | undefined => Object.keys(found).find((name) => !ok(name, found[name]));
  const refuse = (argument: string, token: number, t: Tensor): never => {
    const of = sequence === null ? '' : ` of sequence ${sequence}`;
    const at = again ? ` after token ${token}${of}` : '';
    throw argumentError('INVALID_ARGUMENT', where, argument, 'finite', `not finite${at} ${formatShape(t.shape)}`);
  };
  const name = left(states);
  if (name !== undefined) {
    let [finite, lost] = [0, tokens];
    while (again && lost - finite > 1) {
      const middle = (finite + lost) >> 1;
      if (left(again(middle)) === undefined) finite = middle;
      else lost = middle;
    }
    refuse(`final${capital(name)}`, lost - 1, states[name]);
  }
  if (allFinite(output)) return;
  const lost = Array.from({ length: tokens }, (_, t) => t).find((t) => !allFinite(output.slice(1, t, t + 1)));
  refuse('output', lost ?? 0, output);
}

/** Requires the inputs and options that belong together: `wanted` says of each whether it must be there, or must not. */
export function checkTogether(where: string, given: object, wanted: Record<string, boolean>, when: string): void {
  for (const [name, must] of Object.entries(wanted)) {
    const value = (given as Record<string, unknown>)[name] ?? null;
    if (must === (value !== null)) continue;
    const expected = must ? `given with ${when}` : `absent with ${when}`;
    throw argumentError('INVALID_ARGUMENT', where, name, expected, must ? 'nothing' : describe(value));
  }
}
