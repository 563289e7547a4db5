// A fast weight programmer out of three parts: a slow net, an update rule, a fast net (Irie, Schlag, Csordas, Schmidhuber 2021,
// eqs. 1-4; spec 2.1.3).
import {
  argumentError,
  checkChoice,
  checkFunction,
  checkObject,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
  sameShape,
  Tensor,
} from '../../core';
import { withChecks } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import { checkForms, type Given, type Shapes } from '../sequential/shapes';
import type { Ran, SequentialRule, States } from '../sequential/types';

/** What a slow net says for every token [B, T, ...]: what is to be written, and what the fast net gets. */
export type Program = Readonly<Record<string, Tensor>>;

/** The slow net: from its inputs, weights among them, to the program of all tokens at once. */
export interface SlowNet<I extends Shapes, P extends Program> {
  /** Shapes of its inputs in letters; those whose second letter is T come token by token. The first is one of them. */
  inputs: I;
  /** The program, [B, T, ...] each. */
  program: (inputs: Given<I>) => P;
}

/** The update rule: how a token's part of the program changes the fast weights. */
export interface UpdateRule<S extends Shapes, P extends Program> {
  /** The fast weights after the token [B, ...], from those before; a function of these alone, and in place of nothing. */
  write: (weights: States<S>, token: P) => States<S>;
  /**
   * The same over whole sequences, for a rule that is a setting of the general recurrence: outputs S^T q [B, T, H, V] and
   * the state after the last token. It is used where the fast net has a `readout`.
   */
  sequence?: (program: P, initialState: Tensor, read: 'after' | 'before') => { output: Tensor; finalState: Tensor };
}

