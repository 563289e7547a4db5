// Loops over segments of tokens. What a recorded one keeps for its backward pass is the states between segments.
import { argumentError, checkFunction, checkInteger, checkObject, describe, scope, Tensor } from '../../core';
import { checkpoint, recording } from '../../autograd';
import { cat, checkTensor } from '../../ops';

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

/** Requires of a loop tensors by name, tokens [B, T, ...] with at least one, and what runs for them. */
export function checkLoop(where: string, loop: Loop<Named, Named, Named>, argument: string, run: unknown): void {
  checkObject(where, 'loop', loop);
  for (const group of ['tokens', 'states', 'weights'] as const) {
    checkObject(where, group, loop[group]);
    for (const [name, t] of Object.entries(loop[group])) checkTensor(where, `${group}.${name}`, t);
  }
  const [[name, t] = []] = Object.entries(loop.tokens);
  if (t === undefined || t.ndim < 2 || t.shape[1] === 0) {
    const found = t === undefined ? 'none' : `${name} ${describe([...t.shape])}`;
    throw argumentError('INVALID_ARGUMENT', where, 'tokens', 'tensors [B, T, ...] of at least one token', found);
  }
  checkFunction(where, argument, run);
}

/** Requires of what such a function returns an output and all states. */
export function checkRan<S extends Named>(
  where: string,
  argument: string,
  ran: Token<S>,
  names: readonly string[],
): void {
  const expected = (part: string): string => `a function to { output, states }, ${part} a Tensor`;
  const refuse = (part: string, found: unknown): never => {
    throw argumentError('INVALID_ARGUMENT', where, argument, expected(part), describe(found));
  };
  const { output, states } = (ran ?? {}) as Partial<Token<S>>;
  if (!(output instanceof Tensor)) refuse('output', output);
  for (const name of names) if (!(states?.[name] instanceof Tensor)) refuse(`states.${name}`, states?.[name]);
}

/**
 * Runs `run` for every segment of at most `length` tokens, at least one: outputs [B, T, ...] and the last states. Recorded,
 * segments run again in the backward pass (gradient checkpointing): `run` must depend on what it is given only.
 */
export function inSegments<X extends Named, S extends Named, W extends Named>(
  loop: Loop<X, S, W>,
  length: number,
  run: (tokens: X, states: S, weights: W) => Token<S>,
): Token<S> {
  checkLoop('inSegments', loop, 'run', run);
  const { tokens, states, weights } = loop;
  checkInteger('inSegments', 'length', length, 1);
  const [tokenNames, stateNames, weightNames] = [tokens, states, weights].map((group) => Object.keys(group));
  const T = Object.values(tokens)[0].shape[1];
  const segment = (...all: Tensor[]): Tensor[] => {
    const own = named<X>(tokenNames, all.splice(0, tokenNames.length));
    const carried = named<S>(stateNames, all.splice(0, stateNames.length));
    const ran = run(own, carried, named<W>(weightNames, all));
    checkRan('inSegments', 'run', ran, stateNames);
    const { output, states: next } = ran;
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
