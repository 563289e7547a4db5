// The causal depthwise convolution in front of q, k and v.
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../core';
import {
  rand,
  shortConvolution,
  type ShortConvolutionOptions,
  type ShortConvolutionResult,
  shortConvolutionStep,
  zeros,
} from '../ops';
import { BIAS, type BiasOptions } from './layers';
import { Module, parameter } from './module';

/** Options of `ShortConvolution`; without a bias by default. */
export interface ConvolutionOptions extends BiasOptions {
  /** What follows, 'silu' by default. */
  activation?: 'silu' | null;
}

const OPTIONS: OptionNames<ConvolutionOptions> = { ...BIAS, activation: true };

type Over<F extends boolean = boolean> = Omit<ShortConvolutionOptions<F>, 'bias' | 'activation' | 'kernelSize'>;

const OVER: OptionNames<Over> = { initialState: true, outputFinalState: 'flag', cuSeqlens: true };

/** Kernel of `width` tokens per channel; weight [D, 1, W] as in published weights, uniform in +-1/sqrt(W). */
export class ShortConvolution extends Module {
  /** [dim, 1, width], the last column for the present token. */
  weight: Tensor;
  /** [dim], or null. */
  bias: Tensor | null;

  constructor(
    /** Channels. */
    readonly dim: number,
    /** Tokens that one sees, itself included. */
    readonly width: number,
    options: ConvolutionOptions = {},
  ) {
    super();
    checkOptions('ShortConvolution', options, OPTIONS);
    checkInteger('ShortConvolution', 'dim', dim, 1);
    checkInteger('ShortConvolution', 'width', width, 1);
    const { bias = false, activation = 'silu', ...where } = options;
    const bound = width ** -0.5;
    this.activation = activation;
    this.weight = parameter(rand([dim, 1, width], { ...where, low: -bound, high: bound }));
    this.bias = bias ? parameter(rand([dim], { ...where, low: -bound, high: bound })) : null;
  }

  /** What follows the convolution. */
  readonly activation: 'silu' | null;

  /** x [B, T, D]; the state [N, D, W - 1] holds the inputs before it. */
  forward<F extends boolean = false>(x: Tensor, options: Over<F> = {}): ShortConvolutionResult<F> {
    checkOptions<Over>('ShortConvolution', options, OVER);
    const { bias, activation } = this;
    return shortConvolution(x, this.kernel(), { ...options, bias, activation });
  }

  /** One token x [B, D]; the state changes in place. */
  step(x: Tensor, state: Tensor): Tensor {
    return shortConvolutionStep(x, this.kernel(), { bias: this.bias, activation: this.activation, state });
  }

  /** Zeros [batch, dim, width - 1], the inputs before the first token. */
  initialState(batch: number): Tensor {
    const { device, dtype } = this.weight;
    return zeros([batch, this.dim, this.width - 1], { device, dtype: dtype === 'float64' ? dtype : 'float32' });
  }

  private kernel(): Tensor {
    return this.weight.reshape(this.dim, this.width);
  }
}
