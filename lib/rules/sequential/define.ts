// How a rule is made whose output feeds back, or whose state changes as no setting of the general recurrence does: from its
// inputs, its states and a function over whole sequences come the checks, packing, T = 0 and the form for one token.
import {
  argumentError,
  checkFunction,
  checkObject,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
  overlaps,
  scoped,
  type Tensor,
} from '../../core';
import { noGrad } from '../../autograd';
import {
  cat,
  checkCuSeqlens,
  checksValues,
  checkValues,
  type CuSeqlens,
  full,
  needsFloat32,
  statisticsDtype,
  toFloat32,
  zerosBeside,
} from '../../ops';
import { unobserved } from '../observe';
import { checkStates, checkTogether, inOrder, requireFinite } from './checks';
import { ofOneLength, statesInOrder, statesOf, tokensInOrder, tokensOf } from './packed';
import { checkForms, checkShapes, type Given, shapeIn, type Shapes, type Sizes, unknownLetters } from './shapes';
import {
  capital,
  type Ran,
  type Run,
  type SequentialDefinition,
  type SequentialOptions,
  type SequentialRule,
  type States,
  type Tensors,
} from './types';

const SHARED: OptionNames<SequentialOptions> = { outputFinalState: 'flag', cuSeqlens: true };

const perToken = (form: string): boolean => form.split(' ')[1] === 'T';
const withoutTime = (form: string): string => form.replaceAll('B T', 'B');

/** What `f` makes of every name. */
function byName<V>(names: readonly string[], f: (name: string) => V): Record<string, V> {
  return Object.fromEntries(names.map((name) => [name, f(name)]));
}

/**
 * States add up over time, and are not rounded on the way: all of it computes in float32 beside bfloat16, unless kernels of the
 * device do both.
 */
const computable = (given: Tensors, first: string, bfloat16: boolean): Tensors =>
  bfloat16 && !needsFloat32(given[first]) ? given : byName(Object.keys(given), (name) => toFloat32(given[name]));

function checkDefinition(definition: {
  name: unknown;
  inputs: unknown;
  states: unknown;
  options: unknown;
  settings: unknown;
  run: unknown;
}): void {
  const where = 'defineSequential';
  checkObject(where, 'definition', definition);
  const { name, inputs, states, options, settings, run } = definition;
  if (typeof name !== 'string' || name === '') {
    throw argumentError('INVALID_ARGUMENT', where, 'name', 'a name', describe(name));
  }
  checkForms(where, 'inputs', inputs, 'B T', false);
  checkForms(where, 'states', states, 'B', true);
  checkObject(where, 'options', options);
  checkFunction(where, 'settings', settings);
  checkFunction(where, 'run', run);
}

/** Makes the rule. */
export function defineSequential<
  const I extends Shapes,
  const S extends Shapes,
  O extends object,
  Z,
  const L extends string = never,
