// The form of a sequential rule for whole sequences.
import { argumentError, FastWeightsError, overlaps, scoped, type Tensor } from '../../core';
import { checkCuSeqlens, checksValues, full, needsFloat32, statisticsDtype, toFloat32 } from '../../ops';
import { checkTogether } from './checks';
import { byName, type Parts } from './parts';
import type { Runs } from './runs';
import { checkShapes, shapeIn, type Sizes, unknownLetters } from './shapes';
import type { AnyDefinition, AnyRun, SequentialOptions, Tensors } from './types';
import type { ValueChecks } from './values';

/**
 * States add up over time, and are not rounded on the way: all of it computes in float32 beside bfloat16, unless kernels of the
 * device do both.
 */
export const computable = (given: Tensors, first: string, bfloat16: boolean): Tensors =>
  bfloat16 && !needsFloat32(given[first]) ? given : byName(Object.keys(given), (name) => toFloat32(given[name]));

/** Requires of states that grow that all are given or none, and none where sequences of different lengths are packed. */
function checkGrowing(name: string, given: Tensors, initial: readonly string[], options: SequentialOptions): void {
  const { cuSeqlens, outputFinalState } = options;
  const some = initial.find((one) => (given[one] ?? null) !== null);
  if ((cuSeqlens ?? null) !== null && (some !== undefined || outputFinalState)) {
    const argument = some ?? 'outputFinalState';
    throw new FastWeightsError('UNSUPPORTED', `${name}: packed sequences have no states, given ${argument}`, {
      argument,
    });
  }
  if (some === undefined) return;
  checkTogether(
    name,
    given,
    byName(initial, () => true),
    some,
  );
}

export function sequenceForm(
  definition: AnyDefinition,
  parts: Parts,
  runs: Runs,
  values: ValueChecks,
): (given: Tensors, options: SequentialOptions) => Tensors {
  const { name, inputs: shapes, states: stateShapes, packs = false, bfloat16 = false, grows = false } = definition;
  const { first, initial, final } = parts;

  /** The sizes of the inputs, the settings that the options make, and the names of the states that there are with them. */
  const checked = (
    given: Tensors,
    options: SequentialOptions,
  ): { sizes: Sizes; settings: unknown; states: string[] } => {
    const sizes: Sizes = {};
    checkShapes(name, given, shapes, sizes);
    const settings = definition.settings(name, options, given);
    const offsets = options.cuSeqlens ?? null;
    if (offsets !== null) {
      checkCuSeqlens(name, offsets, sizes.B, sizes.T);
      if (offsets.length < 2)
        throw argumentError('INVALID_ARGUMENT', name, 'cuSeqlens', 'of a sequence at least', '[0]');
      sizes.B = offsets.length - 1;
    }
    const states = parts.statesIn(settings);
    for (const state of parts.states) {
      if ((given[initial[state]] ?? null) === null || states.includes(state)) continue;
      throw argumentError('INVALID_ARGUMENT', name, initial[state], 'left out with these options', 'a Tensor');
    }
    const names = states.map((state) => initial[state]);
    if (grows) checkGrowing(name, given, names, options);
    checkShapes(name, given, parts.initialShapes, sizes, given[first]);
    definition.settle?.(name, sizes, settings);
    return { sizes, settings, states };
  };

  /** What a state is where none is given. */
  const blank = (state: string, sizes: Sizes, like: Tensor): Tensor => {
    // States that grow have no rows yet.
    const [open] = grows ? [] : unknownLetters(stateShapes[state], sizes);
    if (open !== undefined) {
      const expected = `given, for no input says the size ${open} of ${stateShapes[state]}`;
      throw argumentError('INVALID_ARGUMENT', name, initial[state], expected, 'nothing');
    }
    const where = { dtype: statisticsDtype(like), device: like.device };
    return full(shapeIn(stateShapes[state], sizes), definition.blank?.[state] ?? 0, where);
  };

  return scoped((given, options) => {
    const { sizes, settings, states: names } = checked(given, options);
    const offsets = options.cuSeqlens ?? null;
    const computed = computable(given, first, bfloat16);
    const states = byName(names, (state) => computed[initial[state]] ?? blank(state, sizes, computed[first]));
    const inputs = byName(parts.inputs, (input) => computed[input]);
    const checks = checksValues(given[first]);
    if (checks) values.before(name, names, (state) => initial[state], given);
    const fresh = names.every((state) => (given[initial[state]] ?? null) === null);
    const finals = checks || options.outputFinalState === true;
    const all: AnyRun = { inputs, states, settings, sizes, cuSeqlens: packs ? offsets : null, fresh, finals };
    const result = offsets === null || packs ? runs.whole(all) : runs.byLength(all, offsets);
    const after = byName(names, (state) => result.states[state]);
    if (checks) {
      values.course(all, offsets, { output: result.output, states: after });
      values.inputs(name, given);
    }
    const output = result.output.to(given[first].dtype);
    if (options.outputFinalState !== true) return { output };
    const named = names.map((state) => {
      // What no token has changed is given in memory of its own, too.
      const [before, last] = [given[initial[state]] ?? null, after[state]];
      return [final[state], before && overlaps(before, last) ? last.clone() : last];
    });
    return { output, ...(Object.fromEntries(named) as Tensors) };
  });
}
