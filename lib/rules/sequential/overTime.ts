// A loop over tokens. What a recorded one keeps for its backward pass is a state for every segment of tokens.
import type { Tensor } from '../../core';
import { split, stack } from '../../ops';
import { checkLoop, checkRan, inSegments, type Loop, type Named, type Token } from './segments';

/** Tokens between the states that a recorded loop keeps; without a record, between those that it frees. */
const SEGMENT = 16;

/**
 * Runs `step` for every token, at least one: outputs [B, T, ...] and the last states. Recorded, segments of tokens run
 * again in the backward pass (gradient checkpointing): `step` must depend on what it is given only.
 */
export function overTime<X extends Named, S extends Named, W extends Named>(
  loop: Loop<X, S, W>,
  step: (token: X, states: S, weights: W) => Token<S>,
): Token<S> {
  checkLoop('overTime', loop, 'step', step);
  const stateNames = Object.keys(loop.states);
  return inSegments(loop, SEGMENT, (tokens, states, weights) => {
    const count = Object.values(tokens)[0].shape[1];
    const columns = Object.entries(tokens).map(([name, x]): [string, Tensor[]] => [
      name,
      split(x, new Array<number>(count).fill(1), 1).map((token) => token.squeeze(1)),
    ]);
    const outputs: Tensor[] = [];
    let carried = states;
    for (let t = 0; t < count; t++) {
      const token = Object.fromEntries(columns.map(([name, column]) => [name, column[t]])) as X;
      const ran = step(token, carried, weights);
      checkRan('overTime', 'step', ran, stateNames);
      const { output, states: next } = ran;
      outputs.push(output);
      carried = next;
    }
    return { output: stack(outputs, 1), states: carried };
  });
}
