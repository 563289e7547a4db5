// Indices into a table, compared row by row before a kernel follows them.
import { argumentError } from '../../core';

/** Requires each of the first `count` to be from 0 to limit - 1; `ignored` is let through. */
export function checkIndices(
  kernel: string,
  argument: string,
  indices: Int32Array,
  count: number,
  limit: number,
  ignored?: number,
): void {
  for (let i = 0; i < count; i++) {
    const index = indices[i];
    if ((index >= 0 && index < limit) || index === ignored) continue;
    const expected = limit === 0 ? 'none, the table being empty' : `from 0 to ${limit - 1}`;
    throw argumentError('INVALID_ARGUMENT', kernel, argument, expected, `${index} at position ${i}`);
  }
}
