// How a rule is made whose output feeds back, or whose state changes as no setting of the general recurrence does: from its
// inputs, its states and a function over whole sequences come the checks, packing, T = 0 and the form for one token.
import {
  argumentError,
  checkOptions,
  describe,
  FastWeightsError,
  formatShape,
  type OptionNames,
  scoped,
  Tensor,
} from '../../core';
import { gradEnabled, noGrad } from '../../autograd';
import {
  cat,
  checkCuSeqlens,
  checksValues,
  checkTensor,
  checkWritable,
  type CuSeqlens,
  toFloat32,
  zerosBeside,
} from '../../ops';
import { checkShapes, type Given, type Shapes, type Sizes } from './shapes';

type Tensors = Record<string, Tensor>;

/** The states of a rule, by name. */
export type States<S extends Shapes> = { [N in keyof S]: Tensor };

type InitialName<N> = N extends string ? `initial${Capitalize<N>}` : never;
type FinalName<N> = N extends string ? `final${Capitalize<N>}` : never;

/** The states before the first token, zeros where they are not given. */
export type InitialStates<S extends Shapes> = { [N in keyof S as InitialName<N>]?: Tensor | null };
/** The states after the last token. */
export type FinalStates<S extends Shapes> = { [N in keyof S as FinalName<N>]: Tensor };

/** Options that every rule of this kind has. */
export interface SequentialOptions<F extends boolean = boolean> {
  /** Also return the states after the last token. */
  outputFinalState?: F;
  /** Packed sequences: B = 1 and N + 1 offsets. */
  cuSeqlens?: CuSeqlens | null;
}

/** What a rule returns. */
export type SequentialResult<S extends Shapes, F extends boolean = boolean> = { output: Tensor } & ([F] extends [true]
  ? FinalStates<S>
  : Partial<FinalStates<S>>);

/** What a rule runs on: all of one dtype that computes, every state there, options checked and complete. */
export interface Run<I extends Shapes, S extends Shapes, Z> {
  inputs: Given<I>;
  states: States<S>;
  settings: Z;
  sizes: Sizes;
}

/** What it gives. */
export interface Ran<S extends Shapes> {
  output: Tensor;
  states: States<S>;
}

/** What `defineSequential` takes. */
export interface SequentialDefinition<I extends Shapes, S extends Shapes, O extends object, Z> {
  /** Names the rule in errors; its step is `<name>.step`. */
  name: string;
  /** Shapes of the inputs; those whose second letter is T come token by token. The first is one of them. */
  inputs: I;
  /** Shapes of the states; their first letter is B. */
  states: S;
  /** What a state is called among the inputs where that is not `initial<Name>`. */
  initialNames?: Partial<Record<keyof S & string, string>>;
  /** The names of its options. */
  options: OptionNames<NoInfer<O>>;
  /** Checks the options, and what combinations of inputs there are, and puts defaults in; for every token, too. */
  settings(where: string, options: O, inputs: Given<I>): Z;
  /** Whole sequences of at least one token, on the tape: output [B, T, ...] and the states after the last token. */
  run(given: Run<I, S, Z>): Ran<S>;
}

/** A rule over sequences and, with `step`, one token at a time. */
export interface SequentialRule<I extends Shapes, S extends Shapes, O extends object> {
  <F extends boolean = false>(
    inputs: Given<I> & InitialStates<S>,
    options?: O & SequentialOptions<F>,
  ): SequentialResult<S, F>;
  /** One token: inputs without their time; the states change in place; only inside noGrad. */
  step(inputs: Given<I>, options: O & { state: States<S> }): Tensor;
}

const SHARED: OptionNames<SequentialOptions> = { outputFinalState: 'flag', cuSeqlens: true };

const capital = (name: string): string => name[0].toUpperCase() + name.slice(1);
const perToken = (form: string): boolean => form.split(' ')[1] === 'T';
const withoutTime = (form: string): string => form.replace('B T', 'B');

