// The general recurrence itself, for a rule that nobody has published yet.
import { checkChoice, checkOptions, type OptionNames, type Tensor, scoped } from '../../core';
import { ERASE_FROM } from '../../backends';
import { checkFloat } from '../../ops';
import {
  COMMON_OPTIONS,
  type CommonOptions,
  INPUTS,
  KIND,
  type RecurrenceInputs,
  type RecurrenceKind,
  type RuleResult,
} from './operands';
import { prepareKeys } from './prepare';
import { type KernelKind, runRecurrence } from './run';
import { runStep, STEP_OPTIONS, type StepOptions } from './step';

/** Options of `recurrence`. */
export type RecurrenceOptions<F extends boolean = boolean> = CommonOptions<F> & RecurrenceKind;

const OPTIONS: OptionNames<RecurrenceOptions> = { ...COMMON_OPTIONS, ...KIND };
const ONE_TOKEN_OPTIONS: OptionNames<RecurrenceKind & StepOptions> = { ...STEP_OPTIONS, ...KIND };

function kindOf(where: string, inputs: RecurrenceInputs, options: RecurrenceKind): KernelKind {
  checkOptions(where, inputs, INPUTS);
  const { eraseFrom = 'none', secondWrite = false, read = 'after' } = options;
  checkChoice(where, 'eraseFrom', eraseFrom, ERASE_FROM);
  checkChoice(where, 'read', read, ['after', 'before']);
  checkFloat(where, 'q', inputs.q);
  checkFloat(where, 'k', inputs.k);
  return { eraseFrom, secondWrite, read, exchanged: Boolean(inputs.valueGate) };
}

function sequence(inputs: RecurrenceInputs, options: RecurrenceOptions = {}): RuleResult {
  checkOptions('recurrence', options, OPTIONS);
  const kind = kindOf('recurrence', inputs, options);
  return runRecurrence('recurrence', prepareKeys(inputs, options), options, kind);
}

/** `recurrence` for one token: inputs without the time dimension, `state` updated in place. */
function step(inputs: RecurrenceInputs, options: RecurrenceKind & StepOptions): Tensor {
  checkOptions('recurrence.step', options, ONE_TOKEN_OPTIONS);
  const kind = kindOf('recurrence.step', inputs, options);
  return runStep('recurrence.step', prepareKeys(inputs, options), options, kind);
}

type Recurrence = <F extends boolean = false>(
  inputs: RecurrenceInputs,
  options?: RecurrenceOptions<F>,
) => RuleResult<F>;

/**
 * S_t = D_t S_{t-1} + w_t (beta_t (u_t - (X_t S_{t-1})^T e_t))^T [+ k_t v_t^T],  o_t = scale * S^T q_t (spec 4.1).
 *
 * D is exp(gate) (none, per head, or per key channel); e `eraseKey` and w `writeKey` default to k; X follows `eraseFrom`;
 * u is v, or 0 with `secondWrite`, which adds k v^T. With `read: 'before'` the output is
 * scale * (S_{t-1}^T q + (q . (bonus * k)) v). With `valueGate` keys and values change places (spec 2.14 h): the state
 * decays along values and the write is beta (k - S v) v^T. `step` is the form for one token, inside noGrad.
 */
export const recurrence = Object.assign(scoped(sequence) as Recurrence, { step: scoped(step) });
