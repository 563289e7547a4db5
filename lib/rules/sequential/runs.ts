// How a sequential rule runs where its own `run` would not do: sequences without tokens, packed ones one length after the
// other, and parts of sequences.
import type { Tensor } from '../../core';
import { cat, type CuSeqlens, zerosBeside } from '../../ops';
import { unobserved } from '../observe';
import { ofOneLength, statesInOrder, statesOf, tokensInOrder, tokensOf } from './packed';
import { byName, type Parts } from './parts';
import type { AnyDefinition, AnyRan, AnyRun } from './types';

/** The ways to run a rule. */
export interface Runs {
  /** One or more sequences of equal lengths, or packed ones where the rule takes them. */
  whole(given: AnyRun): AnyRan;
  /** Packed sequences, one length after the other. */
  byLength(given: AnyRun, offsets: CuSeqlens): AnyRan;
  /** What runs on the first tokens of every sequence. */
  beginning(given: AnyRun, T: number): AnyRun;
  /** What runs on the first tokens of one of the packed sequences. */
  alone(given: AnyRun, offsets: CuSeqlens, n: number, T: number): AnyRun;
}

export function runsOf({ run, grows }: AnyDefinition, { tokens, first }: Parts): Runs {
  /** The same run on tokens that `f` makes of them. */
  const withTokens = (given: AnyRun, T: number, f: (x: Tensor) => Tensor): AnyRun => {
    const changed = byName(tokens, (token) => given.inputs[token] && f(given.inputs[token]));
    return { ...given, inputs: { ...given.inputs, ...changed }, sizes: { ...given.sizes, T } };
  };

  const whole = (given: AnyRun): AnyRan => {
    if (given.sizes.T > 0) return run(given);
    // A token of zeros gives the shape of an output without tokens; the states stay what they are, and every input has a
    // path to them.
    const token = (x: Tensor): Tensor => cat([x, zerosBeside(x, [x.shape[0], 1, ...x.shape.slice(2)])], 1);
    const { states } = given;
    const one = byName(Object.keys(states), (state) => states[state].slice(0, 0, 1));
    const padded = withTokens({ ...given, cuSeqlens: null, states: given.cuSeqlens ? one : states }, 1, token);
    const { output, states: after } = run({ ...padded, sizes: { ...padded.sizes, B: padded.inputs[first].shape[0] } });
    const time = grows ? 1 : 0;
    const same = byName(Object.keys(states), (state) => cat([states[state], after[state].slice(time, 0, 0)], time));
    return { output: output.slice(1, 0, 0), states: same };
  };

  const byLength = (given: AnyRun, offsets: CuSeqlens): AnyRan => {
    const { states } = given;
    const groups = ofOneLength(offsets);
    const one = (members: readonly number[]): AnyRan => {
      const own = byName(Object.keys(states), (state) => statesOf(states[state], members));
      const sizes = { ...given.sizes, B: members.length };
      const length = offsets[members[0] + 1] - offsets[members[0]];
      return whole(withTokens({ ...given, states: own, sizes }, length, (x) => tokensOf(x, offsets, members)));
    };
    const parts = unobserved(() => groups.map(one));
    const outputs = parts.map((part) => part.output);
    const output = tokensInOrder(outputs, offsets, groups);
    if (grows) return { output, states };
    const after = (state: string): Tensor =>
      statesInOrder(
        parts.map((part) => part.states[state]),
        groups,
      );
    return { output, states: byName(Object.keys(states), after) };
  };

  return {
    whole,
    byLength,
    beginning: (given, T) => withTokens(given, T, (x) => x.slice(1, 0, T)),
    alone(given, offsets, n, T) {
      const { states } = given;
      const own = byName(Object.keys(states), (state) => states[state].slice(0, n, n + 1));
      const one = { ...given, cuSeqlens: null, states: own, sizes: { ...given.sizes, B: 1 } };
      return withTokens(one, T, (x) => x.slice(1, offsets[n], offsets[n] + T));
    },
  };
}
