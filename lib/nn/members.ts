// What the properties of a module hold: members in plain lists, sets, maps and records are found, those in #private fields are
// refused where they can be noticed.
import { argumentError, describe, FastWeightsError } from '../core';

/** Whether lists, sets, maps and records are looked into: those of classes are somebody else's. */
function isContainer(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value) || value instanceof Set || value instanceof Map) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** What a container holds; a set in the order in which it was filled. */
function entriesOf(value: object): Iterable<[unknown, unknown]> {
  if (value instanceof Set) return [...value].entries();
  return Array.isArray(value) || value instanceof Map ? value.entries() : Object.entries(value);
}

/**
 * The members in a value with their names: its own, and those in the lists, sets, maps and records that it is, joined by dots.
 * `above` holds the containers on the way.
 */
export function* membersIn<T>(
  name: string,
  value: unknown,
  isMember: (value: unknown) => value is T,
  above: readonly object[] = [],
): Generator<[string, T]> {
  if (isMember(value)) yield [name, value];
  else if (isContainer(value)) {
    if (above.includes(value)) refuseCycle(name);
    const inside = [...above, value];
    for (const [key, item] of entriesOf(value)) {
      if (typeof item !== 'object' || item === null) continue;
      const known = typeof key === 'string' || typeof key === 'number';
      for (const found of membersIn(known ? `${name}.${key}` : name, item, isMember, inside)) {
        if (!known)
          throw argumentError('INVALID_ARGUMENT', 'Module', name, 'a map with strings as keys', describe(key));
        yield found;
      }
    }
  }
}

/** A module, or a list, that holds itself has no end. */
export function refuseCycle(path: string): never {
  const message = `Module: ${path || 'the module'} holds what it stands in; keep the way up out of its properties`;
  throw new FastWeightsError('INVALID_ARGUMENT', message, { argument: path, expected: 'a tree', found: 'a cycle' });
}

/** Notes what stands under a name, which nothing else may have: a checkpoint would hold one of the two. */
export function claimName(names: Map<string, unknown>, name: string, member: unknown): void {
  const other = names.get(name);
  if (other === undefined) names.set(name, member);
  else if (other !== member) {
    const message = `Module: two members are called ${name}; give one of them another name`;
    const details = { argument: name, expected: 'a name of its own', found: 'one of two members' };
    throw new FastWeightsError('INVALID_ARGUMENT', message, details);
  }
}

/** Names of the classes of which a module was made. */
const moduleClasses = new Set<string>();
const looked = new WeakSet<object>();

/** Remembers what the classes of modules are called. */
export function noteClass(constructor: { name: string }): void {
  moduleClasses.add(constructor.name);
}

/**
 * JavaScript shows the contents of `#private` fields to nobody, so what a module hides there is not trained, saved or
 * moved. The text of its class shows which are given a parameter or a new module; a field that is given the result of
 * another function is not noticed.
 */
export function refusePrivate(module: object): void {
  if (looked.has(module.constructor)) return;
  let prototype: unknown = Object.getPrototypeOf(module);
  while (typeof prototype === 'object' && prototype !== null && prototype !== Object.prototype) {
    const { constructor } = prototype;
    const field = hiddenField(Function.prototype.toString.call(constructor));
    if (field !== undefined) {
      const where = `${constructor.name} keeps ${field} where no parameter can be found`;
      throw new FastWeightsError(
        'INVALID_ARGUMENT',
        `Module: ${where}; use a property, as TypeScript's \`private\` is`,
        {
          argument: field,
          expected: 'a property',
          found: 'a #private field',
        },
      );
    }
    prototype = Object.getPrototypeOf(prototype);
  }
  looked.add(module.constructor);
}

const COMMENTS = /\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm;

/** The first private field in the text of a class that is given a parameter or a new module. */
function hiddenField(text: string): string | undefined {
  const source = text.replace(COMMENTS, '');
  for (const match of source.matchAll(/(?<!static\s+)(#[\w$]+)\s*=(?![=>])\s*/g)) {
    const value = expressionAt(source, match.index + match[0].length);
    const made = [...value.matchAll(/\bnew\s+(?:[\w$]+\.)*([\w$]+)/g)].some(([, name]) => moduleClasses.has(name));
    if (made || /\bparameter\)?\s*\(/.test(value)) return match[1];
  }
  return undefined;
}

/** The text from a place on to the end of its expression, which outside of brackets is a comma, a semicolon or a line. */
function expressionAt(source: string, from: number): string {
  let depth = 0;
  for (let i = from; i < source.length; i++) {
    const c = source[i];
    if ('([{'.includes(c)) depth++;
    else if (')]}'.includes(c)) depth--;
    if (depth < 0 || (depth === 0 && ',;\n'.includes(c))) return source.slice(from, i);
  }
  return source.slice(from);
}