/** Makes the rule. */
export function defineSequential<const I extends Shapes, const S extends Shapes, O extends object, Z>(
  definition: SequentialDefinition<I, S, O, Z>,
): SequentialRule<I, S, O> {
  const { name, inputs: shapes, states: stateShapes, run } = definition;
  const stateNames = Object.keys(stateShapes);
  const tokenNames = Object.keys(shapes).filter((input) => perToken(shapes[input]));
  const initialNames: Record<string, string> = Object.fromEntries(
    stateNames.map((state) => [
      state,
      definition.initialNames?.[state as keyof S & string] ?? `initial${capital(state)}`,
    ]),
  );
  const initialShapes: Shapes = Object.fromEntries(
    stateNames.map((state) => [initialNames[state], `${stateShapes[state]}?`]),
  );
  const known = Object.fromEntries(
    [...Object.keys(shapes), ...Object.values(initialNames)].map((input) => [input, true]),
  );
  const knownToStep = Object.fromEntries(Object.keys(shapes).map((input) => [input, true]));
  const stepShapes: Shapes = Object.fromEntries(
    Object.entries(shapes).map(([input, form]) => [input, perToken(form) ? withoutTime(form) : form]),
  );

  /** The states that are given, and zeros for those that are not. */
  const statesOf = (given: Tensors, sizes: Sizes, like: Tensor): States<S> =>
    Object.fromEntries(
      stateNames.map((state) => {
        const shape = stateShapes[state].split(' ').map((letter) => sizes[letter] ?? Number(letter));
        return [state, given[initialNames[state]] ?? zerosBeside(like, shape)];
      }),
    ) as States<S>;

  /** One or more sequences of equal lengths. */
  const whole = ({ inputs, states, settings, sizes }: Run<I, S, Z>): Ran<S> => {
    if (sizes.T > 0) return run({ inputs, states, settings, sizes });
    // A token of zeros gives the shape of an output without tokens; what comes before stays what it is.
    const padded = tokenNames.map((token) => {
      const x = (inputs as Tensors)[token];
      return [token, x && cat([x, zerosBeside(x, [x.shape[0], 1, ...x.shape.slice(2)])], 1)];
    });
    const one = { ...inputs, ...Object.fromEntries(padded) } as Given<I>;
    const { output } = run({ inputs: one, states, settings, sizes: { ...sizes, T: 1 } });
    return { output: output.slice(1, 0, 0), states };
  };

  /** Packed sequences one after the other. */
  const packed = ({ inputs, states, settings, sizes }: Run<I, S, Z>, offsets: CuSeqlens): Ran<S> => {
    const parts = Array.from({ length: offsets.length - 1 }, (_, n) => {
      const T = offsets[n + 1] - offsets[n];
      const tokens = tokenNames.map((token) => {
        const x = (inputs as Tensors)[token];
        return [token, x && x.slice(1, offsets[n], offsets[n + 1])];
      });
      const own = stateNames.map((state) => [state, (states as Tensors)[state].slice(0, n, n + 1)]);
      const part = { ...inputs, ...Object.fromEntries(tokens) } as Given<I>;
      return whole({
        inputs: part,
        states: Object.fromEntries(own) as States<S>,
        settings,
        sizes: { ...sizes, B: 1, T },
      });
    });
    if (parts.length === 0) return whole({ inputs, states, settings, sizes: { ...sizes, B: 1, T: 0 } });
    return {
      output: cat(
        parts.map((part) => part.output),
        1,
      ),
      states: Object.fromEntries(
        stateNames.map((state) => [
          state,
          cat(
            parts.map((part) => (part.states as Tensors)[state]),
            0,
          ),
        ]),
      ) as States<S>,
    };
  };

  const first = Object.keys(shapes)[0];
  const sequence = scoped((given: Tensors, options: O & SequentialOptions): Record<string, Tensor> => {
    const sizes: Sizes = {};
    checkShapes(name, given, shapes, sizes);
    const settings = definition.settings(name, options, given as Given<I>);
    const { cuSeqlens } = options;
    const offsets = cuSeqlens ?? null;
    if (offsets !== null) checkCuSeqlens(name, offsets, sizes.B, sizes.T);
    const stateSizes = offsets === null ? sizes : { ...sizes, B: offsets.length - 1 };
    checkShapes(name, given, initialShapes, stateSizes, given[first]);
    const computed = inFloat32(given);
    const inputs = Object.fromEntries(Object.keys(shapes).map((input) => [input, computed[input]])) as Given<I>;
    const states = statesOf(computed, stateSizes, computed[first]);
    const all = { inputs, states, settings, sizes };
    const result = offsets === null ? whole(all) : packed(all, offsets);
    if (checksValues(given[first])) {
      const again = (T: number): States<S> => {
        const tokens = tokenNames.map((token) => [token, (inputs as Tensors)[token]?.slice(1, 0, T)]);
        const part = { ...inputs, ...Object.fromEntries(tokens) } as Given<I>;
        return noGrad(() => whole({ ...all, inputs: part, sizes: { ...sizes, T } })).states;
      };
      requireFinite(name, result.states, states, sizes.T, offsets === null ? again : null);
    }
    const output = result.output.to(given[first].dtype);
    if (options.outputFinalState !== true) return { output };
    const finals = stateNames.map((state) => [`final${capital(state)}`, (result.states as Tensors)[state]]);
    return { output, ...(Object.fromEntries(finals) as Tensors) };
  });

  const stepName = `${name}.step`;
  const step = scoped((given: Tensors, options: O & { state: States<S> }): Tensor => {
    const sizes: Sizes = {};
    checkShapes(stepName, given, stepShapes, sizes);
    const settings = definition.settings(stepName, options, given as Given<I>);
    const states = checkStates(stepName, options.state, stateShapes, sizes, given[first]);
    const computed = inFloat32(given);
    const inputs = Object.entries(computed).map(([input, t]) => [
      input,
      tokenNames.includes(input) ? t?.unsqueeze(1) : t,
    ]);
    const result = run({
      inputs: Object.fromEntries(inputs) as Given<I>,
      states: states as States<S>,
      settings,
      sizes: { ...sizes, T: 1 },
    });
    if (checksValues(given[first])) requireFinite(stepName, result.states, states as States<S>, 1, null);
    for (const state of stateNames) states[state].copy_((result.states as Tensors)[state]);
    return result.output.squeeze(1).to(given[first].dtype);
  });

  const rule = (inputs: Tensors, options = {} as O & SequentialOptions): Record<string, Tensor> => {
    checkOptions<object>(name, inputs, known);
    checkOptions<object>(name, options, { ...SHARED, ...definition.options });
    return sequence(inputs, options);
  };
  const oneToken = (inputs: Tensors, options: O & { state: States<S> }): Tensor => {
    checkOptions<object>(stepName, inputs, knownToStep);
    checkOptions<object>(stepName, options, { state: true, ...definition.options });
    return step(inputs, options);
  };
  return Object.assign(rule, { step: oneToken }) as unknown as SequentialRule<I, S, O>;
}

