// Loops over segments of tokens. What a recorded one keeps for its backward pass is the states between segments.
import { scope, type Tensor } from '../../core';
import { checkpoint, recording } from '../../autograd';
import { cat } from '../../ops';

export type Named = Readonly<Record<string, Tensor>>;

/** Tensors of a loop: [B, T, ...] that come token by token, [B, ...] that are carried on, and those that stay. */
export interface Loop<X extends Named, S extends Named, W extends Named> {
  /** [B, T, ...], token by token. */
  tokens: X;
  /** [B, ...], before the first token. */
  states: S;
  /** The same for every token. */
  weights: W;
}

/** What some tokens give: outputs [B, T, ...] (of one token [B, ...]) and the states after them. */
export interface Token<S extends Named> {
  /** [B, T, ...], of one token [B, ...]. */
  output: Tensor;
  /** After the last token. */
  states: S;
}

const named = <N extends Named>(names: readonly string[], tensors: readonly Tensor[]): N =>
  Object.fromEntries(names.map((name, i) => [name, tensors[i]])) as N;

/**
 * Runs `run` for every segment of at most `length` tokens, at least one: outputs [B, T, ...] and the last states. Recorded,
 * segments run again in the backward pass (gradient checkpointing): `run` must depend on what it is given only.
 */
export function inSegments<X extends Named, S extends Named, W extends Named>(
  { tokens, states, weights }: Loop<X, S, W>,
  length: number,
  run: (tokens: X, states: S, weights: W) => Token<S>,
): Token<S> {
  const [tokenNames, stateNames, weightNames] = [tokens, states, weights].map((group) => Object.keys(group));
  const T = Object.values(tokens)[0].shape[1];
  const segment = (...all: Tensor[]): Tensor[] => {
    const own = named<X>(tokenNames, all.splice(0, tokenNames.length));
    const carried = named<S>(stateNames, all.splice(0, stateNames.length));
    const { output, states: next } = run(own, carried, named<W>(weightNames, all));
    return [output, ...stateNames.map((name) => next[name])];
  };
  const fixed = Object.values(weights);
  let carried: Tensor[] = Object.values(states);
  const recorded = recording([...Object.values(tokens), ...carried, ...fixed]);
  const outputs: Tensor[] = [];
  for (let from = 0; from < T; from += length) {
    const to = Math.min(T, from + length);
    const whole = T <= length;
    const part = Object.values(tokens).map((x) => (whole ? x : x.slice(1, from, to)));
    const inputs = [...part, ...carried, ...fixed];
    const [output, ...next] = !recorded
      ? scope(() => segment(...inputs))
      : whole
        ? segment(...inputs)
        : checkpoint(segment, ...inputs);
    outputs.push(output);
    carried = next;
  }
  return { output: outputs.length === 1 ? outputs[0] : cat(outputs, 1), states: named<S>(stateNames, carried) };
}
