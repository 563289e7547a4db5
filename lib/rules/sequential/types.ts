// What a sequential rule is made from, and what it is.
import type { OptionNames, Tensor } from '../../core';
import type { CuSeqlens } from '../../ops';
import type { Given, Shapes, Sizes } from './shapes';

/** Tensors by name, where their names do not matter. */
export type Tensors = Record<string, Tensor>;

/** The states of a rule, by name. */
export type States<S extends Shapes> = { [N in keyof S]: Tensor };

type InitialName<N> = N extends string ? `initial${Capitalize<N>}` : never;
type FinalName<N> = N extends string ? `final${Capitalize<N>}` : never;

/** The states before the first token, zeros where they are not given. */
export type InitialStates<S extends Shapes> = { [N in keyof S as InitialName<N>]?: Tensor | null };
/** The states after the last token; those of the names L are there with some options only. */
export type FinalStates<S extends Shapes, L = never> = { [N in keyof S as FinalName<Exclude<N, L>>]: Tensor } & {
  [N in keyof S as FinalName<Extract<N, L>>]?: Tensor;
};

/** Options that every rule of this kind has. */
export interface SequentialOptions<F extends boolean = boolean> {
  /** Also return the states after the last token. */
  outputFinalState?: F;
  /** Packed sequences: B = 1 and N + 1 offsets. */
  cuSeqlens?: CuSeqlens | null;
}

/** What a rule returns. */
export type SequentialResult<S extends Shapes, F extends boolean = boolean, L = never> = { output: Tensor } & ([
  F,
] extends [true]
  ? FinalStates<S, L>
  : Partial<FinalStates<S>>);

/** What a rule runs on: all of one dtype that computes, every state there, options checked and complete. */
export interface Run<I extends Shapes, S extends Shapes, Z> {
  /** As they were given, in float32 beside bfloat16. */
  inputs: Given<I>;
  /** Before the first token, zeros where they were not given. */
  states: States<S>;
  /** What `settings` of the definition made of the options. */
  settings: Z;
  /** What the letters stand for; B counts packed sequences one by one. */
  sizes: Sizes;
  /** Only for a rule that `packs`: offsets of packed sequences. */
  cuSeqlens: CuSeqlens | null;
  /** Whether no state was given: all are zeros. */
  fresh: boolean;
  /** Whether anybody looks at the states after the last token; else a rule may give those from before the first. */
  finals: boolean;
}

/** What it gives. */
export interface Ran<S extends Shapes> {
  /** [B, T, ...] */
  output: Tensor;
  /** After the last token. */
  states: States<S>;
}

/** What `defineSequential` takes. */
export interface SequentialDefinition<
  I extends Shapes,
  S extends Shapes,
  O extends object,
  Z,
  L extends string = never,
> {
  /** Names the rule in errors; its step is `<name>.step`. */
  name: string;
  /** Shapes of the inputs; those whose second letter is T come token by token. The first is one of them. */
  inputs: I;
  /** Shapes of the states; their first letter is B. */
  states: S;
  /** States that some settings do without: they are neither taken nor given then. */
  without?(settings: Z): readonly (L & keyof S)[];
  /** What all of a state is where none is given, if not 0. */
  blank?: Partial<Record<keyof S & string, number>>;
  /** What a state is called among the inputs where that is not `initial<Name>`; `initialb` is given back as `finalb`. */
  initialNames?: Partial<Record<keyof S & string, string>>;
  /** The names of its options. */
  options: OptionNames<NoInfer<O>>;
  /** Checks the options, and what combinations of inputs there are, and puts defaults in; for every token, too. */
  settings(where: string, options: O, inputs: Given<I>): Z;
  /** Puts in the sizes that the shapes leave open, and checks how they belong together; those of the states may be given. */
  settle?(where: string, sizes: Sizes, settings: NoInfer<Z>): void;
  /** Whether `run` takes packed sequences; other rules get those of one length as a batch. */
  packs?: true;
  /** Whether it takes bfloat16 where the device computes in it; everywhere else all comes in float32. */
  bfloat16?: true;
  /** Whether the states have a row for each token so far, [B, S, ...]: all or none are given, and packed sequences have none. */
  grows?: true;
  /** Whole sequences of at least one token, on the tape: output [B, T, ...] and the states after the last token. */
  run(given: Run<I, S, Z>): Ran<S>;
  /** One token, inputs without their time: output [B, ...]; the states, contiguous, change in place. `run` by default. */
  step?(given: Run<I, S, Z>): Tensor;
}

/** A definition, what it runs on and what it gives, where the names of inputs and states do not matter. */
export type AnyDefinition = SequentialDefinition<Shapes, Shapes, object, unknown, string>;
export type AnyRun = Run<Shapes, Shapes, unknown>;
export type AnyRan = Ran<Shapes>;

/** A rule over sequences and, with `step`, one token at a time; some options leave out the states L. */
export interface SequentialRule<I extends Shapes, S extends Shapes, O extends object, L extends string = never> {
  <F extends boolean = false>(
    inputs: Given<I> & InitialStates<S>,
    options?: O & SequentialOptions<F>,
  ): SequentialResult<S, F, L>;
  /**
   * One token: inputs without their time; the states, all that there are with the options, change in place, and those that grow
   * are replaced in `state`; only inside noGrad.
   */
  step(inputs: Given<I>, options: O & { state: Partial<States<S>> }): Tensor;
}

/** Of a state `hidden` the names are initialHidden and finalHidden. */
export const capital = (name: string): string => name[0].toUpperCase() + name.slice(1);
