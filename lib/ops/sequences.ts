// Packed sequences: several of different lengths in one batch row, told apart by their offsets.
import { argumentError, describe, formatShape, type Tensor } from '../core';
import { emptyLike } from './kernel';

/** N + 1 offsets on the host: sequence n holds tokens [cuSeqlens[n], cuSeqlens[n + 1]). */
export type CuSeqlens = readonly number[];

/** How many sequences there are, and their offsets as kernels take them. */
export interface Sequences {
  count: number;
  /** Tokens of one sequence, or of all of them when packed. */
  tokens: number;
  /** int32 [count + 1], or null when not packed. */
  offsets: Tensor | null;
}

/** Requires offsets that start at 0, never fall and end at T, for a batch of one. */
export function checkCuSeqlens(where: string, cuSeqlens: CuSeqlens, batch: number, tokens: number): void {
  const fail = (expected: string, found: string): never => {
    throw argumentError('INVALID_ARGUMENT', where, 'cuSeqlens', expected, found);
  };
  if (!Array.isArray(cuSeqlens) && !ArrayBuffer.isView(cuSeqlens)) fail('a list of numbers', describe(cuSeqlens));
  if (batch !== 1) fail('used with a batch of 1', `a batch of ${batch}`);
  const list = (): string => formatShape(Array.from(cuSeqlens));
  if (cuSeqlens.length < 1 || cuSeqlens[0] !== 0) fail('starting at 0', list());
  for (let i = 1; i < cuSeqlens.length; i++) {
    if (!Number.isInteger(cuSeqlens[i]) || cuSeqlens[i] < cuSeqlens[i - 1])
      fail('whole numbers that never fall', list());
  }
  if (cuSeqlens[cuSeqlens.length - 1] !== tokens) fail(`ending at ${tokens}, the number of tokens`, list());
}

/** The sequences of x [B, T, ...]. */
export function sequencesOf(where: string, x: Tensor, cuSeqlens?: CuSeqlens | null): Sequences {
  const [batch, tokens] = x.shape;
  if (cuSeqlens === undefined || cuSeqlens === null) return { count: batch, tokens, offsets: null };
  checkCuSeqlens(where, cuSeqlens, batch, tokens);
  const offsets = emptyLike(x, [cuSeqlens.length], 'int32');
  offsets.storage.memory.write(offsets.storage.handle, 0, Int32Array.from(cuSeqlens));
  return { count: cuSeqlens.length - 1, tokens, offsets };
}

/** Position of every token within its sequence, counted from `start`, one for all or one for each: int32 [B * T]. */
export function positionsOf(
  where: string,
  x: Tensor,
  start: number | readonly number[],
  cuSeqlens?: CuSeqlens | null,
  modulo = 0,
): Tensor {
  const [batch, tokens] = x.shape;
  const values = new Int32Array(batch * tokens);
  if (cuSeqlens !== undefined && cuSeqlens !== null) checkCuSeqlens(where, cuSeqlens, batch, tokens);
  const bounds = cuSeqlens ?? Array.from({ length: batch + 1 }, (_, b) => b * tokens);
  for (let n = 0; n + 1 < bounds.length; n++) {
    const first = typeof start === 'number' ? start : start[n];
    for (let t = bounds[n]; t < bounds[n + 1]; t++) {
      const position = first + t - bounds[n];
      values[t] = modulo > 0 ? position % modulo : position;
    }
  }
  const positions = emptyLike(x, [values.length], 'int32');
  positions.storage.memory.write(positions.storage.handle, 0, values);
  return positions;
}
