// Attention to a fixed number of slots, a memory of their keys and one of their values: what GSA, ABC and CyFA have in common.
import { argumentError, type Tensor } from '../../core';
import { type CuSeqlens, repeatHeads, withChecks } from '../../ops';
import { observed, tellMemory, unobserved } from '../observe';
import type { RecurrenceInputs } from '../recurrence/operands';
import { type KernelKind, runRecurrence } from '../recurrence/run';
import type { Sizes } from '../sequential/shapes';

export interface SlotInputs {
  /** [B, T, Q, K] */
  q: Tensor;
  /** [B, T, H, K] */
  k: Tensor;
  /** [B, T, H, V] */
  v: Tensor;
  /** How strongly each slot is written [B, T, H, M]. */
  slots: Tensor;
  /** Log of the decay of each slot [B, T, H, M]. */
  gate: Tensor;
}

/** [N, H, K, M] and [N, H, M, V]. */
export type SlotStates = { keyState: Tensor; valueState: Tensor };

/** Requires as many query heads as each memory can serve alike. */
export function settleQueryHeads(where: string, { Q, H }: Sizes): void {
  if (Q === H || (H > 0 && Q % H === 0)) return;
  throw argumentError('SHAPE', where, 'q', `a multiple of the ${H} heads of k`, `${Q} heads`);
}

/** A state for each query head. */
const spread = (state: Tensor, Q: number): Tensor => {
  const [N, H, rows, columns] = state.shape;
  return Q === H ? state : repeatHeads(state.reshape(N, H, rows * columns), Q).reshape(N, Q, rows, columns);
};

/** That of the first query head of each group: all of them are alike. */
const gather = (state: Tensor, H: number): Tensor => {
  const [N, Q, rows, columns] = state.shape;
  if (Q === H) return state;
  return state
    .reshape(N, H, Q / H, rows, columns)
    .slice(2, 0, 1)
    .squeeze(2);
};

/** One of the two recurrences, [B, T, ...] from a state on; those who watch are told of it under the name of its matrix. */
export function slotRecurrence(
  where: string,
  matrix: string,
  inputs: RecurrenceInputs,
  kind: KernelKind,
  { initialState, scale, cuSeqlens }: { initialState: Tensor; scale: number; cuSeqlens: CuSeqlens | null },
): { output: Tensor; finalState: Tensor } {
  const options = { initialState, cuSeqlens, scale, outputFinalState: true };
  const { output, finalState } = unobserved(() =>
    // The states are checked in the end, where the token that spoilt them is found.
    withChecks(false, () => runRecurrence(where, inputs, options, kind)),
  );
  if (observed() && !cuSeqlens) {
    tellMemory({ rule: where, matrix, inputs, kind, scale, denominator: null, initialState });
  }
  return { output, finalState: finalState! };
}

/** Two recurrences with a softmax over the slots between them: the first decays along its values, the second along its keys. */
export function attendToSlots(
  where: string,
  { q, k, v, slots, gate }: SlotInputs,
  { keyState, valueState }: SlotStates,
  scale: number,
  cuSeqlens: CuSeqlens | null,
): { output: Tensor; states: SlotStates } {
  const [Q, H] = [q.shape[2], k.shape[2]];
  const [keys, values, written, decay] = [k, v, slots, gate].map((t) => repeatHeads(t, Q));
  const pass = (
    matrix: string,
    inputs: RecurrenceInputs,
    kind: KernelKind,
    state: Tensor,
    multiplier: number,
  ): { output: Tensor; finalState: Tensor } => {
    const options = { initialState: spread(state, Q), scale: multiplier, cuSeqlens };
    const { output, finalState } = slotRecurrence(where, matrix, inputs, kind, options);
    return { output, finalState: gather(finalState, H) };
  };
  const first = { q, k: keys, v: written, valueGate: decay };
  const scores = pass('H', first, { exchanged: true }, keyState, scale);
  const second = { q: scores.output.softmax(-1), k: written, v: values, gate: decay };
  const read = pass('Hv', second, {}, valueState, 1);
  return { output: read.output, states: { keyState: scores.finalState, valueState: read.finalState } };
}