/** The fast net: its weights are what the slow net programs. */
export interface FastNet<S extends Shapes, P extends Program> {
  /** Shapes of the fast weights; their first letter is B. */
  weights: S;
  /** The output [B, ...] of a token. */
  read: (weights: States<S>, token: P) => Tensor;
  /** Where the net is linear in `state` [B, H, K, V], its only weights, but for its end: that end, from S^T q [..., V]. */
  readout?: (output: Tensor) => Tensor;
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

/** Requires of a slow net a program for every token of its inputs. */
function checkProgram(where: string, program: unknown, [first]: readonly unknown[]): asserts program is Program {
  const [B, T] = (first as Tensor).shape;
  const refuse = (found: string): never => {
    const expected = `a function to tensors [${B}, ${T}, ...] by name`;
    throw argumentError('INVALID_ARGUMENT', where, 'slow.program', expected, found);
  };
  if (Object.prototype.toString.call(program) !== '[object Object]' || program instanceof Tensor) {
    refuse(describe(program));
  }
  const entries = Object.entries(program as Record<string, unknown>);
  if (entries.length === 0) refuse('none');
  for (const [name, t] of entries) {
    if (!(t instanceof Tensor)) refuse(`${describe(t)} for ${name}`);
    else if (t.ndim < 2 || t.shape[0] !== B || t.shape[1] !== T) refuse(`${formatShape(t.shape)} for ${name}`);
  }
}

/** Requires of an update rule fast weights of the names and shapes of those before. */
function checkWritten(where: string, after: unknown, before: Readonly<Record<string, Tensor>>): void {
  const written = (after ?? {}) as Readonly<Record<string, unknown>>;
  const names = Object.keys(before);
  const spelled = names.map((name) => `${name} ${formatShape(before[name].shape)}`).join(', ');
  const refuse = (found: string): never => {
    const expected = `a function to the fast weights { ${spelled} }`;
    throw argumentError('INVALID_ARGUMENT', where, 'updateRule.write', expected, found);
  };
  if (typeof after !== 'object' || after === null || after instanceof Tensor) refuse(describe(after));
  const stranger = Object.keys(written).find((name) => !(name in before));
  if (stranger !== undefined) refuse(`another one, ${stranger}`);
  for (const name of names) {
    const t = written[name];
    if (!(t instanceof Tensor)) refuse(`${describe(t)} for ${name}`);
    else if (!sameShape(t.shape, before[name].shape)) refuse(`${formatShape(t.shape)} for ${name}`);
  }
}

/** Runs the parts over whole sequences of at least one token. */
export function runParts<I extends Shapes, S extends Shapes, P extends Program>(
  where: string,
  { slow, updateRule, fastNet, read = 'after' }: FastWeightParts<I, S, P>,
  inputs: Given<I>,
  states: States<S>,
): Ran<S> {
  const program = slow.program(inputs);
  checkProgram(where, program, Object.values(inputs));
  const sequence = updateRule.sequence?.bind(updateRule);
  if (sequence && fastNet.readout) {
    // Names of the general recurrence would mean nothing here; the final state is looked at.
    const ran = withChecks(false, () => sequence(program, states.state, read));
    checkWritten(where, { state: (ran as Partial<typeof ran> | undefined)?.finalState }, { state: states.state });
    return { output: fastNet.readout(ran.output), states: { ...states, state: ran.finalState } };
  }
  return overTime({ tokens: program, states, weights: {} }, (token, before) => {
    const after = updateRule.write(before, token);
    checkWritten(where, after, before);
    const output: unknown = fastNet.read(read === 'after' ? after : before, token);
    if (output instanceof Tensor) return { output, states: after };
    throw argumentError('INVALID_ARGUMENT', where, 'fastNet.read', 'a function to a Tensor', describe(output));
  });
}

/**
 * Makes a rule of a slow net, an update rule and a fast net: `rule({ x, ...weights, initialState }, { outputFinalState,
 * cuSeqlens })` with outputs [B, T, ...] and a `step` for one token, as all rules have them. Parts of the library:
 * `linearSlowNet`, `sumUpdate`, `deltaUpdate`, `linearFastNet`; any object of the same form goes with them. Where the
 * update is a setting of the general recurrence and the fast net linear but for its end, sequences run on that. What the
 * parts return is looked at: a program that is not of tensors for every token, fast weights of other names or shapes than
 * those before, an output that is no tensor are INVALID_ARGUMENT, by the name of the part.
 */
export function composeFastWeights<const I extends Shapes, const S extends Shapes, P extends Program>(
  composition: FastWeightComposition<I, S, P>,
): SequentialRule<I, S, object> {
  const where = 'composeFastWeights';
  checkOptions<object>(where, composition, COMPOSITION);
  const { slow, updateRule, fastNet, name = where } = composition;
  const read = checkChoice(where, 'read', composition.read ?? 'after', ['after', 'before']);
  for (const [part, given] of Object.entries({ slow, updateRule, fastNet })) checkObject(where, part, given);
  checkForms(where, 'slow.inputs', slow.inputs, 'B T', false);
  checkFunction(where, 'slow.program', slow.program);
  checkFunction(where, 'updateRule.write', updateRule.write);
  checkForms(where, 'fastNet.weights', fastNet.weights, 'B', true);
  checkFunction(where, 'fastNet.read', fastNet.read);
  for (const [part, given] of [
    ['updateRule.sequence', updateRule.sequence],
    ['fastNet.readout', fastNet.readout],
  ] as const) {
    if (given !== undefined) checkFunction(where, part, given);
  }
  if (fastNet.readout && Object.keys(fastNet.weights).join() !== 'state') {
    const found = Object.keys(fastNet.weights).join(', ');
    throw argumentError('INVALID_ARGUMENT', where, 'fastNet.weights', "'state' alone beside a readout", found);
  }
  return defineSequential({
    name,
    inputs: slow.inputs,
    states: fastNet.weights,
    options: {},
    settings: () => ({}),
    run: ({ inputs, states }) => runParts(name, { slow, updateRule, fastNet, read }, inputs, states),
  });
}
