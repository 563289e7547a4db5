// The recurrent part that Delta RNN and Delta LSTM share (spec 2.4.1, 2.4.2).
import type { Tensor } from '../../core';
import { DELTA_CELLS } from '../../backends';
import { cat, type CuSeqlens, emptyLike, kernelsOf, sequencesOf } from '../../ops';
import { callKernel } from '../sequential/kernel';

/** Feature maps that keep the width, as the memories of width D want it. */
export const SAME_WIDTH = ['elu1', 'softmax', 'identity', 'relu'] as const;

/** Of each of the G memories: z, key before its softmax, v [B, T, H, D], strength beta [B, T, H]. */
export interface CellInputs {
  z: Tensor[];
  key: Tensor[];
  v: Tensor[];
  beta: Tensor[];
}

/** What it carries on: memories [B, H, G, D, D], the last output and, of an LSTM, the cell [B, H, D]. */
export interface CellStates {
  memories: Tensor;
  output: Tensor;
  cell: Tensor | null;
}

/** Outputs [B, T, H, D] as each token finds them: those of the token before, at the first one the state [B, H, D]. */
export function outputsBefore(output: Tensor, initial: Tensor): Tensor {
  return cat([initial.unsqueeze(1), output.slice(1, 0, output.shape[1] - 1)], 1);
}

/** The operands of one kind as a kernel calls them. */
function named<N extends string, T>(name: N, [first, update = null, out = null]: (T | null)[]) {
  return { [name]: first, [`${name}Update`]: update, [`${name}Out`]: out } as Record<N, T> &
    Record<`${N}${'Update' | 'Out'}`, T | null>;
}

/** Outputs [B, T, H, D] and the states after the last token. */
export function runCell(
  name: string,
  cell: (typeof DELTA_CELLS)[number],
  inputs: CellInputs,
  states: CellStates,
  cuSeqlens: CuSeqlens | null,
): { output: Tensor; states: CellStates } {
  const [first] = inputs.z;
  const [B, T, H, D] = first.shape;
  const G = inputs.z.length;
  const { count: sequences, tokens, offsets } = sequencesOf(name, first, cuSeqlens);
  const numbers = { sequences, tokens, heads: H, width: D, cell: DELTA_CELLS.indexOf(cell) };
  const lstm = states.cell !== null;
  const results = callKernel(
    name,
    [...inputs.z, ...inputs.key, ...inputs.v, ...inputs.beta, states.memories, states.output, states.cell],
    (given, training) => {
      const [initialState, initialOutput, initialCell] = given.slice(4 * G);
      const of = (kind: number): (Tensor | null)[] => given.slice(kind * G, (kind + 1) * G);
      const output = emptyLike(first, [B, T, H, D]);
      const [finalState, finalOutput] = [initialState!, initialOutput!].map((t) => emptyLike(t));
      const finalCell = initialCell && emptyLike(initialCell);
      const trace = training ? emptyLike(first, [B, T, H, lstm ? 8 : 3, D]) : null;
      kernelsOf(first).deltaCell({
        ...named('z', of(0)),
        ...named('key', of(1)),
        ...named('v', of(2)),
        ...named('beta', of(3)),
        initialState: initialState!,
        initialOutput: initialOutput!,
        initialCell,
        offsets,
        output,
        finalState,
        finalOutput,
        finalCell,
        trace,
        ...numbers,
      });
      const kept = [finalState, output, trace, offsets].filter((t) => t !== null);
      const outputs = [output, finalState, finalOutput, ...(finalCell ? [finalCell] : [])];
      return { outputs, kept: training ? kept : [] };
    },
    ([doutput, dfinalState, dfinalOutput, dfinalCell], saved, [finalState, output, trace, soffsets]) => {
      const gradients = saved.slice(0, 4 * G).map((t) => emptyLike(t!));
      const of = (all: (Tensor | null)[], kind: number): (Tensor | null)[] => all.slice(kind * G, (kind + 1) * G);
      const [dinitialState, dinitialOutput] = saved.slice(4 * G, 4 * G + 2).map((t) => emptyLike(t!));
      const dinitialCell = lstm ? emptyLike(dfinalCell) : null;
      kernelsOf(output).deltaCellBackward({
        ...named('key', of(saved, 1)),
        ...named('beta', of(saved, 3)),
        finalState,
        offsets: soffsets ?? null,
        output,
        trace,
        doutput,
        dfinalState,
        dfinalOutput,
        dfinalCell: lstm ? dfinalCell : null,
        ...named('dz', of(gradients, 0)),
        ...named('dkey', of(gradients, 1)),
        ...named('dv', of(gradients, 2)),
        ...named('dbeta', of(gradients, 3)),
        dinitialState,
        dinitialOutput,
        dinitialCell,
        ...numbers,
      });
      return [...gradients, dinitialState, dinitialOutput, dinitialCell];
    },
  );
  const [output, memories, last, finalCell = null] = results;
  return { output, states: { memories, output: last, cell: finalCell } };
}
