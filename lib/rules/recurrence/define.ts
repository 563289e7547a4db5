// How a named rule is made: from a description of its inputs in terms of the general recurrence come the form for
// whole sequences and the one for a single token.
import {
  argumentError,
  checkFunction,
  checkObject,
  checkOptions,
  describe,
  type OptionNames,
  scoped,
  Tensor,
} from '../../core';
import { checkAlikeOrWider, checkFloat, checkOut, checkShape, checkState, checkTensor, checkWritable } from '../../ops';
import { checkOneDtype } from './checks';
import {
  COMMON_OPTIONS,
  type CommonOptions,
  type RecurrenceInputs,
  type RuleResult,
  type TokenOptions,
} from './operands';
import { prepareKeys } from './prepare';
import { type KernelKind, kindNumbers, runRecurrence } from './run';
import { checkApart, runStep, STEP_OPTIONS, type StepOptions } from './step';

/** A rule: over a sequence, and one token at a time. G are its gates. */
export interface Rule<G extends object> {
  <F extends boolean = false>(q: Tensor, k: Tensor, v: Tensor, options?: CommonOptions<F> & G): RuleResult<F>;
  /** One token: inputs [B, H, *], gates [B, HV, *]; `state` is updated in place; only inside noGrad. */
  step(q: Tensor, k: Tensor, v: Tensor, options: StepOptions & G): Tensor;
}

/** What makes a rule a setting of the general recurrence. */
export interface Lowering<G extends object> {
  /** Names the rule in errors; its step is `<name>.step`. */
  name: string;
  /** How the general recurrence erases, writes and reads; {} erases nothing and reads after the write. */
  kind: KernelKind;
  /** The operands of the general recurrence; q and k have their feature map and norm already. Both forms use it. */
  lower(inputs: { q: Tensor; k: Tensor; v: Tensor }, options: Partial<G>): RecurrenceInputs;
}

/** What `defineRule` takes. */
export interface RuleDefinition<G extends object> extends Lowering<G> {
  /** The names of its gates. */
  gates: OptionNames<G>;
}

const DEFINITION: OptionNames<RuleDefinition<object>> = { name: true, gates: true, kind: true, lower: true };

/** The two forms of a rule whose options have been checked. */
export interface Lowered<G extends object> {
  sequence(q: Tensor, k: Tensor, v: Tensor, options: CommonOptions & Partial<G>): RuleResult;
  step(q: Tensor, k: Tensor, v: Tensor, options: StepOptions & Partial<G>): Tensor;
}

export function lowerRule<G extends object>({ name, kind, lower }: Lowering<G>): Lowered<G> {
  const stepName = `${name}.step`;
  const numbers = kindNumbers(kind);
  const prepared = (
    where: string,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: TokenOptions & Partial<G>,
  ): RecurrenceInputs => {
    checkOneDtype(where, { q, k, v });
    return lower(prepareKeys({ q, k, v }, options), options);
  };
  return {
    sequence: scoped((q, k, v, options) => runRecurrence(name, prepared(name, q, k, v, options), options, kind)),
    step: scoped((q, k, v, options) => runStep(stepName, prepared(stepName, q, k, v, options), options, kind, numbers)),
  };
}

/** Makes the rule. */
export function defineRule<G extends object>(definition: RuleDefinition<G>): Rule<G> {
  const where = 'defineRule';
  checkOptions<object>(where, definition, DEFINITION);
  const { name, gates, kind, lower } = definition;
  if (typeof name !== 'string' || name === '') {
    throw argumentError('INVALID_ARGUMENT', where, 'name', 'a name', describe(name));
  }
  checkObject(where, 'gates', gates);
  checkObject(where, 'kind', kind);
  checkFunction(where, 'lower', lower);
  const stepName = `${name}.step`;
  const known = { ...COMMON_OPTIONS, ...gates } as unknown as OptionNames<CommonOptions & G>;
  const knownToStep = { ...STEP_OPTIONS, ...gates } as unknown as OptionNames<StepOptions & G>;
  const lowered = lowerRule({
    ...definition,
    lower(inputs, options) {
      for (const gate of Object.keys(gates)) {
        const given: unknown = (options as Record<string, unknown>)[gate];
        if (given instanceof Tensor) checkAlikeOrWider(name, gate, given, inputs.q, 'q');
      }
      return lower(inputs, options);
    },
  });
  const sequence = (q: Tensor, k: Tensor, v: Tensor, options = {} as CommonOptions & G): RuleResult => {
    checkOptions(name, options, known);
    return lowered.sequence(q, k, v, options);
  };
  const step = (q: Tensor, k: Tensor, v: Tensor, options: StepOptions & G): Tensor => {
    checkOptions(stepName, options, knownToStep);
    return lowered.step(q, k, v, options);
  };
  return Object.assign(sequence as Rule<G>, { step });
}

/** Requires a tensor of the shape [...lead, heads, width] of another; for gates that a rule multiplies in itself. */
export function checkLike(
  where: string,
  argument: string,
  t: Tensor | null | undefined,
  other: Tensor,
): asserts t is Tensor {
  checkFloat(where, argument, t);
  checkShape(where, argument, t, other.shape);
}

/** Requires a number for each head of another tensor: its shape without the width. */
export function checkPerHead(
  where: string,
  argument: string,
  t: Tensor | null | undefined,
  other: Tensor,
): asserts t is Tensor {
  checkFloat(where, argument, t);
  checkShape(where, argument, t, other.shape.slice(0, -1), other.ndim === 4 ? 'batch, time, heads' : 'batch, heads');
}

/**
 * One token through a form for sequences, for rules whose step is no single kernel: `run` gets the states to start from
 * and returns the new ones under `final...`, which overwrite them. `like` is an input of the dtype of the output.
 */
export function stepBySequence(
  where: string,
  like: Tensor,
  states: { state: Tensor; normalizer?: Tensor },
  run: (initial: {
    initialState: Tensor;
    initialNormalizer?: Tensor;
    outputFinalState: true;
  }) => RuleResult & { finalNormalizer?: Tensor },
  out?: Tensor,
): Tensor {
  const { state, normalizer } = states;
  checkState(where, state, state?.shape, 'batch, heads, key width, value width');
  if (normalizer !== undefined) {
    checkTensor(where, 'normalizer', normalizer);
    checkWritable(where, 'normalizer', normalizer);
    checkApart(where, 'normalizer', normalizer, state);
  }
  if (out !== undefined) {
    const [B, HV, , V] = state.shape;
    checkOut(where, out, [B, HV, V], 'batch, heads, value width', like);
    checkApart(where, 'out', out, state);
    if (normalizer !== undefined) checkApart(where, 'out', out, normalizer);
  }
  const { output, finalState, finalNormalizer } = run({
    initialState: state,
    initialNormalizer: normalizer,
    outputFinalState: true,
  });
  state.copy_(finalState!.to(state.dtype));
  if (normalizer) normalizer.copy_(finalNormalizer!);
  const token = output.squeeze(1);
  return out ? out.copy_(token) : token;
}
