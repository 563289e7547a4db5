// The recurrent part that Delta RNN and Delta LSTM share (spec 2.4.1, 2.4.2).
import type { Tensor } from '../../core';
import { DELTA_CELLS } from '../../backends';
import { cat, type CuSeqlens, emptyLike, kernelsOf, sequencesOf } from '../../ops';
import { callKernel } from '../sequential/kernel';

/** Inputs of the cell: z, key, v [B, T, H, G, D], strengths beta [B, T, H, G]. */
export interface CellInputs {
  z: Tensor;
  key: Tensor;
  v: Tensor;
  beta: Tensor;
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

/** Outputs [B, T, H, D] and the states after the last token. */
export function runCell(
  name: string,
  cell: (typeof DELTA_CELLS)[number],
  inputs: CellInputs,
  states: CellStates,
  cuSeqlens: CuSeqlens | null,
): { output: Tensor; states: CellStates } {
  const [B, T, H, , D] = inputs.z.shape;
  const { count: sequences, tokens, offsets } = sequencesOf(name, inputs.z, cuSeqlens);
  const numbers = { sequences, tokens, heads: H, width: D, cell: DELTA_CELLS.indexOf(cell) };
  const lstm = states.cell !== null;
  const results = callKernel(
    name,
    [inputs.z, inputs.key, inputs.v, inputs.beta, states.memories, states.output, states.cell],
    ([z, key, v, beta, initialState, initialOutput, initialCell], training) => {
      const output = emptyLike(z!, [B, T, H, D]);
      const [finalState, finalOutput] = [initialState!, initialOutput!].map((t) => emptyLike(t));
      const finalCell = initialCell && emptyLike(initialCell);
      const trace = training ? emptyLike(z!, [B, T, H, lstm ? 8 : 3, D]) : null;
      kernelsOf(z!).deltaCell({
        z: z!,
        key: key!,
        v: v!,
        beta: beta!,
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
      const [dz, dkey, dv, dbeta, dinitialState, dinitialOutput] = saved.slice(0, 6).map((t) => emptyLike(t!));
      const dinitialCell = lstm ? emptyLike(dfinalCell) : null;
      kernelsOf(output).deltaCellBackward({
        key: saved[1]!,
        beta: saved[3]!,
        finalState,
        offsets: soffsets ?? null,
        output,
        trace,
        doutput,
        dfinalState,
        dfinalOutput,
        dfinalCell: lstm ? dfinalCell : null,
        dz,
        dkey,
        dv,
        dbeta,
        dinitialState,
        dinitialOutput,
        dinitialCell,
        ...numbers,
      });
      return [dz, dkey, dv, dbeta, dinitialState, dinitialOutput, dinitialCell];
    },
  );
  const [output, memories, last, finalCell = null] = results;
  return { output, states: { memories, output: last, cell: finalCell } };
}
