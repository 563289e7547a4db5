// One token of the general recurrence, its state changed in place.
import { argumentError, checkNumber, type OptionNames, overlaps, type Tensor } from '../../core';
import {
  apart,
  checkAlikeOrWider,
  checkOut,
  checkState,
  emptyLike,
  kernelsOf,
  needsFloat32,
  repeatHeads,
} from '../../ops';
import { checkOperands } from './checks';
import { type RecurrenceInputs, TOKEN_OPTIONS, type TokenOptions, computableInputs } from './operands';
import { gateWidth, type KernelKind, kindNumbers } from './run';

/** Options of every rule's `step`, beside its gates. */
export interface StepOptions extends TokenOptions {
  /**
   * [B, HV, K, V], updated in place: float32, or, beside bfloat16 inputs, bfloat16, which takes half the memory and on a card
   * half the time. That is rounded to 8 binary digits after every token, whose output reads it before: what a token writes
   * below 1/512 of an entry is lost. With random keys the delta rule's state stays within 1.1 % over 16,384 tokens, within
   * 0.5 % with gates near 0.9, but 6 % off with strengths near 0.01; linear attention's is 3 % off after 512 tokens and 11 %
   * after 16,384, with gates near 0.98 0.9 %.
   */
  state: Tensor;
  /** [B, HV, V], of any strides, apart from the state; a new tensor by default. */
  out?: Tensor;
}

export const STEP_OPTIONS: OptionNames<StepOptions> = { ...TOKEN_OPTIONS, state: true, out: true };

/** Operands as [B, heads, width]; width dense, and apart from the state, which is written. */
function operand<T extends Tensor | null | undefined>(t: T, state: Tensor): T {
  if (!t) return t;
  const own = t.storage === state.storage ? apart(t, state) : t;
  return (own.ndim < 3 || own.shape[2] <= 1 || own.strides[2] === 1 ? own : own.contiguous()) as T;
}

/** Whether a kernel may write to `out` while it reads the inputs. */
function isDirect(
  out: Tensor,
  { q, k, v, gate, valueGate, beta, eraseKey, writeKey, bonus }: RecurrenceInputs,
): boolean {
  const shares =
    overlaps(out, q) ||
    overlaps(out, k) ||
    overlaps(out, v) ||
    overlaps(out, gate) ||
    overlaps(out, valueGate) ||
    overlaps(out, beta) ||
    overlaps(out, eraseKey) ||
    overlaps(out, writeKey) ||
    overlaps(out, bonus);
  return !shares && out.isContiguous;
}

/** Requires what a step writes to be apart from the state that it changes. */
export function checkApart(where: string, argument: string, t: Tensor, state: Tensor): void {
  if (!overlaps(t, state)) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'apart from the state', 'a tensor that shares its memory');
}

/** Runs one token for B states at once; only outside recording. A rule knows the numbers of its kind beforehand. */
export function runStep(
  where: string,
  given: RecurrenceInputs,
  options: StepOptions,
  kind: KernelKind,
  numbers = kindNumbers(kind),
): Tensor {
  const inputs = computableInputs(given);
  const { HV, K, V } = checkOperands(where, inputs, kind, 1);
  const { q } = inputs;
  const B = q.shape[0];
  checkState(where, options.state, [B, HV, K, V], 'batch, heads, key width, value width');
  checkAlikeOrWider(where, 'state', options.state, given.q, 'q');
  const state = needsFloat32(options.state) ? options.state.to('float32') : options.state;
  const scale = checkNumber(where, 'scale', options.scale ?? 1 / Math.sqrt(Math.max(K, 1)));
  const { out } = options;
  if (out !== undefined) {
    checkOut(where, out, [B, HV, V], 'batch, heads, value width', given.q);
    checkApart(where, 'out', out, options.state);
  }
  const output = out && q === given.q && isDirect(out, inputs) ? out : emptyLike(q, [B, HV, V]);
  const exchanged = kind.exchanged ?? false;
  const gate = (exchanged ? inputs.valueGate : inputs.gate) ?? null;
  const beta = inputs.beta ?? null;
  // The exchanged kernel keeps its state as [values, keys].
  const inner = exchanged ? state.transpose(2, 3).contiguous() : state;
  const bonus = inputs.bonus && inputs.bonus.shape[0] !== HV ? repeatHeads(inputs.bonus, HV) : inputs.bonus;
  const { eraseFrom, secondWrite, readBefore, exchanged: swapped } = numbers;
  kernelsOf(q).recurrenceStep({
    q: operand(q, state),
    k: operand(exchanged ? inputs.v : inputs.k, state),
    v: operand(exchanged ? inputs.k : inputs.v, state),
    gate: operand(gate, state),
    beta: operand(beta, state),
    eraseKey: operand(inputs.eraseKey ?? null, state),
    writeKey: operand(inputs.writeKey ?? null, state),
    bonus: apart(bonus?.contiguous() ?? null, state),
    state: inner,
    output,
    sequences: B,
    heads: HV,
    keyDim: exchanged ? V : K,
    valueDim: exchanged ? K : V,
    scale,
    gateWidth: gateWidth(gate, 1),
    betaWidth: gateWidth(beta, 1),
    eraseFrom,
    secondWrite,
    readBefore,
    exchanged: swapped,
  });
  state.storage.version++;
  if (exchanged) state.copy_(inner.transpose(2, 3));
  if (state !== options.state) options.state.copy_(state.to('bfloat16'));
  if (!out) return q === given.q ? output : output.to(given.q.dtype);
  if (output === out) out.storage.version++;
  else {
    out.copy_(output.to(given.q.dtype));
    output.dispose();
  }
  return out;
}
