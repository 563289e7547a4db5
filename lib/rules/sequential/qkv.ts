// Sequential rules whose first inputs are q, k and v, called as every rule of that kind: rule(q, k, v, options), where the
// further inputs and the states before the first token stand among the options.
import { checkObject, type Tensor } from '../../core';
import type { Given, Shapes } from './shapes';
import type { InitialStates, SequentialOptions, SequentialResult, SequentialRule, States } from './types';

type Further<I extends Shapes> = Omit<Given<I>, 'q' | 'k' | 'v'>;

/** A sequential rule over q, k and v; some options leave out the states L. */
export interface QkvRule<I extends Shapes, S extends Shapes, O extends object, L extends string = never> {
  <F extends boolean = false>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Further<I> & InitialStates<S> & O & SequentialOptions<F>,
  ): SequentialResult<S, F, L>;
  /** One token: inputs without their time; the states change in place; only inside noGrad. */
  step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Further<I> & O & { state: Omit<States<S>, L> & Partial<States<S>> },
  ): Tensor;
}

/** `rule`, whose options have these names. */
export function withQkv<I extends Shapes, S extends Shapes, O extends object, L extends string = never>(
  name: string,
  rule: SequentialRule<I, S, O, L>,
  optionNames: readonly string[],
): QkvRule<I, S, O, L> {
  const call = rule as unknown as (inputs: object, options: object) => object;
  const callStep = rule.step as unknown as (inputs: object, options: object) => Tensor;
  const own = new Set([...optionNames, 'outputFinalState', 'cuSeqlens', 'state']);
  const parts = (where: string, q: Tensor, k: Tensor, v: Tensor, given: object): [object, object] => {
    checkObject(where, 'options', given);
    const [inputs, options]: [Record<string, unknown>, Record<string, unknown>] = [{ q, k, v }, {}];
    for (const [key, value] of Object.entries(given)) (own.has(key) ? options : inputs)[key] = value;
    return [inputs, options];
  };
  const sequence = (q: Tensor, k: Tensor, v: Tensor, given: object): object => {
    const [inputs, options] = parts(name, q, k, v, given);
    return call(inputs, options);
  };
  const step = (q: Tensor, k: Tensor, v: Tensor, given: object): Tensor => {
    const [inputs, options] = parts(`${name}.step`, q, k, v, given);
    return callStep(inputs, options);
  };
  return Object.assign(sequence, { step }) as unknown as QkvRule<I, S, O, L>;
}
