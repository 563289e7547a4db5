// The registry of rules by name, for configurations that name one: those of the library and those of programs.
import { argumentError, describe } from '../core';
import * as named from './named';

type NamedRules = typeof named;

/** The rules by name. A program adds its own: `declare module 'fast-weights' { interface Rules { myRule: typeof myRule } }`. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type
export interface Rules extends NamedRules {}

/** The names that `getRule` takes in this program's types. */
export type RuleName = keyof Rules;

const entries = new Map<string, unknown>(Object.entries(named));

/** The names of all rules. */
export function ruleNames(): RuleName[] {
  return [...entries.keys()].sort() as RuleName[];
}

/** Makes a rule known by a name: a function over sequences with a `step` for one token, as `defineRule` makes it. */
export function registerRule(name: string, rule: { step(...inputs: never[]): unknown }): void {
  const where = 'registerRule';
  if (typeof name !== 'string' || !/^[A-Za-z]\w*$/.test(name)) {
    throw argumentError('INVALID_ARGUMENT', where, 'name', 'a name of letters and digits', describe(name));
  }
  if (entries.has(name)) {
    throw argumentError('INVALID_ARGUMENT', where, 'name', 'one that is not registered yet', describe(name));
  }
  if (typeof rule !== 'function' || typeof (rule as { step?: unknown }).step !== 'function') {
    const expected = 'a function of sequences with a step for one token';
    throw argumentError('INVALID_ARGUMENT', where, 'rule', expected, describe(rule));
  }
  entries.set(name, rule);
}

/** The rule of a name. */
export function getRule<N extends RuleName>(name: N): Rules[N] {
  if (entries.has(name)) return entries.get(name) as Rules[N];
  throw argumentError('INVALID_ARGUMENT', 'getRule', 'name', ruleNames().join(' | '), describe(name));
}
