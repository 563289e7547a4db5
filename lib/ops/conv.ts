// Causal depthwise convolution over time.
import {
  argumentError,
  checkChoice,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
  tokenStride,
  type Tensor,
} from '../core';
import { ACTIVATIONS } from '../backends';
import { record } from '../autograd';
import {
  checkAlike,
  checkAlikeOrWider,
  checkFloat,
  checkShape,
  checkState,
  checkTensor,
  emptyLike,
  kernelsOf,
  statisticsDtype,
  takesBfloat16,
  zerosBeside,
} from './kernel';
import { apart, contiguous } from './view';
import { type CuSeqlens, sequencesOf } from './sequences';

/** Options of `shortConvolution`. */
export interface ShortConvolutionOptions<F extends boolean = boolean> {
  /** [D], added before the activation; none by default. */
  bias?: Tensor | null;
  /** Applied to the sum; none by default. */
  activation?: 'silu' | null;
  /** [N, D, W - 1], the inputs before the first token, oldest first; zeros by default. */
  initialState?: Tensor | null;
  /** Whether `finalState`, the last W - 1 inputs, is returned too; false by default. */
  outputFinalState?: F;
  /** Packed sequences in a batch of 1: each starts from its own state, zeros unless `initialState` says otherwise. */
  cuSeqlens?: CuSeqlens | null;
  /** W, as configurations call it; must be that of the weight. */
  kernelSize?: number;
}

const OPTIONS: OptionNames<ShortConvolutionOptions> = {
  bias: true,
  activation: true,
  initialState: true,
  outputFinalState: 'flag',
  cuSeqlens: true,
  kernelSize: true,
};

/** Options of one token. */
export interface ShortConvolutionStepOptions {
  bias?: Tensor | null;
  activation?: 'silu' | null;
  state: Tensor;
}

const STEP_OPTIONS: OptionNames<ShortConvolutionStepOptions> = { bias: true, activation: true, state: true };

/** What `shortConvolution` returns: output [B, T, D], finalState [N, D, W - 1] when asked for, float32 also for bfloat16. */
export type ShortConvolutionResult<F extends boolean = boolean> = { output: Tensor } & WithFinalState<F>;

/** `finalState`, which is there for certain where it was asked for with a literal `true`. */
export type WithFinalState<F extends boolean> = [F] extends [true] ? { finalState: Tensor } : { finalState?: Tensor };

function activationCode(where: string, activation: 'silu' | null | undefined): number {
  return ACTIVATIONS.indexOf(checkChoice(where, 'activation', activation ?? 'none', ACTIVATIONS));
}

function check(where: string, x: Tensor, weight: Tensor, bias: Tensor | null): { d: number; width: number } {
  checkFloat(where, 'x', x);
  checkFloat(where, 'weight', weight);
  const d = x.shape[x.ndim - 1];
  if (weight.ndim !== 2 || weight.shape[0] !== d || weight.shape[1] < 1) {
    throw argumentError('SHAPE', where, 'weight', `[${d}, W] (channels, width)`, formatShape(weight.shape));
  }
  checkAlike(where, 'weight', weight, x, 'x');
  if (bias !== null) {
    checkFloat(where, 'bias', bias);
    checkAlike(where, 'bias', bias, x, 'x');
    checkShape(where, 'bias', bias, [d], 'channels');
  }
  return { d, width: weight.shape[1] };
}

/**
 * y_t = act(sum_j weight[:, W - 1 - j] x_{t-j} + bias) for x [B, T, D] and weight [D, W], whose last column is the
 * present token (spec 2.13, "conv4").
 */
