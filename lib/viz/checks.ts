// Checks of what pictures are given, beyond those of core.
import { argumentError, checkNumber, describe } from '../core';

export function checkText(where: string, argument: string, value: unknown): void {
  if (typeof value !== 'string') throw argumentError('INVALID_ARGUMENT', where, argument, 'a string', describe(value));
}

export function checkList(where: string, argument: string, value: unknown): void {
  if (!Array.isArray(value)) throw argumentError('INVALID_ARGUMENT', where, argument, 'a list', describe(value));
}

/** Requires numbers: an array of them, typed or not. */
export function checkValues(where: string, argument: string, value: unknown): void {
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'an array of numbers', describe(value));
}

/** The magnitude at which colours saturate. */
export function checkLimit(where: string, limit: number): number {
  return checkNumber(where, 'limit', limit, Number.MIN_VALUE);
}
