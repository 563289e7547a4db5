// What schemas and grammars may be, before anything is compiled of them.
import { isJsonObject, type Json } from '../../io';
import { type ApiError, invalid } from '../errors';
import type { Constraint } from './protocol';

/** Longer ones, and counts above it, could take minutes to compile. */
const LONGEST = 64 * 1024;
const LARGEST_COUNT = 2000;
const DEEPEST = 64;
/** Items of a grammar or a pattern with its counts multiplied out. */
const LARGEST_EXPANSION = 20_000;

/** Refuses what could take minutes. */
export function checkConstraint(constraint: Constraint): void {
  const texts =
    constraint.kind === 'schema'
      ? [constraint.schema]
      : constraint.kind === 'tools'
        ? constraint.tools.map(({ parameters }) => parameters)
        : [];
  if (constraint.kind === 'grammar') {
    if (constraint.grammar.length > LONGEST) throw tooLarge(`longer than ${LONGEST} characters`);
    checkExpansion(constraint.grammar);
  }
  for (const text of texts) {
    if (text.length > LONGEST) throw tooLarge(`longer than ${LONGEST} characters`);
    checkSchema(JSON.parse(text) as Json, 0);
  }
}

function checkSchema(value: Json, depth: number): void {
  if (depth > DEEPEST) throw tooLarge(`nested deeper than ${DEEPEST}`);
  if (Array.isArray(value)) for (const each of value) checkSchema(each, depth + 1);
  if (!isJsonObject(value)) return;
  for (const [name, each] of Object.entries(value)) {
    const counts = /^(min|max)(Length|Items|Properties)$/.test(name);
    if (counts && typeof each === 'number' && each > LARGEST_COUNT) throw tooLarge(`${name} above ${LARGEST_COUNT}`);
    if (name === 'pattern' && typeof each === 'string') checkExpansion(each);
    checkSchema(each, depth + 1);
  }
}

/** Requires a pattern or a grammar whose counts, multiplied where groups with counts stand in each other, stay small. */
function checkExpansion(text: string): void {
  const sizes = [0];
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
}

function tooLarge(what: string): ApiError {
  return invalid('response_format', `The schema or grammar is too large: ${what}.`, 'invalid_grammar');
}
