// Exponential gates of xLSTM on the tape, in range by a running maximum (Beck et al. 2024; spec 2.13.3).
import type { Tensor } from '../../core';
import { record } from '../../autograd';
import { type CuSeqlens, emptyLike, kernelsOf, sequencesOf, zerosBeside } from '../../ops';

/** Gates as they come from projections [B, T, H], and m before the first token [N, H], zeros where null. */
export interface RawGates {
  inputGate: Tensor;
  forgetGate: Tensor;
  /** Whether the forget gate is ahead of its sigmoid, not of exp. */
  logSigmoid: boolean;
  initialMax: Tensor | null;
}

/**
 * What is divided by e^m and what it is multiplied by do not depend on which m that is: `gate` and `beta` take m for a constant,
 * and gradients need no sums that cancel.
 */
export interface ExponentialGates {
  /** Logarithms of decays [B, T, H]: roundings of m cancel over time, so that one may be a little above 0. */
  gate: Tensor;
  /** e^(input - m) [B, T, H] */
  beta: Tensor;
  /** m_t = max(log f_t + m_{t-1}, input_t) [B, T, H] */
  max: Tensor;
  /** m after the last token [N, H]; where there was none, the one that was given. */
  finalMax: Tensor;
}

export function exponentialGates(
  where: string,
  { inputGate, forgetGate, logSigmoid, initialMax }: RawGates,
  cuSeqlens: CuSeqlens | null,
): ExponentialGates {
  const { count: sequences, tokens, offsets } = sequencesOf(where, inputGate, cuSeqlens);
  const { shape } = inputGate;
  const given = { inputGate: inputGate.contiguous(), forgetGate: forgetGate.contiguous() };
  const numbers = { sequences, tokens, heads: shape[2], logSigmoid: Number(logSigmoid) };
  const [gate, beta, max] = [0, 1, 2].map(() => emptyLike(inputGate, shape));
  const finalMax = emptyLike(inputGate, [sequences, shape[2]]);
  const first = initialMax && initialMax.contiguous();
  kernelsOf(inputGate).exponentialGates({
    ...given,
    initialMax: first,
    offsets,
    gate,
    beta,
    max,
    finalMax,
    ...numbers,
  });
  record(
    where,
    [inputGate, forgetGate, initialMax],
    [gate, beta, max, finalMax],
    [given.inputGate, given.forgetGate, beta, max, offsets],
    ([dgate, dbeta, dmax, dfinalMax], [input, forget, sbeta, smax, soffsets], needs) => {
      const of = (g: Tensor | null, like: readonly number[]): Tensor => g?.contiguous() ?? zerosBeside(input, like);
      const dinputGate = emptyLike(input);
      const dforgetGate = emptyLike(input);
      const dinitialMax = needs[2] ? emptyLike(input, finalMax.shape) : null;
      kernelsOf(input).exponentialGatesBackward({
        inputGate: input,
        forgetGate: forget,
        offsets: soffsets,
        beta: sbeta,
        max: smax,
        dgate: of(dgate, shape),
        dbeta: of(dbeta, shape),
        dmax: of(dmax, shape),
        dfinalMax: of(dfinalMax, finalMax.shape),
        dinputGate,
        dforgetGate,
        dinitialMax,
        ...numbers,
      });
      return [dinputGate, dforgetGate, dinitialMax];
    },
  );
  return { gate, beta, max, finalMax };
}
