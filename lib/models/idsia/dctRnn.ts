// The DCT fast RNN: an LSTM writes the weights of an RNN in frequencies (Irie and Schmidhuber 2021; spec 2.11).
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { LSTM, parameter } from '../../nn';
import { ones, rand, TENSOR_OPTIONS, type TensorOptions, zeros } from '../../ops';
import { dctRnn, type DctRnnOptions } from '../../rules';
import {
  checkForward,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  stateDType,
  stepByForward,
} from '../common/mixer';

/** Options of `DctFastRnn`. */
export interface DctFastRnnOptions extends TensorOptions {
  /** Frequencies kept of the weights of x: those on this diagonal and above, from the top right; 0 by default. */
  inputDiagonal?: number;
  /** The same of the weights of h; 0 by default. */
  hiddenDiagonal?: number;
  /** Whether every coefficient has a trained factor; true by default. */
  coefficientScale?: boolean;
}

const OPTIONS: OptionNames<DctFastRnnOptions> = {
  ...TENSOR_OPTIONS,
  inputDiagonal: true,
  hiddenDiagonal: true,
  coefficientScale: 'flag',
};

/** What a `DctFastRnn` remembers: h [B, D], and the LSTM's states. */
export type DctFastRnnState = { hidden: Tensor; slow: { hidden: Tensor; cell: Tensor } };

/**
 * For every token an LSTM gives the low-frequency coefficients of the weights of a fast RNN, h_t = tanh(W_t x_t + U_t
 * h_{t-1} + b), W_t and U_t their inverse cosine transforms: the rule `dctRnn`. Names of the published program
 * (kazuki-irie/dct-fast-weights, `FastDctRNN`).
 */
export class DctFastRnn extends Recurrent<DctFastRnnState> {
  /** From x to all coefficients, those of W before those of U. */
  fast_weights_lstm: LSTM;
  /** Factors of the coefficients, ones at first; null without `coefficientScale`. */
  coef_scaler: Tensor | null;
  /** b [hiddenSize], uniform in +-1/sqrt(hiddenSize). */
  bias: Tensor;
  private readonly diagonals: Required<DctRnnOptions>;

  constructor(
    /** Width of x. */
    readonly inputSize: number,
    /** Width of h and of the output. */
    readonly hiddenSize: number,
    options: DctFastRnnOptions = {},
  ) {
    super();
    const where = 'DctFastRnn';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'inputSize', inputSize, 1);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    const { inputDiagonal = 0, hiddenDiagonal = 0, coefficientScale = true, ...place } = options;
    checkInteger(where, 'inputDiagonal', inputDiagonal, 1 - hiddenSize, inputSize - 1);
    checkInteger(where, 'hiddenDiagonal', hiddenDiagonal, 1 - hiddenSize, hiddenSize - 1);
    this.diagonals = { inputDiagonal, hiddenDiagonal };
    const coefficients = dctRnn.coefficientCount(inputSize, hiddenSize, this.diagonals);
    this.fast_weights_lstm = new LSTM(inputSize, coefficients, place);
    this.coef_scaler = coefficientScale ? parameter(ones([coefficients], place)) : null;
    const bound = hiddenSize ** -0.5;
    this.bias = parameter(rand([hiddenSize], { ...place, low: -bound, high: bound }));
  }

  forward(x: Tensor, options: SequenceOptions<DctFastRnnState> = {}): SequenceResult<DctFastRnnState> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    const slow = this.fast_weights_lstm.forward(x, { state: state?.slow, outputState, cuSeqlens });
    const coefficients = this.coef_scaler ? slow.output.mul(this.coef_scaler) : slow.output;
    const { output, finalHidden } = dctRnn(
      { x, coefficients, bias: this.bias, initialHidden: state?.hidden ?? null },
      { ...this.diagonals, outputFinalState: true, cuSeqlens },
    );
    return slow.state ? { output, state: { hidden: finalHidden, slow: slow.state } } : { output };
  }

  step(x: Tensor, state: DctFastRnnState): Tensor {
    return stepByForward(this, x, state);
  }

  initialState(batch: number): DctFastRnnState {
    const where = { device: this.bias.device, dtype: stateDType(this.bias) };
    return { hidden: zeros([batch, this.hiddenSize], where), slow: this.fast_weights_lstm.initialState(batch) };
  }
}
