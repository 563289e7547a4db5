// What the inputs and states of a sequential rule are called in its two forms, and their shapes there.
import type { Shapes } from './shapes';
import { type AnyDefinition, capital } from './types';

/** The names of a rule's parts, and what follows from them. */
export interface Parts {
  /** All inputs. */
  readonly inputs: readonly string[];
  /** Those that come token by token. */
  readonly tokens: readonly string[];
  /** The first of these, whose dtype and device are those of the rule. */
  readonly first: string;
  /** All states. */
  readonly states: readonly string[];
  /** What a state is called before the first token. */
  readonly initial: Readonly<Record<string, string>>;
  /** What it is called after the last. */
  readonly final: Readonly<Record<string, string>>;
  /** Shapes of the states before the first token, by what they are called there. */
  readonly initialShapes: Shapes;
  /** Shapes of the inputs of a step. */
  readonly stepShapes: Shapes;
  /** The states that there are with some settings. */
  statesIn(settings: unknown): string[];
}

const perToken = (form: string): boolean => form.split(' ')[1] === 'T';
const withoutTime = (form: string): string => form.replaceAll('B T', 'B');

/** What `f` makes of every name. */
export function byName<V>(names: readonly string[], f: (name: string) => V): Record<string, V> {
  return Object.fromEntries(names.map((name) => [name, f(name)]));
}

export function partsOf(definition: AnyDefinition): Parts {
  const { inputs: shapes, states: stateShapes } = definition;
  const inputs = Object.keys(shapes);
  const states = Object.keys(stateShapes);
  const initial = byName(states, (state) => definition.initialNames?.[state] ?? `initial${capital(state)}`);
  const final = byName(states, (state) =>
    initial[state].startsWith('initial') ? initial[state].replace('initial', 'final') : `final${capital(state)}`,
  );
  return {
    inputs,
    tokens: inputs.filter((input) => perToken(shapes[input])),
    first: inputs[0],
    states,
    initial,
    final,
    initialShapes: Object.fromEntries(states.map((state) => [initial[state], `${stateShapes[state]}?`])),
    stepShapes: byName(inputs, (input) => (perToken(shapes[input]) ? withoutTime(shapes[input]) : shapes[input])),
    statesIn(settings) {
      const left: readonly string[] = definition.without?.(settings) ?? [];
      return states.filter((state) => !left.includes(state));
    },
  };
}
