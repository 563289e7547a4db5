// Rules whose inputs and states depend on their options: one definition for every kind that there is.
import { checkObject, checkOptions, type OptionNames, type Tensor } from '../../core';
import type { Given, Shapes } from './shapes';
import type { FinalStates, InitialStates, SequentialOptions, States } from './types';

type Tensors = Readonly<Record<string, Tensor | null | undefined>>;

/** A rule of which a kind has some of the states; see its documentation for which. */
export interface VariantRule<I extends Shapes, S extends Shapes, O extends object> {
  (inputs: Given<I> & InitialStates<S>, options?: O & SequentialOptions): { output: Tensor } & Partial<FinalStates<S>>;
  /** One token: inputs without their time; the states change in place; only inside noGrad. */
  step(inputs: Given<I>, options: O & { state: Partial<States<S>> }): Tensor;
}

/** What a kind is made by: `defineSequential`. */
interface Variant {
  (inputs: never, options: never): unknown;
  step(inputs: never, options: never): unknown;
}

/** Makes a rule that leaves each call to the definition that `variantOf` finds for its options; their inputs it may refuse. */
export function defineVariants<I extends Shapes, S extends Shapes, O extends object>(
  name: string,
  options: OptionNames<O>,
  variantOf: (where: string, options: O, inputs: Tensors) => Variant,
): VariantRule<I, S, O> {
  const known = { ...options, outputFinalState: 'flag', cuSeqlens: true };
  const knownToStep = { ...options, state: true };
  const stepName = `${name}.step`;
  const rule = (inputs: Tensors, given = {} as O): unknown => {
    checkObject(name, 'inputs', inputs);
    checkOptions<object>(name, given, known);
    return variantOf(name, given, inputs)(inputs as never, given as never);
  };
  const step = (inputs: Tensors, given: O): unknown => {
    checkObject(stepName, 'inputs', inputs);
    checkOptions<object>(stepName, given, knownToStep);
    return variantOf(stepName, given, inputs).step(inputs as never, given as never);
  };
  return Object.assign(rule, { step }) as unknown as VariantRule<I, S, O>;
}
