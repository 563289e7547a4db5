// A fast weight programmer out of three parts: a slow net, an update rule, a fast net (Irie, Schlag, Csordas, Schmidhuber 2021,
// eqs. 1-4; spec 2.1.3).
import { checkChoice, checkFunction, checkObject, checkOptions, type OptionNames, type Tensor } from '../../core';
import { withChecks } from '../../ops';
import { defineSequential } from '../sequential/define';

import { overTime } from '../sequential/overTime';
import type { Given, Shapes } from '../sequential/shapes';
import type { Ran, SequentialRule, States } from '../sequential/types';

/** What a slow net says for every token [B, T, ...]: what is to be written, and what the fast net gets. */
export type Program = Readonly<Record<string, Tensor>>;

/** The slow net: from its inputs, weights among them, to the program of all tokens at once. */
export interface SlowNet<I extends Shapes, P extends Program> {
  /** Shapes of its inputs in letters; those whose second letter is T come token by token. The first is one of them. */
  inputs: I;
  /** The program, [B, T, ...] each. */
  program(inputs: Given<I>): P;
}

/** The update rule: how a token's part of the program changes the fast weights. */
export interface UpdateRule<S extends Shapes, P extends Program> {
  /** The fast weights after the token [B, ...], from those before; a function of these alone, and in place of nothing. */
  write(weights: States<S>, token: P): States<S>;
  /**
   * The same over whole sequences, for a rule that is a setting of the general recurrence: outputs S^T q [B, T, H, V] and
   * the state after the last token. It is used where the fast net has a `readout`.
   */
  sequence?(program: P, initialState: Tensor, read: 'after' | 'before'): { output: Tensor; finalState: Tensor };
}

/** The fast net: its weights are what the slow net programs. */
export interface FastNet<S extends Shapes, P extends Program> {
  /** Shapes of the fast weights; their first letter is B. */
  weights: S;
  /** The output [B, ...] of a token. */
  read(weights: States<S>, token: P): Tensor;
  /** Where the net is linear in `state` [B, H, K, V] but for its end: that end, from S^T q [..., V]. */
  readout?(output: Tensor): Tensor;
}

/** Three parts that go together. */
export interface FastWeightParts<I extends Shapes, S extends Shapes, P extends Program> {
  /** What programs. */
  slow: SlowNet<I, P>;
  /** How the program changes the fast weights. */
  updateRule: UpdateRule<S, NoInfer<P>>;
  /** What is programmed. */
  fastNet: FastNet<S, NoInfer<P>>;
  /** Whether the fast net reads after a token was written, the default, or before, as in 1992. */
  read?: 'after' | 'before';
}

/** What `composeFastWeights` takes. */
export interface FastWeightComposition<I extends Shapes, S extends Shapes, P extends Program> extends FastWeightParts<
  I,
  S,
  P
> {
  /** Names the rule in errors: 'composeFastWeights' by default. */
  name?: string;
}

const COMPOSITION: OptionNames<FastWeightComposition<Shapes, Shapes, Program>> = {
  slow: true,
  updateRule: true,
  fastNet: true,
  read: true,
  name: true,
};

/** Runs the parts over whole sequences of at least one token. */
export function runParts<I extends Shapes, S extends Shapes, P extends Program>(
  { slow, updateRule, fastNet, read = 'after' }: FastWeightParts<I, S, P>,
  inputs: Given<I>,
  states: States<S>,
): Ran<S> {
  const program = slow.program(inputs);
  const sequence = updateRule.sequence?.bind(updateRule);
  if (sequence && fastNet.readout) {
    // Names of the general recurrence would mean nothing here; the final state is looked at.
    const { output, finalState } = withChecks(false, () => sequence(program, states.state, read));
    return { output: fastNet.readout(output), states: { ...states, state: finalState } };
  }
  return overTime({ tokens: program, states, weights: {} }, (token, before) => {
    const after = updateRule.write(before, token);
    return { output: fastNet.read(read === 'after' ? after : before, token), states: after };
  });
}

/**
 * Makes a rule of a slow net, an update rule and a fast net: `rule({ x, ...weights, initialState }, { outputFinalState,
 * cuSeqlens })` with outputs [B, T, ...] and a `step` for one token, as all rules have them. Parts of the library:
 * `linearSlowNet`, `sumUpdate`, `deltaUpdate`, `linearFastNet`; any object of the same form goes with them. Where the
 * update is a setting of the general recurrence and the fast net linear but for its end, sequences run on that.
 */
export function composeFastWeights<const I extends Shapes, const S extends Shapes, P extends Program>(
  composition: FastWeightComposition<I, S, P>,
): SequentialRule<I, S, object> {
  const where = 'composeFastWeights';
  checkOptions<object>(where, composition, COMPOSITION);
  const { slow, updateRule, fastNet, name = where } = composition;
  const read = checkChoice(where, 'read', composition.read ?? 'after', ['after', 'before']);
  for (const [part, given] of Object.entries({ slow, updateRule, fastNet })) checkObject(where, part, given);
  checkObject(where, 'slow.inputs', slow.inputs);
  checkFunction(where, 'slow.program', slow.program);
  checkFunction(where, 'updateRule.write', updateRule.write);
  checkObject(where, 'fastNet.weights', fastNet.weights);
  checkFunction(where, 'fastNet.read', fastNet.read);
  return defineSequential({
    name,
    inputs: slow.inputs,
    states: fastNet.weights,
    options: {},
    settings: () => ({}),
    run: ({ inputs, states }) => runParts({ slow, updateRule, fastNet, read }, inputs, states),
  });
}
