// Recurrent networks of several layers in the form of rules: inputs weightIh0, weightHh0, biasIh0, biasHh0, weightIh1, ...
import {
  argumentError,
  checkInteger,
  checkObject,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
  scoped,
  Tensor,
} from '../../core';
import { checkFloat, checkTensor, stack } from '../../ops';
import { defineSequential } from '../sequential/define';
import { capital, type SequentialOptions, type Tensors } from '../sequential/types';

/** The weights of one layer. */
export interface LayerWeights {
  weightIh: Tensor;
  weightHh: Tensor;
  biasIh: Tensor | null;
  biasHh: Tensor | null;
}

type WeightName = `${'weightIh' | 'weightHh'}${number}`;
type BiasName = `${'biasIh' | 'biasHh'}${number}`;
type Initial<N extends string> = { [K in N as `initial${Capitalize<K>}`]?: Tensor | null };
type Final<N extends string> = { [K in N as `final${Capitalize<K>}`]: Tensor };

/** x [B, T, I] and the weights of every layer, numbered from 0: weightIh0 [G D, I], weightHh0 [G D, D], biasIh0, biasHh0 [G D]. */
export type LayeredInputs = { x: Tensor } & { [K in WeightName]: Tensor } & { [K in BiasName]?: Tensor | null };

/** Options of every rule with layers. */
export interface LayeredOptions {
  /** How many layers there are: as many as have a `weightIh` by default. */
  layers?: number;
}

/** A rule with layers; N are its states, [layers, B, D] each. */
export interface LayeredRule<N extends string, O extends LayeredOptions> {
  <F extends boolean = false>(
    inputs: LayeredInputs & Initial<N>,
    options?: O & SequentialOptions<F>,
  ): { output: Tensor } & ([F] extends [true] ? Final<N> : Partial<Final<N>>);
  /** One token, x [B, I]; the states change in place; only inside noGrad. */
  step(inputs: LayeredInputs, options: O & { state: { [K in N]: Tensor } }): Tensor;
}

/** What `defineLayers` takes. */
export interface LayeredDefinition<N extends string, O extends LayeredOptions, Z> {
  /** Names the rule in errors. */
  name: string;
  /** G: how many vectors of pre-activations a layer has. */
  gates: number;
  /** Names of the states. */
  states: readonly N[];
  /** The names of its options. */
  options: OptionNames<NoInfer<O>>;
  /** Checks the options and puts defaults in. */
  settings(where: string, options: O): Z;
  /** All layers over x [B, T, I]; every state a list with an entry [B, D] for each layer. */
  run(
    x: Tensor,
    layers: readonly LayerWeights[],
    states: Record<N, Tensor[]>,
    settings: Z,
  ): { output: Tensor; states: Record<N, Tensor[]> };
}

const PARTS = ['weightIh', 'weightHh', 'biasIh', 'biasHh'] as const;

/** The rule for a number of layers, with states of its own for each of them. */
function forLayers<N extends string, O extends LayeredOptions, Z>(
  { name, gates, states, options, settings, run }: LayeredDefinition<N, O, Z>,
  count: number,
) {
  const rows = gates === 1 ? 'D' : `${gates}D`;
  const numbers = Array.from({ length: count }, (_, l) => l);
  const shapes = numbers.flatMap((l) => [
    // The shapes of the first letters settle D for all that follow.
    [`weightHh${l}`, `${rows} D`],
    [`weightIh${l}`, `${rows} ${l === 0 ? 'I' : 'D'}`],
    [`biasIh${l}`, `${rows}?`],
    [`biasHh${l}`, `${rows}?`],
  ]);
  return defineSequential({
    name,
    inputs: { x: 'B T I', ...(Object.fromEntries(shapes) as Record<string, string>) },
    states: Object.fromEntries(states.flatMap((state) => numbers.map((l) => [`${state}${l}`, 'B D']))),
    options: { ...options, layers: true },
    settings: (where, given: O) => settings(where, given),
    run: ({ inputs, states: before, settings: chosen }) => {
      const layers = numbers.map((l) => {
        const parts = PARTS.map((part) => [part, (inputs as Tensors)[`${part}${l}`] ?? null]);
        return Object.fromEntries(parts) as LayerWeights;
      });
      const lists = states.map((state) => [state, numbers.map((l) => (before as Tensors)[`${state}${l}`])]);
      const { output, states: after } = run(
        (inputs as Tensors).x,
        layers,
        Object.fromEntries(lists) as Record<N, Tensor[]>,
        chosen,
      );
      const named = states.flatMap((state) => after[state].map((t, l) => [`${state}${l}`, t] as const));
      return { output, states: Object.fromEntries(named) };
    },
  });
}

