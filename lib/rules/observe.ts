// What matrix memories are given while rules run over whole sequences, for pictures and measurements of them.
import { callSynchronous, type Tensor } from '../core';
import type { RecurrenceInputs, RecurrenceKind } from './recurrence/operands';

/**
 * A matrix memory over a sequence, as a setting of the general recurrence; that of a rule whose inputs depend on its outputs,
 * too: the inputs are those that there were. Its tensors are freed when the observer returns.
 */
export interface MemoryCall {
  /** The rule that keeps it. */
  rule: string;
  /** Which of the rule's matrices, as the equations call it. */
  matrix: string;
  /** [B, T, ...], feature maps and norms of keys and queries behind them; float64, float32 or bfloat16. */
  inputs: RecurrenceInputs;
  /** How it erases, writes and reads; with `exchanged` the recurrence is that of the transposed matrix (`ojaRule`). */
  kind: RecurrenceKind & { exchanged?: boolean };
  /** Multiplies what is read. */
  scale: number;
  /** What it is divided by afterwards [B, T, HV, 1]; null where it is not. */
  denominator: Tensor | null;
  /** [B, HV, K, V], null for zeros. */
  initialState: Tensor | null;
}

type Observer = (call: MemoryCall) => void;

let observer: Observer | null = null;

function withObserver<T>(where: string, next: Observer | null, fn: () => T): T {
  const before = observer;
  observer = next;
  try {
    return callSynchronous(where, fn, fn);
  } finally {
    observer = before;
  }
}

/**
 * Runs the synchronous function `fn`; `take` is shown the matrix memories of rules that run over whole sequences in it, of those
 * whose memory is a setting of the general recurrence.
 */
export function observeMemories<T>(take: Observer, fn: () => T): T {
  return withObserver('observeMemories', take, fn);
}

/** Runs what a rule computes with another one, and tells of itself. */
export function unobserved<T>(fn: () => T): T {
  return observer === null ? fn() : withObserver('unobserved', null, fn);
}

/** Whether anybody wants to know. */
export function observed(): boolean {
  return observer !== null;
}

/** For rules: a memory that has been run. Packed sequences are not told of. */
export function tellMemory(call: MemoryCall): void {
  observer?.(call);
}
