// The checks of values of a sequential rule: states before, inputs, and the token that left the finite numbers.
import { argumentError, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { checkValues, type CuSeqlens } from '../../ops';
import { inOrder, requireFinite } from './checks';
import { byName, type Parts } from './parts';
import type { Runs } from './runs';
import type { AnyDefinition, AnyRan, AnyRun, Tensors } from './types';

/** What is looked at where values are checked. */
export interface ValueChecks {
  /** Requires states before the first token to be in order, where they are given, by what they are called there. */
  before(where: string, states: readonly string[], called: (state: string) => string, given: Tensors): void;
  /** Requires inputs without NaN: what leads to none in states and outputs, such as a clipped error, may hide one. */
  inputs(where: string, given: Tensors): void;
  /** Requires what ran to have stayed finite, and finds the token, and the sequence of packed ones, that did not. */
  course(all: AnyRun, offsets: CuSeqlens | null, ran: AnyRan): void;
  /** The same of one token. */
  token(where: string, ran: AnyRan): void;
}

export function valueChecks({ name, blank }: AnyDefinition, { inputs }: Parts, runs: Runs): ValueChecks {
  const ok = inOrder(blank ?? {});
  return {
    before(where, states, called, given) {
      for (const state of states) {
        const before = (given[called(state)] as Tensor | null | undefined) ?? null;
        if (before === null || ok(state, before)) continue;
        throw argumentError('INVALID_ARGUMENT', where, called(state), 'finite', 'values that are not');
      }
    },

    inputs(where, given) {
      for (const input of inputs) {
        if (given[input]) checkValues(where, input, given[input], 'free of NaN', (x) => !Number.isNaN(x));
      }
    },

    course(all, offsets, { output, states }) {
      const again =
        (from: (T: number) => AnyRun) =>
        (T: number): Tensors => {
          const after = noGrad(() => runs.whole(from(T)).states);
          return byName(Object.keys(states), (state) => after[state]);
        };
      if (offsets === null) {
        const first = again((T) => runs.beginning(all, T));
        requireFinite(name, ok, { output, states, tokens: all.sizes.T, again: first, sequence: null });
        return;
      }
      for (let n = 0; n + 1 < offsets.length; n++) {
        requireFinite(name, ok, {
          output: output.slice(1, offsets[n], offsets[n + 1]),
          states: byName(Object.keys(states), (state) => states[state].slice(0, n, n + 1)),
          tokens: offsets[n + 1] - offsets[n],
          again: again((T) => runs.alone(all, offsets, n, T)),
          sequence: n,
        });
      }
    },

    token(where, { output, states }) {
      requireFinite(where, ok, { output, states, tokens: 1, again: null, sequence: null });
    },
  };
}
