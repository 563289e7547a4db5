// The step back of every channel by which RWKV's layers look at the token before (spec 2.13.7).
import { argumentError, checkOptions, formatShape, type OptionNames, type Tensor } from '../core';
import { shortConvolution, type WithFinalState } from './conv';
import { tensor } from './create';
import { sub } from './elementwise';
import { copyInPlace } from './inPlace';
import { checkAlikeOrWider, checkFloat, checkShape, checkState } from './kernel';
import type { CuSeqlens } from './sequences';
import { to } from './cast';
import { apart, expand, reshape } from './view';

/** Options of `tokenShift`. */
export interface TokenShiftOptions<F extends boolean = boolean> {
  /** [N, D], the token before the first one; zeros by default. */
  initialState?: Tensor | null;
  /** Whether `finalState`, the last token, is returned too; false by default. */
  outputFinalState?: F;
  /** Packed sequences in a batch of 1: each starts from its own state, zeros unless `initialState` says otherwise. */
  cuSeqlens?: CuSeqlens | null;
}

const OPTIONS: OptionNames<TokenShiftOptions> = { initialState: true, outputFinalState: 'flag', cuSeqlens: true };

/** Options of one token. */
interface TokenShiftStepOptions {
  state: Tensor;
}

const STEP_OPTIONS: OptionNames<TokenShiftStepOptions> = { state: true };

/** What `tokenShift` returns: output [B, T, D], finalState [N, D] when asked for, float32 also for bfloat16. */
export type TokenShiftResult<F extends boolean = boolean> = { output: Tensor } & WithFinalState<F>;

/**
 * x_{t-1} - x_t for x [B, T, D], so that x + mu * output is the mix of a token with the one before it (Peng et al. 2023,
 * "RWKV"; spec 2.13.7).
 */
export function tokenShift<F extends boolean = false>(
  x: Tensor,
  options: TokenShiftOptions<F> = {},
): TokenShiftResult<F> {
  const where = 'tokenShift';
  checkOptions<TokenShiftOptions>(where, options, OPTIONS);
  checkFloat(where, 'x', x);
  if (x.ndim !== 3) throw argumentError('SHAPE', where, 'x', '[B, T, D]', formatShape(x.shape));
  const [batch, , width] = x.shape;
  const { initialState = null, outputFinalState, cuSeqlens } = options;
  const sequences = cuSeqlens ? cuSeqlens.length - 1 : batch;
  if (initialState !== null) {
    checkFloat(where, 'initialState', initialState);
    checkAlikeOrWider(where, 'initialState', initialState, x, 'x');
    checkShape(where, 'initialState', initialState, [sequences, width], 'sequences, channels');
  }
  // A convolution over two tokens, which knows how to go on from a state and where packed sequences begin.
  const weight = expand(tensor([1, -1], { dtype: x.dtype, device: x.device }), [width, 2]);
  const { output, finalState } = shortConvolution(x, weight, {
    initialState: initialState && reshape(initialState, [sequences, width, 1]),
    outputFinalState,
    cuSeqlens,
  });
  return { output, ...(finalState && { finalState: reshape(finalState, [sequences, width]) }) } as TokenShiftResult<F>;
}

/** One token of `tokenShift`, outside the tape: x [B, D] in, [B, D] out; the state [B, D] becomes x. */
export function tokenShiftStep(x: Tensor, options: TokenShiftStepOptions): Tensor {
  const where = 'tokenShift.step';
  checkOptions(where, options, STEP_OPTIONS);
  const { state } = options;
  checkFloat(where, 'x', x);
  if (x.ndim !== 2) throw argumentError('SHAPE', where, 'x', '[B, D]', formatShape(x.shape));
  checkState(where, state, x.shape, 'batch, channels');
  checkAlikeOrWider(where, 'state', state, x, 'x');
  const output = sub(to(state, x.dtype), x);
  copyInPlace(state, to(apart(x, state), state.dtype));
  return output;
}
