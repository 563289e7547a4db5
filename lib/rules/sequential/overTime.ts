// A loop over tokens. What a recorded one keeps for its backward pass is a state for every segment of tokens.
import { scope, type Tensor } from '../../core';
import { checkpoint, recording } from '../../autograd';
import { cat, split, stack } from '../../ops';

type Named = Readonly<Record<string, Tensor>>;

/** Tensors of a loop: [B, T, ...] that come token by token, [B, ...] that are carried on, and those that stay. */
export interface Loop<X extends Named, S extends Named, W extends Named> {
  /** [B, T, ...], token by token. */
  tokens: X;
  /** [B, ...], before the first token. */
  states: S;
  /** The same for every token. */
  weights: W;
}

/** What one token gives: an output [B, ...] and the states after it. */
export interface Token<S extends Named> {
  /** [B, ...] */
  output: Tensor;
  /** After the token. */
  states: S;
}

/** Tokens between the states that a recorded loop keeps; without a record, between those that it frees. */
const SEGMENT = 16;

const named = <N extends Named>(names: readonly string[], tensors: readonly Tensor[]): N =>
  Object.fromEntries(names.map((name, i) => [name, tensors[i]])) as N;

/**
 * Runs `step` for every token, at least one: outputs [B, T, ...] and the last states. Recorded, segments of tokens run
 * again in the backward pass (gradient checkpointing): `step` must depend on what it is given only.
 */
export function overTime<X extends Named, S extends Named, W extends Named>(
  { tokens, states, weights }: Loop<X, S, W>,
  step: (token: X, states: S, weights: W) => Token<S>,
): Token<S> {
  const [tokenNames, stateNames, weightNames] = [tokens, states, weights].map((group) => Object.keys(group));
  const T = Object.values(tokens)[0].shape[1];
  const run = (...all: Tensor[]): Tensor[] => {
    const sequences = all.splice(0, tokenNames.length);
    let carried = named<S>(stateNames, all.splice(0, stateNames.length));
    const fixed = named<W>(weightNames, all);
    const count = sequences[0].shape[1];
    const columns = sequences.map((x) =>
      split(x, new Array<number>(count).fill(1), 1).map((token) => token.squeeze(1)),
    );
    const outputs: Tensor[] = [];
    for (let t = 0; t < count; t++) {
      const token = named<X>(
        tokenNames,
        columns.map((column) => column[t]),
      );
      const { output, states: next } = step(token, carried, fixed);
      outputs.push(output);
      carried = next;
    }
    return [stack(outputs, 1), ...stateNames.map((name) => carried[name])];
  };
  const fixed = Object.values(weights);
  let carried: Tensor[] = Object.values(states);
  const recorded = recording([...Object.values(tokens), ...carried, ...fixed]);
  const outputs: Tensor[] = [];
  for (let from = 0; from < T; from += SEGMENT) {
    const to = Math.min(T, from + SEGMENT);
    const whole = T <= SEGMENT;
    const part = Object.values(tokens).map((x) => (whole ? x : x.slice(1, from, to)));
    const inputs = [...part, ...carried, ...fixed];
    const [output, ...next] = !recorded
      ? scope(() => run(...inputs))
      : whole
        ? run(...inputs)
        : checkpoint(run, ...inputs);
    outputs.push(output);
    carried = next;
  }
  return { output: outputs.length === 1 ? outputs[0] : cat(outputs, 1), states: named<S>(stateNames, carried) };
}
