// Checks of what pictures are given, beyond those of core.
import { checkNumber } from '../core';

/** The magnitude at which colours saturate. */
export function checkLimit(where: string, limit: number): number {
  return checkNumber(where, 'limit', limit, Number.MIN_VALUE);
}
