// Options objects: keys that nobody knows are refused, with the nearest known one.
import { argumentError, describe, FastWeightsError } from './errors';

/**
 * The names of all keys of an options type, `'flag'` for those that are true or false; a total record, so that a new
 * option cannot be left out.
 */
export type OptionNames<O extends object> = {
  readonly [K in keyof O]-?: IsFlag<Exclude<O[K], null | undefined>> extends true ? 'flag' : true;
};

type IsFlag<T> = [T] extends [never] ? false : [T] extends [boolean] ? true : false;

/**
 * Requires a plain options object whose keys are all known and whose flags are true, false or not given. It runs for
 * every token of a generation: one look at the record for each key, and no message unless something is wrong.
 */
export function checkOptions<O extends object>(where: string, options: O, known: OptionNames<O>): void {
  let empty = true;
  for (const key in options) {
    empty = false;
    const kind: unknown = known[key];
    if (kind === true) continue;
    if (kind !== 'flag') {
      checkObject(where, 'options', options);
      refuseKey(where, key, Object.keys(known));
    }
    const value: unknown = options[key];
    if (typeof value === 'boolean' || value === undefined || value === null) continue;
    throw argumentError('INVALID_ARGUMENT', where, key, 'true or false', describe(value));
  }
  if (empty) checkObject(where, 'options', options);
}

/** Objects of other realms and of classes are fine; lists, maps, buffers and what is no object are not. */
export function checkObject(where: string, argument: string, value: unknown): void {
  if (typeof value === 'object' && Object.prototype.toString.call(value) === '[object Object]') return;
  throw argumentError('INVALID_ARGUMENT', where, argument, 'an object', describe(value));
}

/** Refuses one key, naming the nearest known one, or all of them where none is near. */
export function refuseKey(where: string, key: string, known: readonly string[]): never {
  const near = nearest(key, known);
  const expected = near ?? known.join(' | ');
  const hint = near ? `did you mean ${near}?` : `known are ${known.join(', ') || 'none'}`;
  throw new FastWeightsError('INVALID_ARGUMENT', `${where}: unknown option ${key}; ${hint}`, {
    argument: key,
    expected,
    found: key,
  });
}

/** The known name with the fewest edits to `key`, when those are at most a third of its letters. */
export function nearest(key: string, known: readonly string[]): string | undefined {
  const distances = known.map((name) => editDistance(key.toLowerCase(), name.toLowerCase()));
  const least = Math.min(...distances);
  return least <= Math.max(1, Math.ceil(key.length / 3)) ? known[distances.indexOf(least)] : undefined;
}

/** Insertions, deletions, replacements and swaps of neighbours between two words (Damerau 1964, restricted). */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1][j - 1] + Number(a[i - 1] !== b[j - 1]);
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, replaced);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows[a.length][b.length];
}
