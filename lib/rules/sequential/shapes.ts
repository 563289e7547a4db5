// Shapes written in letters, 'B T D', and the sizes that named tensors agree on.
import { argumentError, checkObject, describe, formatShape, type Tensor } from '../../core';
import { checkAlike, checkAlikeOrWider, checkFloat } from '../../ops';

/**
 * Shapes of tensors by name: 'B T I', with `?` at the end where it may be absent. A dimension is a letter, which may have a
 * number behind it ('D2'), a number, a multiple ('3D') or a sum ('I+D') of those; 'D D | 1' allows either form.
 */
export type Shapes = Readonly<Record<string, string>>;

/** What the letters stand for. */
export type Sizes = Record<string, number>;

type Optional<S extends Shapes> = { [N in keyof S]: S[N] extends `${string}?` ? N : never }[keyof S];

/** The tensors of some shapes. */
export type Given<S extends Shapes> = { [N in Exclude<keyof S, Optional<S>>]: Tensor } & {
  [N in Optional<S>]?: Tensor | null;
};

/** Of these a rule computes products: they are of one dtype, while gates, weights and states may be wider. */
const VECTORS: readonly string[] = ['q', 'k', 'v'];

const FORM = /^(?:(?:\d+|\d*[A-Z]\d*)(?:\+(?:\d+|\d*[A-Z]\d*))*(?: (?!$)|$))+$/;

/** Requires shapes in letters, one at least, of which each, or else the first alone, begins with `start`. */
export function checkForms(
  where: string,
  argument: string,
  shapes: unknown,
  start: string,
  each: boolean,
): asserts shapes is Shapes {
  checkObject(where, argument, shapes);
  const entries = Object.entries(shapes as Record<string, unknown>);
  if (entries.length === 0) {
    throw argumentError('INVALID_ARGUMENT', where, argument, `shapes such as '${start} D'`, 'none');
  }
  entries.forEach(([name, form], i) => {
    const forms = typeof form === 'string' ? form.replace(/\?$/, '').split(' | ') : [];
    const begins = each || i === 0 ? start : '';
    if (forms.length > 0 && forms.every((one) => FORM.test(one) && `${one} `.startsWith(begins && `${begins} `)))
      return;
    const expected = `a shape in letters${begins && ` that begins with ${begins}`}, such as '${start} D'`;
    throw argumentError('INVALID_ARGUMENT', where, `${argument}.${name}`, expected, describe(form));
  });
}

/** The letters of a form that `sizes` does not know. */
export function unknownLetters(form: string, sizes: Sizes): string[] {
  const letters = form.split(' ').flatMap((dimension) => termsOf(dimension).map(([, letter]) => letter));
  return letters.filter((letter) => letter !== '' && !(letter in sizes));
}

/** A dimension as a sum of multiples of letters; '' counts ones. */
function termsOf(dimension: string): [count: number, letter: string][] {
  return dimension.split('+').map((term) => {
    const [, count, letter] = /^(\d*)((?:[A-Z]\d*)?)$/.exec(term)!;
    return [count === '' ? 1 : Number(count), letter];
  });
}

/** Its size where all letters are known; else, where one is not, the size that `found` gives that letter. */
function sizeOf(dimension: string, found: number, sizes: Sizes): number {
  let known = 0;
  let unknown: [number, string] | null = null;
  for (const [count, letter] of termsOf(dimension)) {
    if (letter === '' || letter in sizes) known += count * (letter === '' ? 1 : sizes[letter]);
    else unknown = [count, letter];
  }
  if (unknown === null) return known;
  const [count, letter] = unknown;
  const size = Math.max(0, Math.floor((found - known) / count));
  sizes[letter] = size;
  return known + count * size;
}

/** The shape of a form of which all letters are known. */
export function shapeIn(form: string, sizes: Sizes): number[] {
  return form.split(' ').map((dimension) => sizeOf(dimension, 0, sizes));
}

/** Its shape in `sizes`, as far as they are known, for messages. */
function spelled(form: string, sizes: Sizes): string {
  const dimensions = form.split(' ').map((dimension) => {
    const known = termsOf(dimension).every(([, letter]) => letter === '' || letter in sizes);
    return known ? String(sizeOf(dimension, 0, sizes)) : dimension;
  });
  return `[${dimensions.join(', ')}]`;
}

/** Whether `shape` has a form; the letters that it settles go into `sizes`. */
function fits(form: string, shape: readonly number[], sizes: Sizes): boolean {
  const dimensions = form.split(' ');
  if (dimensions.length !== shape.length) return false;
  const settled = { ...sizes };
  if (!dimensions.every((dimension, i) => sizeOf(dimension, shape[i], settled) === shape[i])) return false;
  Object.assign(sizes, settled);
  return true;
}

/**
 * Requires every tensor to have its shape, and the dtype and device of the first, beside bfloat16 float32, too, but for q, k and
 * v, which have one dtype. What the letters stand for is added to `sizes`; shapes whose letters come first settle them.
 */
export function checkShapes(
  where: string,
  tensors: Readonly<Record<string, Tensor | null | undefined>>,
  shapes: Shapes,
  sizes: Sizes,
  first?: Tensor,
): void {
  let like = first;
  let vector: Tensor | undefined;
  for (const [name, given] of Object.entries(shapes)) {
    const t = tensors[name];
    const optional = given.endsWith('?');
    if (optional && (t === undefined || t === null)) continue;
    checkFloat(where, name, t);
    if (like) checkAlikeOrWider(where, name, t, like, 'the other inputs');
    like ??= t;
    if (VECTORS.includes(name)) {
      if (vector) checkAlike(where, name, t, vector, 'the other inputs');
      vector ??= t;
    }
    const forms = (optional ? given.slice(0, -1) : given).split(' | ');
    if (forms.some((form) => fits(form, t.shape, sizes))) continue;
    const expected = forms.map((form) => spelled(form, sizes)).join(' or ');
    throw argumentError('SHAPE', where, name, `${expected} (${forms.join(' or ')})`, formatShape(t.shape));
  }
}