export const shortConvolution = takesBfloat16(
  (x: Tensor, weight: Tensor, options: ShortConvolutionOptions = {}): ShortConvolutionResult => {
    const where = 'shortConvolution';
    checkOptions(where, options, OPTIONS);
    const { bias = null, initialState = null, outputFinalState = false, cuSeqlens } = options;
    const { d, width } = check(where, x, weight, bias);
    if (x.ndim !== 3) throw argumentError('SHAPE', where, 'x', '[B, T, D]', formatShape(x.shape));
    const { kernelSize = width } = options;
    if (kernelSize !== width) {
      throw argumentError('INVALID_ARGUMENT', where, 'kernelSize', `${width} like the weight`, describe(kernelSize));
    }
    const activation = activationCode(where, options.activation);
    const { count: sequences, tokens, offsets } = sequencesOf(where, x, cuSeqlens);
    const stateShape = [sequences, d, width - 1];
    if (initialState !== null) {
      checkFloat(where, 'initialState', initialState);
      checkAlikeOrWider(where, 'initialState', initialState, x, 'x');
      checkShape(where, 'initialState', initialState, stateShape, 'sequences, channels, width - 1');
    }
    const rows = x.strides[2] === 1 && tokenStride(x.shape, x.strides) !== undefined ? x : contiguous(x);
    const [w, b, s] = [contiguous(weight), bias && contiguous(bias), initialState && contiguous(initialState)];
    const output = emptyLike(x);
    const finalState = outputFinalState ? emptyLike(x, stateShape, statisticsDtype(x)) : undefined;
    const numbers = { sequences, tokens, d, width, activation };
    kernelsOf(x).shortConv({
      x: rows,
      weight: w,
      bias: b,
      initialState: s,
      offsets,
      y: output,
      finalState: finalState ?? null,
      ...numbers,
    });
    const optional = [b, s, offsets];
    const present = optional.filter((t) => t !== null);
    record(
      where,
      [x, weight, bias, initialState],
      finalState ? [output, finalState] : [output],
      [rows, w, ...present],
      ([dy, dfinal], [sx, sw, ...rest], needs) => {
        const [sb, ss, so] = optional.map((t) => (t ? rest.shift()! : null));
        const dx = emptyLike(sx, sx.shape);
        const dweight = emptyLike(sw);
        const dbias = needs[2] ? emptyLike(sw, [d]) : null;
        const dinitialState = needs[3] ? emptyLike(ss!, stateShape) : null;
        kernelsOf(sx).shortConvBackward({
          x: sx,
          weight: sw,
          bias: sb,
          initialState: ss,
          offsets: so,
          dy: dy ? contiguous(dy) : zerosBeside(sx, sx.shape),
          dfinalState: dfinal ? contiguous(dfinal) : null,
          dx,
          dweight,
          dbias,
          dinitialState,
          ...numbers,
        });
        return [dx, dweight, dbias, dinitialState];
      },
    );
    return { output, finalState };
  },
  ({ output, finalState }) => ({ output: output.to('bfloat16'), finalState }),
) as <F extends boolean = false>(
  x: Tensor,
  weight: Tensor,
  options?: ShortConvolutionOptions<F>,
) => ShortConvolutionResult<F>;

/**
 * One token of `shortConvolution`, outside the tape: x [B, D] in, [B, D] out; the state [B, D, W - 1], float32 also for
 * bfloat16 inputs, is changed in place.
 */
export function shortConvolutionStep(x: Tensor, weight: Tensor, options: ShortConvolutionStepOptions): Tensor {
  checkOptions('shortConvolution.step', options, STEP_OPTIONS);
  const { state } = options;
  checkTensor('shortConvolution.step', 'state', state);
  if (state.dtype === 'bfloat16') throw argumentError('DTYPE', 'shortConvolution.step', 'state', 'float32', 'bfloat16');
  return stepOf(x, weight, options);
}

const stepOf = takesBfloat16((x: Tensor, weight: Tensor, options: ShortConvolutionStepOptions): Tensor => {
  const where = 'shortConvolution.step';
  const { bias = null, state } = options;
  const { d, width } = check(where, x, weight, bias);
  if (x.ndim !== 2) throw argumentError('SHAPE', where, 'x', '[B, D]', formatShape(x.shape));
  checkState(where, state, [x.shape[0], d, width - 1], 'batch, channels, width - 1');
  checkAlikeOrWider(where, 'state', state, x, 'x');
  const y = emptyLike(x);
  kernelsOf(x).shortConvStep({
    x: contiguous(apart(x, state)),
    weight: contiguous(apart(weight, state)),
    bias: bias && contiguous(apart(bias, state)),
    state,
    y,
    batch: x.shape[0],
    d,
    width,
    activation: activationCode(where, options.activation),
  });
  state.storage.version++;
  return y;
});