const countLayers = (inputs: object): number =>
  Math.max(1, Object.keys(inputs).filter((key) => /^weightIh\d+$/.test(key)).length);

/** Makes the rule. */
export function defineLayers<N extends string, O extends LayeredOptions, Z>(
  definition: LayeredDefinition<N, O, Z>,
): LayeredRule<N, O> {
  const { name, states } = definition;
  const rules = new Map<number, ReturnType<typeof forLayers<N, O, Z>>>();
  const ruleOf = (
    where: string,
    inputs: object,
    options: LayeredOptions,
  ): [ReturnType<typeof forLayers<N, O, Z>>, number] => {
    checkObject(where, 'inputs', inputs);
    checkObject(where, 'options', options);
    const { layers } = options;
    const count = checkInteger(where, 'layers', layers ?? countLayers(inputs), 1);
    const rule = rules.get(count) ?? forLayers(definition, count);
    rules.set(count, rule);
    return [rule, count];
  };

  /** Layer by layer, views of a state [layers, B, D]. */
  const apart = (where: string, argument: string, t: unknown, count: number): Tensor[] => {
    checkTensor(where, argument, t);
    checkFloat(where, argument, t);
    if (t.ndim !== 3 || t.shape[0] !== count) {
      throw argumentError('SHAPE', where, argument, `[${count}, B, D] (layers, B, D)`, formatShape(t.shape));
    }
    return Array.from({ length: count }, (_, l) => t.slice(0, l, l + 1).squeeze(0));
  };

  const sequence = scoped((inputs: Tensors, options: O & SequentialOptions = {} as O): Tensors => {
    const [rule, count] = ruleOf(name, inputs, options);
    const given = { ...inputs };
    for (const state of states) {
      const initial = `initial${capital(state)}`;
      const t = given[initial] as Tensor | null | undefined;
      delete given[initial];
      if (t === undefined || t === null) continue;
      apart(name, initial, t, count).forEach((part, l) => (given[`${initial}${l}`] = part));
    }
    const { output, ...finals } = rule(given as never, options) as Tensors;
    if (options.outputFinalState !== true) return { output };
    const stacked = states.map((state) => {
      const final = `final${capital(state)}`;
      return [final, stack(Array.from({ length: count }, (_, l) => finals[`${final}${l}`]))];
    });
    return { output, ...(Object.fromEntries(stacked) as Tensors) };
  });

  const stepName = `${name}.step`;
  const step = scoped((inputs: Tensors, options: O & { state: Record<N, Tensor> }): Tensor => {
    const [rule, count] = ruleOf(stepName, inputs, options);
    const { state } = options;
    if (typeof state !== 'object' || state === null || state instanceof Tensor) {
      throw argumentError('INVALID_ARGUMENT', stepName, 'state', `{ ${states.join(', ')} }`, describe(state));
    }
    checkOptions<object>(stepName, state, Object.fromEntries(states.map((one) => [one, true])));
    const views = states.flatMap((one) =>
      apart(stepName, one, state[one], count).map((view, l) => [`${one}${l}`, view] as const),
    );
    return rule.step(inputs as { x: Tensor }, { ...options, state: Object.fromEntries(views) });
  });
  return Object.assign(sequence, { step }) as unknown as LayeredRule<N, O>;
}
