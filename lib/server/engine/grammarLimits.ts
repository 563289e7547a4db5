// What schemas and grammars may be, before anything is compiled of them.
import { isJsonObject, type Json } from '../../io';
import { type ApiError, invalid } from '../errors';
import type { Constraint } from './protocol';

/** Longer ones, and counts above it, could take minutes to compile. */
const LONGEST = 64 * 1024;
const LARGEST_COUNT = 2000;
const DEEPEST = 64;
/** Items of a grammar, or of all patterns of a schema, with their counts multiplied out. */
const LARGEST_EXPANSION = 20_000;
/** What of a grammar may be left out, which takes time by its square: 2000 a third of a second. */
const MOST_OMISSIBLE = 2000;
/** Squares of the numbers of properties of objects that may be left out, added up: 1000 in one take a third of a second. */
const MOST_CHOICES = 1000 ** 2;
/** So many properties take as long where their number has a bound, which takes time by its fourth power. */
const BOUNDED = 60;

/** What the schemas of a request have come to. */
interface Sums {
  items: number;
  choices: number;
}

/** Refuses what could take minutes, in which the model would write nothing for anybody. */
export function checkConstraint(constraint: Constraint): void {
  const texts =
    constraint.kind === 'schema'
      ? [constraint.schema]
      : constraint.kind === 'tools'
        ? constraint.tools.map(({ parameters }) => parameters)
        : [];
  if (constraint.kind === 'grammar') {
    if (constraint.grammar.length > LONGEST) throw tooLarge(`longer than ${LONGEST} characters`);
    checkExpansion(constraint.grammar, 0);
    const omissible = constraint.grammar.match(/[?*]|\{0?,/g)?.length ?? 0;
    if (omissible > MOST_OMISSIBLE) throw tooLarge(`more than ${MOST_OMISSIBLE} items that may be left out`);
  }
  const sums: Sums = { items: 0, choices: 0 };
  for (const text of texts) {
    if (text.length > LONGEST) throw tooLarge(`longer than ${LONGEST} characters`);
    checkSchema(JSON.parse(text) as Json, 0, sums);
  }
}

function checkSchema(value: Json, depth: number, sums: Sums): void {
  if (depth > DEEPEST) throw tooLarge(`nested deeper than ${DEEPEST}`);
  if (Array.isArray(value)) for (const each of value) checkSchema(each, depth + 1, sums);
  if (!isJsonObject(value)) return;
  countChoices(value, sums);
  for (const [name, each] of Object.entries(value)) {
    const counts = /^(min|max)(Length|Items|Properties)$/.test(name);
    if (counts && typeof each === 'number' && each > LARGEST_COUNT) throw tooLarge(`${name} above ${LARGEST_COUNT}`);
    if (name === 'pattern' && typeof each === 'string') sums.items = checkExpansion(each, sums.items);
    checkSchema(each, depth + 1, sums);
  }
}

/** Any of the properties that may be left out may follow on any other. */
function countChoices(schema: { [name: string]: Json }, sums: Sums): void {
  const { properties, patternProperties, required } = schema;
  const names = isJsonObject(properties) ? Object.keys(properties) : [];
  const patterns = isJsonObject(patternProperties) ? Object.keys(patternProperties) : [];
  for (const pattern of patterns) sums.items = checkExpansion(pattern, sums.items);
  const needed = new Set<unknown>(Array.isArray(required) ? required : []);
  // A pattern takes about as long as two names.
  const omissible = names.filter((name) => !needed.has(name)).length + 2 * patterns.length;
  const isBounded = 'minProperties' in schema || 'maxProperties' in schema;
  sums.choices += isBounded ? MOST_CHOICES * (omissible / BOUNDED) ** 4 : omissible ** 2;
  if (sums.choices <= MOST_CHOICES) return;
  const most = `${Math.sqrt(MOST_CHOICES)} of one object, or ${BOUNDED} whose number has a bound`;
  throw tooLarge(`too many properties that may be left out, at most ${most}`);
}

/**
 * Requires a pattern or a grammar whose counts, multiplied where groups with counts stand in each other, stay small; the items of
 * all so far, with those `before` it.
 */
function checkExpansion(text: string, before: number): number {
  const sizes = [before];
  let last = 0;
  for (let i = 0; i < text.length; i++) {
    const count = text[i] === '{' ? /^\{(\d*)(?:(,)(\d*))?\}/.exec(text.slice(i, i + 40)) : null;
    if (count) {
      const times = Number(count[3] || count[1] || 1);
      if (times > LARGEST_COUNT) throw tooLarge(`a count above ${LARGEST_COUNT}`);
      sizes[sizes.length - 1] += last * Math.max(0, times - 1);
      last *= Math.max(1, times);
      i += count[0].length - 1;
    } else if (text[i] === '(') sizes.push(0);
    else if (text[i] === ')' && sizes.length > 1) {
      last = sizes.pop()!;
      sizes[sizes.length - 1] += last;
    } else {
      if (text[i] === '\\') i++;
      else if (text[i] === '[') while (i + 1 < text.length && text[i] !== ']') i += text[i] === '\\' ? 2 : 1;
      last = 1;
      sizes[sizes.length - 1]++;
    }
    if (sizes[sizes.length - 1] > LARGEST_EXPANSION) {
      throw tooLarge(`more than ${LARGEST_EXPANSION} items, its counts multiplied`);
    }
  }
  return sizes.reduce((sum, size) => sum + size, 0);
}

function tooLarge(what: string): ApiError {
  return invalid('response_format', `The schema or grammar is too large: ${what}.`, 'invalid_grammar');
}