/** States add up over time, and are not rounded on the way: all of it computes in float32 beside bfloat16. */
function inFloat32(given: Tensors): Tensors {
  return Object.fromEntries(Object.entries(given).map(([name, t]) => [name, toFloat32(t)]));
}

/** Requires states that a step may change in place, of the shapes that the inputs ask for. */
function checkStates(where: string, state: unknown, shapes: Shapes, sizes: Sizes, like: Tensor): Tensors {
  const names = Object.keys(shapes);
  if (typeof state !== 'object' || state === null || state instanceof Tensor) {
    throw argumentError('INVALID_ARGUMENT', where, 'state', `{ ${names.join(', ')} }`, describe(state));
  }
  checkOptions<object>(where, state, Object.fromEntries(names.map((name) => [name, true])));
  const states = state as Tensors;
  for (const name of names) {
    checkTensor(where, name, states[name]);
    checkWritable(where, name, states[name]);
  }
  checkShapes(where, states, shapes, sizes, like);
  if (gradEnabled()) {
    throw new FastWeightsError('GRAPH', `${where}: steps change their states in place and run only inside noGrad`);
  }
  return states;
}

const isFinite = (t: Tensor): boolean => t.dataSync().every((x) => Number.isFinite(x));

/**
 * With the checks of values on, requires finite states where those before were, and names the first token that left them:
 * `again` gives the states after a number of tokens.
 */
function requireFinite<S extends Shapes>(
  where: string,
  states: States<S>,
  before: States<S>,
  tokens: number,
  again: ((T: number) => States<S>) | null,
): void {
  const left = (found: States<S>): string | undefined =>
    Object.keys(found).find((name) => !isFinite((found as Tensors)[name]));
  const name = left(states);
  if (name === undefined || left(before) !== undefined) return;
  let [finite, lost] = [0, tokens];
  while (again && lost - finite > 1) {
    const middle = (finite + lost) >> 1;
    if (left(again(middle)) === undefined) finite = middle;
    else lost = middle;
  }
  const at = again ? `not finite after token ${lost - 1}` : 'not finite';
  throw argumentError(
    'INVALID_ARGUMENT',
    where,
    `final${capital(name)}`,
    'finite',
    `${at} ${formatShape((states as Tensors)[name].shape)}`,
  );
}
