// The self-referential weight matrix and its relatives (Irie, Schlag, Csordas, Schmidhuber 2022; spec 2.5).
import { argumentError, checkChoice, describe, type Tensor } from '../../core';
import { cat, type CuSeqlens, emptyLike, kernelsOf, sequencesOf, softmax, split, stack, withChecks } from '../../ops';
import { deltaRule } from '../delta/deltaRule';
import { observed, tellMemory } from '../observe';
import { callKernel } from '../sequential/kernel';
import { defineSequential } from '../sequential/define';

/** Options of `selfReferential`. */
export interface SelfReferentialOptions {
  /**
   * 'srwm', the default: Y = D; 'smfwp': Y = 3 D + 1, the read-out programs a delta memory (SR-Delta, appendix C.1);
   * 'separateY': y is read with `inputY` (Irie, Csordas, Schmidhuber 2023). Only the inputs and sizes that go with it.
   */
  variant?: 'srwm' | 'smfwp' | 'separateY';
  /** Softmax of x, not of inputY, over its width first, as in the reinforcement-learning code; false by default. */
  inputSoftmax?: boolean;
  /** With 'smfwp': run the delta memory, whose output [B, T, H, D] then is the output; false by default. */
  deltaMemory?: boolean;
  /** Always true: the output is read from the matrix before its write. */
  readBeforeWrite?: true;
}

/** The matrix over a sequence: outputs [B, T, H, Y] and W after the last token [B, H, D, Y + 2 D + 4]. */
function runMatrix(
  x: Tensor,
  inputY: Tensor | null,
  W: Tensor,
  Y: number,
  cuSeqlens: CuSeqlens | null,
): [output: Tensor, W: Tensor] {
  const [B, T, H, D] = x.shape;
  const columns = W.shape[3];
  const { count: sequences, tokens, offsets } = sequencesOf('selfReferential', x, cuSeqlens);
  const numbers = { sequences, tokens, heads: H, width: D, outputWidth: Y };
  const [output, final] = callKernel(
    'selfReferential',
    [x, inputY, W],
    ([sx, sy, initialState], training) => {
      const result = emptyLike(sx!, [B, T, H, Y]);
      const finalState = emptyLike(initialState!);
      const trace = training ? emptyLike(sx!, [B, T, H, columns + 2 * D + 4]) : null;
      kernelsOf(sx!).selfReferential({
        x: sx!,
        inputY: sy,
        initialState: initialState!,
        offsets,
        output: result,
        finalState,
        trace,
        ...numbers,
      });
      return { outputs: [result, finalState], kept: trace ? [finalState, trace, ...(offsets ? [offsets] : [])] : [] };
    },
    ([doutput, dfinalState], [sx, sy], [finalState, trace, soffsets]) => {
      const dx = emptyLike(sx!);
      const dinputY = sy && emptyLike(sy);
      const dinitialState = emptyLike(finalState);
      kernelsOf(sx!).selfReferentialBackward({
        x: sx!,
        inputY: sy,
        finalState,
        offsets: soffsets ?? null,
        trace,
        doutput,
        dfinalState,
        dx,
        dinputY,
        dinitialState,
        ...numbers,
      });
      return [dx, dinputY, dinitialState];
    },
  );
  return [output, final];
}

/** Tells of the parts of the matrix: each is a delta memory of a strength of its own, on keys and values that the matrix reads. */
function tellMatrices(x: Tensor, inputY: Tensor | null, initial: Tensor, Y: number): void {
  const [, T, , D] = x.shape;
  const widths = [Y, D, D, 4];
  const reads: Tensor[] = [];
  const values: Tensor[] = [];
  let W = initial;
  const read = (t: Tensor): Tensor => t.unsqueeze(2).matmul(W).squeeze(2);
  for (let t = 0; t < T; t++) {
    const [xt, yt] = [x, inputY].map((all) => all && all.slice(1, t, t + 1));
    const all = read(xt!.squeeze(1));
    reads.push(all);
    values.push(read(softmax(split(all, widths, 2)[1], -1)));
    [, W] = runMatrix(xt!, yt, W, Y, null);
  }
  const [, , key, strength] = split(stack(reads, 1), widths, 3);
  const k = softmax(key, -1);
  const beta = split(strength.sigmoid(), [1, 1, 1, 1], 3).map((t) => t.squeeze(3));
  const written = split(stack(values, 1), widths, 3);
  const before = split(initial, widths, 3);
  ['W_y', 'W_q', 'W_k', 'w_b'].forEach((matrix, i) => {
    const inputs = { q: i === 0 && inputY ? inputY : x, k, v: written[i], beta: beta[i] };
    const kind = { eraseFrom: 'undecayed', read: 'before' } as const;
    const rule = 'selfReferential';
    tellMemory({ rule, matrix, inputs, kind, scale: 1, denominator: null, initialState: before[i] });
  });
}

