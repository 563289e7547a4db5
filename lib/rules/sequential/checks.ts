// Checks of what goes into a sequential rule, and of its states.
import { argumentError, checkOptions, describe, FastWeightsError, formatShape, overlaps, Tensor } from '../../core';
import { gradEnabled } from '../../autograd';
import { checkTensor, checkWritable } from '../../ops';
import { checkShapes, type Shapes, type Sizes } from './shapes';
import { capital, type States, type Tensors } from './types';

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

const allFinite = (t: Tensor): boolean => t.dataSync().every((x) => Number.isFinite(x));

/**
 * With the checks of values on, requires finite states where those before were, and names the first token that left them:
 * `again` gives the states after a number of tokens.
 */
export function requireFinite<S extends Shapes>(
  where: string,
  states: States<S>,
  before: States<S>,
  tokens: number,
  again: ((T: number) => States<S>) | null,
): void {
  const left = (found: States<S>): string | undefined =>
    Object.keys(before).find((name) => !allFinite((found as Tensors)[name]));
  const name = left(states);
  if (name === undefined || left(before) !== undefined) return;
  let [finite, lost] = [0, tokens];
  while (again && lost - finite > 1) {
    const middle = (finite + lost) >> 1;
    if (left(again(middle)) === undefined) finite = middle;
    else lost = middle;
  }
  const at = again ? `not finite after token ${lost - 1}` : 'not finite';
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    `final${capital(name)}`,
    'finite',
    `${at} ${formatShape((states as Tensors)[name].shape)}`,
  );
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
