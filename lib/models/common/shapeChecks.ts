// What layers require of the objects that say what they are made of.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkList,
  checkNumber,
  checkObject,
  describe,
  refuseKey,
} from '../../core';

/** Requires something of one value, or throws INVALID_ARGUMENT that names it. */
export type ValueCheck = (where: string, argument: string, value: unknown) => unknown;

/** A check of each value of a shape; a total record, so that a new one cannot be left out. */
export type ShapeChecks<S extends object> = { readonly [K in keyof S]-?: ValueCheck };

/** A whole number from 1 on. */
export const size: ValueCheck = (where, argument, value) => checkInteger(where, argument, value, 1);

/** A finite number from 0 on. */
export const notNegative: ValueCheck = (where, argument, value) => checkNumber(where, argument, value, 0);

/** A finite number up to 0. */
export const notPositive: ValueCheck = (where, argument, value) => checkNumber(where, argument, value, -Infinity, 0);

/** A finite number. */
export const finite: ValueCheck = (where, argument, value) => checkNumber(where, argument, value);

/** A finite number above 0. */
export const positive: ValueCheck = (where, argument, value) => {
  if (checkNumber(where, argument, value, 0) > 0) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'above 0', '0');
};

/** true or false. */
export const flag: ValueCheck = (where, argument, value) => {
  if (typeof value === 'boolean') return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'true or false', describe(value));
};

/** A list of finite numbers. */
export const numbers: ValueCheck = (where, argument, value) => {
  checkList(where, argument, value, 'a list of numbers');
  value.forEach((item, i) => checkNumber(where, `${argument}[${i}]`, item));
};

/** One of these strings. */
export const oneOf =
  (...choices: string[]): ValueCheck =>
  (where, argument, value) =>
    checkChoice(where, argument, value, choices);

/** What `check` says, or null. */
export const orNull =
  (check: ValueCheck): ValueCheck =>
  (where, argument, value) =>
    value === null || check(where, argument, value);

/** What `check` says, or null, or nothing at all. */
export const optional =
  (check: ValueCheck): ValueCheck =>
  (where, argument, value) =>
    value === undefined || value === null || check(where, argument, value);

/** Requires an even width, which rotary positions turn in pairs. */
export function checkPairs(where: string, argument: string, width: number): void {
  if (width % 2 === 0) return;
  const expected = 'an even number, since rotary positions turn pairs';
  throw argumentError('INVALID_ARGUMENT', where, argument, expected, String(width));
}

/** Whole numbers of heads of which the first is a multiple of the second. */
export function checkGroups(where: string, argument: string, value: number, many: string, few: number): void {
  if (value % few === 0) return;
  throw argumentError('INVALID_ARGUMENT', where, argument, `a multiple of ${few} (${many})`, String(value));
}

/**
 * Requires an object whose values pass their checks, and which has no others; the configuration of a whole model, which has more,
 * may stand for the shape of a layer.
 */
export function checkShapeOf<S extends object>(
  where: string,
  argument: string,
  shape: S,
  checks: ShapeChecks<S>,
): void {
  checkObject(where, argument, shape);
  for (const [name, check] of Object.entries<ValueCheck>(checks)) check(where, name, shape[name as keyof S]);
  const unknown = 'modelType' in shape ? undefined : Object.keys(shape).find((key) => !Object.hasOwn(checks, key));
  if (unknown !== undefined) refuseKey(where, unknown, Object.keys(checks));
}