/**
 * A matrix that rewrites itself: per head W_t = W_0 + shift, with the columns of y, q, k and b,
 * [y_t, q_t, k_t, b_t] = W_{t-1}^T x_t,  W_t = W_{t-1} + softmax(k_t) (beta_t (W_{t-1}^T softmax(q_t) - W_{t-1}^T softmax(k_t)))^T,
 * where beta_t = sigmoid(b_t) holds a strength for each of the four parts; the output is y, read before the write (spec
 * 2.5.1). x [B, T, H, D]; trained W_0 as wY [H, D, Y], wQ, wK [H, D, D], wB [H, D, 4] (rows are inputs, strengths in the
 * order y, q, k, b); states shiftY .. shiftB [B, H, D, *], carried on as finalShiftY .. finalShiftB; with deltaMemory also
 * `initialState` and `finalState` [B, H, D, D] of that memory.
 */
export const selfReferential = defineSequential({
  name: 'selfReferential',
  inputs: { x: 'B T H D', inputY: 'B T H D?', wY: 'H D Y', wQ: 'H D D', wK: 'H D D', wB: 'H D 4' },
  states: { shiftY: 'B H D Y', shiftQ: 'B H D D', shiftK: 'B H D D', shiftB: 'B H D 4', state: 'B H D D' },
  initialNames: { shiftY: 'shiftY', shiftQ: 'shiftQ', shiftK: 'shiftK', shiftB: 'shiftB' },
  packs: true,
  options: { variant: true, inputSoftmax: 'flag', deltaMemory: 'flag', readBeforeWrite: 'flag' },
  settings(where, options: SelfReferentialOptions, { inputY, wY }) {
    const variant = checkChoice(where, 'variant', options.variant ?? 'srwm', ['srwm', 'smfwp', 'separateY']);
    const deltaMemory = options.deltaMemory ?? false;
    const [D, Y] = [wY.shape[1], wY.shape[2]];
    const width = variant === 'smfwp' ? 3 * D + 1 : D;
    if (Y !== width) {
      throw argumentError('SHAPE', where, 'wY', `of ${width} columns for variant '${variant}'`, `${Y} columns`);
    }
    if ((variant === 'separateY') !== Boolean(inputY)) {
      const expected = variant === 'separateY' ? 'a Tensor' : `left out for variant '${variant}'`;
      throw argumentError('INVALID_ARGUMENT', where, 'inputY', expected, describe(inputY));
    }
    if (deltaMemory && variant !== 'smfwp') {
      throw argumentError('INVALID_ARGUMENT', where, 'deltaMemory', "false unless the variant is 'smfwp'", 'true');
    }
    if (options.readBeforeWrite === (false as boolean)) {
      throw argumentError('INVALID_ARGUMENT', where, 'readBeforeWrite', 'true', 'false');
    }
    return { inputSoftmax: options.inputSoftmax ?? false, deltaMemory };
  },
  without: ({ deltaMemory }) => (deltaMemory ? [] : ['state']),
  run({ inputs, states, settings: { inputSoftmax, deltaMemory }, sizes: { D, Y }, cuSeqlens }) {
    const { x, inputY, wY, wQ, wK, wB } = inputs;
    const base = cat([wY, wQ, wK, wB], 2);
    const shift = cat([states.shiftY, states.shiftQ, states.shiftK, states.shiftB], 3);
    const input = inputSoftmax ? softmax(x, -1) : x;
    const initial = shift.add(base);
    if (observed() && !cuSeqlens) tellMatrices(input, inputY ?? null, initial, Y);
    const [read, W] = runMatrix(input, inputY ?? null, initial, Y, cuSeqlens);
    const [shiftY, shiftQ, shiftK, shiftB] = split(W.sub(base), [Y, D, D, 4], 3);
    const shifts = { shiftY, shiftQ, shiftK, shiftB };
    if (!deltaMemory) return { output: read, states: { ...shifts, state: states.state } };
    const [q, k, v, beta] = split(read, [D, D, D, 1], 3);
    // What leaves the finite numbers is told of this rule, not of the memory that it programs.
    const { output, finalState } = withChecks(false, () =>
      deltaRule(softmax(q, -1), softmax(k, -1), v, {
        beta: beta.squeeze(3).sigmoid(),
        scale: 1,
        initialState: states.state,
        cuSeqlens,
        outputFinalState: true,
      }),
    );
    return { output, states: { ...shifts, state: finalState } };
  },
});
