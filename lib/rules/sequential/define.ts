// How a rule is made whose output feeds back, or whose state changes as no setting of the general recurrence does: from its
// inputs, its states and a function over whole sequences come the checks, packing, T = 0 and the form for one token.
import {
  argumentError,
  checkFunction,
  checkObject,
  checkOptions,
  describe,
  type OptionNames,
  type Tensor,
} from '../../core';
import { byName, partsOf } from './parts';
import { runsOf } from './runs';
import { sequenceForm } from './sequence';
import { checkForms, type Shapes } from './shapes';
import { stepForm } from './step';
import type { AnyDefinition, SequentialDefinition, SequentialOptions, SequentialRule, Tensors } from './types';
import { valueChecks } from './values';

const SHARED: OptionNames<SequentialOptions> = { outputFinalState: 'flag', cuSeqlens: true };

function checkDefinition(definition: {
  name: unknown;
  inputs: unknown;
  states: unknown;
  options: unknown;
  settings: unknown;
  run: unknown;
}): void {
  const where = 'defineSequential';
  checkObject(where, 'definition', definition);
  const { name, inputs, states, options, settings, run } = definition;
  if (typeof name !== 'string' || name === '') {
    throw argumentError('INVALID_ARGUMENT', where, 'name', 'a name', describe(name));
  }
  checkForms(where, 'inputs', inputs, 'B T', false);
  checkForms(where, 'states', states, 'B', true);
  checkObject(where, 'options', options);
  checkFunction(where, 'settings', settings);
  checkFunction(where, 'run', run);
}

/** Makes the rule. */
export function defineSequential<
  const I extends Shapes,
  const S extends Shapes,
  O extends object,
  Z,
  const L extends string = never,
>(definition: SequentialDefinition<I, S, O, Z, L>): SequentialRule<I, S, O, L> {
  checkDefinition(definition);
  const any = definition as unknown as AnyDefinition;
  const { name, options: known } = any;
  const stepName = `${name}.step`;
  const parts = partsOf(any);
  const runs = runsOf(any, parts);
  const values = valueChecks(any, parts, runs);
  const sequence = sequenceForm(any, parts, runs, values);
  const step = stepForm(any, parts, values);
  const ofSequence = byName([...parts.inputs, ...Object.values(parts.initial)], () => true);
  const ofStep = byName(parts.inputs, () => true);

  const rule = (inputs: Tensors, options: SequentialOptions = {}): Tensors => {
    checkObject(name, 'inputs', inputs);
    checkOptions<object>(name, inputs, ofSequence);
    checkOptions<object>(name, options, { ...SHARED, ...known });
    return sequence(inputs, options);
  };
  const oneToken = (inputs: Tensors, options: { state: Tensors }): Tensor => {
    checkObject(stepName, 'inputs', inputs);
    checkOptions<object>(stepName, inputs, ofStep);
    checkOptions<object>(stepName, options, { state: true, ...known });
    return step(inputs, options);
  };
  return Object.assign(rule, { step: oneToken }) as unknown as SequentialRule<I, S, O, L>;
}
