// The form of a sequential rule for one token, whose states change in place.
import { overlaps, scoped, type Tensor } from '../../core';
import { checksValues } from '../../ops';
import { checkStates } from './checks';
import { byName, type Parts } from './parts';
import { computable } from './sequence';
import { checkShapes, type Sizes } from './shapes';
import type { AnyDefinition, Tensors } from './types';
import type { ValueChecks } from './values';

/** Puts states that have grown by a token in the places of those before, and frees these where it made them. */
function growing(): (states: Tensors, state: string, after: Tensor) => void {
  // What steps made is freed when the next one replaces it; what they were given is not theirs.
  const grown = new WeakSet<Tensor>();
  return (states, state, after) => {
    const before = states[state];
    states[state] = after.persist();
    grown.add(after);
    if (grown.has(before)) before.dispose();
  };
}

export function stepForm(
  definition: AnyDefinition,
  parts: Parts,
  values: ValueChecks,
): (given: Tensors, options: { state: Tensors }) => Tensor {
  const { states: stateShapes, run, bfloat16 = false, grows = false } = definition;
  const { first, tokens, stepShapes } = parts;
  const name = `${definition.name}.step`;
  const grow = growing();

  return scoped((given, options) => {
    const sizes: Sizes = {};
    checkShapes(name, given, stepShapes, sizes);
    const settings = definition.settings(name, options, given);
    const names = parts.statesIn(settings);
    const shapesNow = byName(names, (state) => stateShapes[state]);
    const states = checkStates(name, options.state, shapesNow, sizes, given[first]);
    definition.settle?.(name, sizes, settings);
    const computed = computable(given, first, bfloat16);
    const all = { states, settings, sizes: { ...sizes, T: 1 }, cuSeqlens: null, fresh: false, finals: true };
    const checks = checksValues(given[first]);
    if (checks) values.before(name, names, (state) => state, states);
    if (definition.step && names.every((state) => states[state].isContiguous)) {
      const output = definition.step({ ...all, inputs: computed });
      if (checks) {
        values.token(name, { output, states });
        values.inputs(name, given);
      }
      return output.to(given[first].dtype);
    }
    const inputs = byName(parts.inputs, (input) =>
      tokens.includes(input) ? computed[input]?.unsqueeze(1) : computed[input],
    );
    const result = run({ ...all, inputs });
    // What one state becomes may be what another was.
    const others = (state: string): Tensor[] => names.filter((other) => other !== state).map((other) => states[other]);
    const after = byName(names, (state) => {
      const next = result.states[state];
      return others(state).some((other) => overlaps(next, other)) ? next.clone() : next;
    });
    if (checks) {
      values.token(name, { output: result.output, states: after });
      values.inputs(name, given);
    }
    for (const state of names) {
      if (grows) grow(options.state, state, after[state]);
      else states[state].copy_(after[state]);
    }
    return result.output.squeeze(1).to(given[first].dtype);
  });
}
