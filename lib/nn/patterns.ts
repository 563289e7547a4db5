// Parts of a model by the patterns of their names, and freezing by them.
import { argumentError, describe, isFloat, type Tensor } from '../core';
import { checkModule, type Module, parameter } from './module';

/**
 * A name with wildcards (`*` stands for any characters, dots, too, `?` for one), or a regular expression, which is looked
 * for anywhere in the name.
 */
export type Pattern = string | RegExp;

/** Which part of a name a string stands for: its beginning, up to a dot, or its end, from a dot on. */
type Anchor = 'start' | 'end';

function matcherOf(where: string, argument: string, pattern: unknown, anchor: Anchor): (name: string) => boolean {
  // With the flags g and y a regular expression would remember where it was.
  if (pattern instanceof RegExp)
    return (name) => new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')).test(name);
  if (typeof pattern !== 'string' || pattern === '') {
    throw argumentError('INVALID_ARGUMENT', where, argument, 'a name, a pattern or a RegExp', describe(pattern));
  }
  const wild = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  const expression = new RegExp(anchor === 'start' ? `^(?:${wild})(?:\\.|$)` : `(?:^|\\.)(?:${wild})$`);
  return (name) => expression.test(name);
}

/** The names that any of the patterns matches; each pattern must match one at least. */
export function matching(
  where: string,
  argument: string,
  patterns: Pattern | readonly Pattern[],
  names: readonly string[],
  anchor: Anchor,
): string[] {
  const list: readonly unknown[] = Array.isArray(patterns) ? patterns : [patterns];
  if (list.length === 0) throw argumentError('INVALID_ARGUMENT', where, argument, 'at least one pattern', '[]');
  const found = new Set<string>();
  for (const pattern of list) {
    const matches = matcherOf(where, argument, pattern, anchor);
    const own = names.filter(matches);
    if (own.length === 0) {
      const shown = `${names.slice(0, 4).join(', ')}${names.length > 4 ? `, ... (${names.length})` : ''}`;
      const expected = `one that matches a name: ${shown || 'there is none'}`;
      throw argumentError(
        'INVALID_ARGUMENT',
        where,
        argument,
        expected,
        pattern instanceof RegExp ? String(pattern) : describe(pattern),
      );
    }
    for (const name of own) found.add(name);
  }
  return names.filter((name) => found.has(name));
}

function setTrained(where: string, model: Module, patterns: Pattern | readonly Pattern[], trained: boolean): string[] {
  checkModule(where, 'model', model);
  const named = new Map<string, Tensor>();
  for (const [name, t] of model.namedParameters({ removeDuplicate: false })) if (isFloat(t.dtype)) named.set(name, t);
  const names = matching(where, 'patterns', patterns, [...named.keys()], 'start');
  for (const name of names) parameter(named.get(name)!).requiresGrad = trained;
  return names;
}

/**
 * Turns the gradients of parameters off, so that optimisers leave them as they are; returns their names. A pattern is the
 * name of a parameter or of a module that holds some (`'model.embeddings'`, `'*.bias'`, `/norm/`), all of them by default;
 * one that matches nothing is INVALID_ARGUMENT, and nothing is changed. A tied parameter is frozen by any of its names.
 */
export function freeze(model: Module, patterns: Pattern | readonly Pattern[] = '*'): string[] {
  return setTrained('freeze', model, patterns, false);
}

/** Turns the gradients of parameters on; see `freeze`. */
export function unfreeze(model: Module, patterns: Pattern | readonly Pattern[] = '*'): string[] {
  return setTrained('unfreeze', model, patterns, true);
}
