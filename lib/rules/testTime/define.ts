// How a rule that learns at test time is made: over q, k and v with further inputs and states, and a place inside a chunk where
// a text may stop and go on.
import { argumentError, describe, type OptionNames, type Tensor } from '../../core';
import { defineSequential } from '../sequential/define';
import { withQkv } from '../sequential/qkv';
import type { Given, Shapes } from '../sequential/shapes';
import type { SequentialDefinition, SequentialOptions } from '../sequential/types';
import { checkPosition, type Position } from './chunks';

/** Where a text goes on that stopped inside a chunk. */
export interface PositionOptions {
  /**
   * Tokens of the chunk that were read before; for packed sequences a list of them where they differ. 0 by default; it must be
   * given with the states of a chunk that may be open, and so in every step of a rule that has them.
   */
  position?: Position | null;
}

/** What the names of some states end in beside 'initial' and 'final', by their names in a step. */
type Endings = Readonly<Record<string, string>>;

type Further<I extends Shapes> = Omit<Given<I>, 'q' | 'k' | 'v'>;
type Named<P extends string, E extends Endings, N extends keyof E = keyof E> = { [M in N as `${P}${E[M]}`]: Tensor };
/** Those of the names L are there with some options only. */
type Finals<E extends Endings, L> = Named<'final', E, Exclude<keyof E, L>> &
  Partial<Named<'final', E, Extract<keyof E, L>>>;

/** A rule that learns at test time; some options leave out the states L. */
export interface TestTimeRule<I extends Shapes, E extends Endings, O extends object, L extends string = never> {
  <F extends boolean = false>(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Further<I> & { [N in keyof Named<'initial', E>]?: Tensor | null } & O &
      PositionOptions &
      SequentialOptions<F>,
  ): { output: Tensor } & ([F] extends [true] ? Finals<E, L> : Partial<Named<'final', E>>);
  /** One token: inputs without their time; the states change in place; only inside noGrad. */
  step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    options: Further<I> & O & PositionOptions & { state: { [N in keyof E]?: Tensor } },
  ): Tensor;
}

/** What `defineTestTime` takes; `run` finds the checked position among the settings. */
interface TestTimeDefinition<
  I extends Shapes,
  S extends Shapes,
  O extends object,
  Z extends { size: number },
  E extends { readonly [N in keyof S]: string },
  L extends string = never,
> extends Omit<
  SequentialDefinition<I, S, O, NoInfer<Z> & { position: Position }, L>,
  'initialNames' | 'packs' | 'settings'
> {
  /** What follows 'initial' and 'final' in the names of states. */
  endings: E;
  /** Checks the options; `size` is that of a chunk. */
  settings(where: string, options: O, inputs: Given<I>): Z;
}

/** Requires a position beside states of a chunk that was left open, which a step always has: without one they would be lost. */
function checkPlace(where: string, open: readonly string[], { position }: PositionOptions, given: object): void {
  const states = given as Record<string, unknown>;
  const goesOn = where.endsWith('.step') ? open.length > 0 : open.some((name) => (states[name] ?? null) !== null);
  if (!goesOn || (position ?? null) !== null) return;
  const expected = `the number of tokens of the chunk before, given with ${open.join(', ')}`;
  throw argumentError('INVALID_ARGUMENT', where, 'position', expected, describe(position));
}

/** Makes the rule. */
export function defineTestTime<
  const I extends Shapes,
  const S extends Shapes,
  O extends object,
  Z extends { size: number },
  const E extends { readonly [N in keyof S]: string },
  const L extends string = never,
>({ endings, settings, options, ...rest }: TestTimeDefinition<I, S, O, Z, E, L>): TestTimeRule<I, E, O, L> {
  const initialNames = Object.fromEntries(Object.entries(endings).map(([name, ending]) => [name, `initial${ending}`]));
  const known = { ...options, position: true } as unknown as OptionNames<O & PositionOptions>;
  const rule = defineSequential({
    ...rest,
    initialNames: initialNames as Partial<Record<keyof S & string, string>>,
    options: known,
    packs: true,
    settings: (where: string, given: O & PositionOptions, inputs: Given<I>) => {
      const own = settings(where, given, inputs);
      const open: readonly string[] = own.size > 1 ? (rest.without?.({ ...own, size: 1, position: 0 }) ?? []) : [];
      checkPlace(
        where,
        open.map((name) => initialNames[name]),
        given,
        inputs,
      );
      return { ...own, position: checkPosition(where, given.position, own.size) };
    },
  });
  return withQkv(rest.name, rule, Object.keys(known)) as unknown as TestTimeRule<I, E, O, L>;
}
