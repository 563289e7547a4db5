// The causal depthwise convolution in front of q, k and v.
import type { Tensor } from '../core';
import {
  type CuSeqlens,
  rand,
  shortConvolution,
  type ShortConvolutionResult,
  shortConvolutionStep,
  type TensorOptions,
  zeros,
} from '../ops';
import { Module, parameter } from './module';

/** Kernel of `width` tokens per channel; weight [D, 1, W] as in published checkpoints, uniform in +-1/sqrt(W). */
export class ShortConvolution extends Module {
  weight: Tensor;
  bias: Tensor | null;

  constructor(
    readonly dim: number,
    readonly width: number,
    options: { bias?: boolean; activation?: 'silu' | null } & TensorOptions = {},
  ) {
    super();
    const { bias = false, activation = 'silu', ...where } = options;
    const bound = width ** -0.5;
    this.activation = activation;
    this.weight = parameter(rand([dim, 1, width], { ...where, low: -bound, high: bound }));
    this.bias = bias ? parameter(rand([dim], { ...where, low: -bound, high: bound })) : null;
  }

  readonly activation: 'silu' | null;

  /** x [B, T, D]; the state [N, D, W - 1] holds the inputs before it. */
  forward(
    x: Tensor,
    options: { initialState?: Tensor | null; outputFinalState?: boolean; cuSeqlens?: CuSeqlens | null } = {},
  ): ShortConvolutionResult {
    const { bias, activation } = this;
    return shortConvolution(x, this.kernel(), { ...options, bias, activation });
  }

  /** One token x [B, D]; the state changes in place. */
  step(x: Tensor, state: Tensor): Tensor {
    return shortConvolutionStep(x, this.kernel(), { bias: this.bias, activation: this.activation, state });
  }

  initialState(batch: number): Tensor {
    const { device, dtype } = this.weight;
    return zeros([batch, this.dim, this.width - 1], { device, dtype: dtype === 'float64' ? dtype : 'float32' });
  }

  private kernel(): Tensor {
    return this.weight.reshape(this.dim, this.width);
  }
}