>(definition: SequentialDefinition<I, S, O, Z, L>): SequentialRule<I, S, O, L> {
  checkDefinition(definition);
  const { name, inputs: shapes, states: stateShapes, run, packs = false, bfloat16 = false, grows = false } = definition;
  const inputNames = Object.keys(shapes);
  const allStates = Object.keys(stateShapes);
  const tokenNames = inputNames.filter((input) => perToken(shapes[input]));
  const first = inputNames[0];
  const initialNames = byName(
    allStates,
    (state) => definition.initialNames?.[state as keyof S & string] ?? `initial${capital(state)}`,
  );
  const finalNames = byName(allStates, (state) =>
    initialNames[state].startsWith('initial')
      ? initialNames[state].replace('initial', 'final')
      : `final${capital(state)}`,
  );
  const initialShapes = byName(Object.values(initialNames), (initial) => {
    const state = allStates.find((one) => initialNames[one] === initial)!;
    return `${stateShapes[state]}?`;
  });
  const known = byName([...inputNames, ...Object.values(initialNames)], () => true);
  const knownToStep = byName(inputNames, () => true);
  const stepShapes = byName(inputNames, (input) =>
    perToken(shapes[input]) ? withoutTime(shapes[input]) : shapes[input],
  );
  const statesIn = (settings: Z): string[] => {
    const left: readonly string[] = definition.without?.(settings) ?? [];
    return allStates.filter((state) => !left.includes(state));
  };

  /** The same run on tokens that `f` makes of them. */
  const withTokens = (given: Run<I, S, Z>, T: number, f: (x: Tensor) => Tensor): Run<I, S, Z> => {
    const inputs = given.inputs as Tensors;
    const tokens = byName(tokenNames, (token) => inputs[token] && f(inputs[token]));
    return { ...given, inputs: { ...inputs, ...tokens } as Given<I>, sizes: { ...given.sizes, T } };
  };

  /** One or more sequences of equal lengths, or packed ones where the rule takes them. */
  const whole = (given: Run<I, S, Z>): Ran<S> => {
    if (given.sizes.T > 0) return run(given);
    // A token of zeros gives the shape of an output without tokens; the states stay what they are, and every input has a
    // path to them.
    const token = (x: Tensor): Tensor => cat([x, zerosBeside(x, [x.shape[0], 1, ...x.shape.slice(2)])], 1);
    const states = given.states as Tensors;
    const one = byName(Object.keys(states), (state) => states[state].slice(0, 0, 1));
    const single = { ...given, cuSeqlens: null, states: given.cuSeqlens ? (one as States<S>) : given.states };
    const padded = withTokens(single, 1, token);
    const { output, states: after } = run({
      ...padded,
      sizes: { ...padded.sizes, B: (padded.inputs as Tensors)[first].shape[0] },
    });
    const time = Number(grows);
    const same = byName(Object.keys(states), (state) =>
      cat([states[state], (after as Tensors)[state].slice(time, 0, 0)], time),
    );
    return { output: output.slice(1, 0, 0), states: same as States<S> };
  };

  /** The first tokens of one of the packed sequences, all by default. */
  const alone = (given: Run<I, S, Z>, offsets: CuSeqlens, n: number, T = offsets[n + 1] - offsets[n]): Run<I, S, Z> => {
    const states = given.states as Tensors;
    const own = byName(Object.keys(states), (state) => states[state].slice(0, n, n + 1)) as States<S>;
    const one = { ...given, cuSeqlens: null, states: own, sizes: { ...given.sizes, B: 1 } };
    return withTokens(one, T, (x) => x.slice(1, offsets[n], offsets[n] + T));
  };

  /** Packed sequences, one length after the other. */
  const byLength = (given: Run<I, S, Z>, offsets: CuSeqlens): Ran<S> => {
    const states = given.states as Tensors;
    const groups = ofOneLength(offsets);
    const one = (members: readonly number[]): Ran<S> => {
      const own = byName(Object.keys(states), (state) => statesOf(states[state], members)) as States<S>;
      const sizes = { ...given.sizes, B: members.length };
      const length = offsets[members[0] + 1] - offsets[members[0]];
      return whole(withTokens({ ...given, states: own, sizes }, length, (x) => tokensOf(x, offsets, members)));
    };
    const parts = unobserved(() => groups.map(one));
    const outputs = parts.map((part) => part.output);
    const output = tokensInOrder(outputs, offsets, groups);
    if (grows) return { output, states: given.states };
    const after = (state: string): Tensor =>
      statesInOrder(
        parts.map((part) => (part.states as Tensors)[state]),
        groups,
      );
    return { output, states: byName(Object.keys(states), after) as States<S> };
  };

  /** Requires of states that grow that all are given or none, and none where sequences of different lengths are packed. */
  const checkGrowing = (given: Tensors, names: string[], options: SequentialOptions): void => {
    const { cuSeqlens, outputFinalState } = options;
    const initial = names.map((state) => initialNames[state]);
    const some = initial.find((one) => (given[one] ?? null) !== null);
    if ((cuSeqlens ?? null) !== null && (some !== undefined || outputFinalState)) {
      const argument = some ?? 'outputFinalState';
      throw new FastWeightsError('UNSUPPORTED', `${name}: packed sequences have no states, given ${argument}`, {
        argument,
      });
    }
    if (some !== undefined)
      checkTogether(
        name,
        given,
        byName(initial, () => true),
        some,
      );
  };

  const ok = inOrder(definition.blank ?? {});

  /** Requires states before the first token to be in order, where they are given. */
  const checkBefore = (where: string, names: string[], called: (state: string) => string, given: Tensors): void => {
    for (const state of names) {
      const before = (given[called(state)] as Tensor | null | undefined) ?? null;
      if (before === null || ok(state, before)) continue;
      throw argumentError('INVALID_ARGUMENT', where, called(state), 'finite', 'values that are not');
    }
  };

  /** Requires inputs without NaN: what leads to none in states and outputs, such as a clipped error, may hide one. */
  const checkNumbers = (where: string, given: Tensors): void => {
    for (const input of inputNames) {
      if (given[input]) checkValues(where, input, given[input], 'free of NaN', (x) => !Number.isNaN(x));
    }
  };

  /** Requires what ran to have stayed finite, and finds the token, and the sequence of packed ones, that did not. */
  const checkCourse = (all: Run<I, S, Z>, offsets: CuSeqlens | null, { output, states }: Ran<Shapes>): void => {
    const again =
      (from: (T: number) => Run<I, S, Z>) =>
      (T: number): Tensors => {
        const after = noGrad(() => whole(from(T)).states) as Tensors;
        return byName(Object.keys(states), (state) => after[state]);
      };
    const rows = (t: Tensor, n: number): Tensor => t.slice(0, n, n + 1);
    if (offsets === null) {
      const first = (T: number): Run<I, S, Z> => withTokens(all, T, (x) => x.slice(1, 0, T));
      requireFinite(name, ok, { output, states, tokens: all.sizes.T, again: again(first), sequence: null });
      return;
    }
    for (let n = 0; n + 1 < offsets.length; n++) {
      requireFinite(name, ok, {
        output: output.slice(1, offsets[n], offsets[n + 1]),
        states: byName(Object.keys(states), (state) => rows(states[state], n)),
        tokens: offsets[n + 1] - offsets[n],
        again: again((T) => alone(all, offsets, n, T)),
        sequence: n,
      });
    }
  };

  const sequence = scoped((given: Tensors, options: O & SequentialOptions): Tensors => {
    const sizes: Sizes = {};
    checkShapes(name, given, shapes, sizes);
    const settings = definition.settings(name, options, given as Given<I>);
    const offsets = options.cuSeqlens ?? null;
    if (offsets !== null) {
      checkCuSeqlens(name, offsets, sizes.B, sizes.T);
      if (offsets.length < 2)
        throw argumentError('INVALID_ARGUMENT', name, 'cuSeqlens', 'of a sequence at least', '[0]');
      sizes.B = offsets.length - 1;
    }
    const stateNames = statesIn(settings);
    for (const state of allStates) {
      const initial = given[initialNames[state]] ?? null;
      if (initial === null || stateNames.includes(state)) continue;
      throw argumentError('INVALID_ARGUMENT', name, initialNames[state], 'left out with these options', 'a Tensor');
    }
    if (grows) checkGrowing(given, stateNames, options);
    checkShapes(name, given, initialShapes, sizes, given[first]);
    definition.settle?.(name, sizes, settings);
    const computed = computable(given, first, bfloat16);
    const blank = (state: string): Tensor => {
      // States that grow have no rows yet.
      const [open] = grows ? [] : unknownLetters(stateShapes[state], sizes);
      if (open !== undefined) {
        const expected = `given, for no input says the size ${open} of ${stateShapes[state]}`;
        throw argumentError('INVALID_ARGUMENT', name, initialNames[state], expected, 'nothing');
      }
      const { device } = computed[first];
      const dtype = statisticsDtype(computed[first]);
      return full(shapeIn(stateShapes[state], sizes), definition.blank?.[state as keyof S & string] ?? 0, {
        dtype,
        device,
      });
    };
    const states = byName(stateNames, (state) => computed[initialNames[state]] ?? blank(state)) as States<S>;
    const inputs = byName(inputNames, (input) => computed[input]) as Given<I>;
    const checks = checksValues(given[first]);
    if (checks) checkBefore(name, stateNames, (state) => initialNames[state], given);
    const fresh = stateNames.every((state) => (given[initialNames[state]] ?? null) === null);
    const finals = checks || options.outputFinalState === true;
    const all: Run<I, S, Z> = { inputs, states, settings, sizes, cuSeqlens: packs ? offsets : null, fresh, finals };
    const result = offsets === null || packs ? whole(all) : byLength(all, offsets);
    const after = byName(stateNames, (state) => (result.states as Tensors)[state]);
    if (checks) {
      checkCourse(all, offsets, { output: result.output, states: after });
      checkNumbers(name, given);
    }
    const output = result.output.to(given[first].dtype);
    if (options.outputFinalState !== true) return { output };
    const named = stateNames.map((state) => {
      // What no token has changed is given in memory of its own, too.
      const [initial, final] = [given[initialNames[state]] ?? null, after[state]];
      return [finalNames[state], initial && overlaps(initial, final) ? final.clone() : final];
    });
    return { output, ...(Object.fromEntries(named) as Tensors) };
  });

  // What steps made is freed when the next one replaces it; what they were given is not theirs.
  const grown = new WeakSet<Tensor>();
  const grow = (states: Tensors, state: string, after: Tensor): void => {
    const before = states[state];
    states[state] = after.persist();
    grown.add(after);
    if (grown.has(before)) before.dispose();
  };

  const stepName = `${name}.step`;
  const step = scoped((given: Tensors, options: O & { state: States<S> }): Tensor => {
    const sizes: Sizes = {};
    checkShapes(stepName, given, stepShapes, sizes);
    const settings = definition.settings(stepName, options, given as Given<I>);
    const stateNames = statesIn(settings);
    const shapesNow = byName(stateNames, (state) => stateShapes[state]);
    const states = checkStates(stepName, options.state, shapesNow, sizes, given[first]);
    definition.settle?.(stepName, sizes, settings);
    const computed = computable(given, first, bfloat16);
    const own = { states: states as States<S>, settings, sizes: { ...sizes, T: 1 } };
    const all = { ...own, cuSeqlens: null, fresh: false, finals: true };
    const checks = checksValues(given[first]);
    if (checks) checkBefore(stepName, stateNames, (state) => state, states);
    const one = { tokens: 1, again: null, sequence: null };
    if (definition.step && stateNames.every((state) => states[state].isContiguous)) {
      const output = definition.step({ ...all, inputs: computed as Given<I> });
      if (checks) {
        requireFinite(stepName, ok, { output, states, ...one });
        checkNumbers(stepName, given);
      }
      return output.to(given[first].dtype);
    }
    const inputs = byName(inputNames, (input) =>
      tokenNames.includes(input) ? computed[input]?.unsqueeze(1) : computed[input],
    );
    const result = run({ ...all, inputs: inputs as Given<I> });
    // What one state becomes may be what another was.
    const others = (state: string): Tensor[] => stateNames.filter((name) => name !== state).map((name) => states[name]);
    const after = byName(stateNames, (state) => {
      const next = (result.states as Tensors)[state];
      return others(state).some((other) => overlaps(next, other)) ? next.clone() : next;
    });
    if (checks) {
      requireFinite(stepName, ok, { output: result.output, states: after, ...one });
      checkNumbers(stepName, given);
    }
    for (const state of stateNames) {
      if (grows) grow(options.state, state, after[state]);
      else states[state].copy_(after[state]);
    }
    return result.output.squeeze(1).to(given[first].dtype);
  });

  const rule = (inputs: Tensors, options = {} as O & SequentialOptions): Tensors => {
    checkObject(name, 'inputs', inputs);
    checkOptions<object>(name, inputs, known);
    checkOptions<object>(name, options, { ...SHARED, ...definition.options });
    return sequence(inputs, options);
  };
  const oneToken = (inputs: Tensors, options: O & { state: States<S> }): Tensor => {
    checkObject(stepName, 'inputs', inputs);
    checkOptions<object>(stepName, inputs, knownToStep);
    checkOptions<object>(stepName, options, { state: true, ...definition.options });
    return step(inputs, options);
  };
  return Object.assign(rule, { step: oneToken }) as unknown as SequentialRule<I, S, O, L>;
}
