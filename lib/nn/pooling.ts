// Poolings as modules; see the operators of the same names.
import type { Tensor } from '../core';
import { adaptiveAvgPool2d, avgPool2d, type AvgPoolOptions, maxPool2d, type Pair, type PoolOptions } from '../ops';
import { Module } from './module';

/** The largest element under each window of images [B, C, H, W]. */
export class MaxPool2d extends Module {
  constructor(
    /** Height and width of the window. */
    readonly kernelSize: Pair,
    /** Stride and padding. */
    readonly options: PoolOptions = {},
  ) {
    super();
  }

  /** x [B, C, H, W]. */
  forward(x: Tensor): Tensor {
    return maxPool2d(x, this.kernelSize, this.options);
  }
}

/** The mean under each window of images [B, C, H, W]. */
export class AvgPool2d extends Module {
  constructor(
    /** Height and width of the window. */
    readonly kernelSize: Pair,
    /** Stride, padding, and what counts. */
    readonly options: AvgPoolOptions = {},
  ) {
    super();
  }

  /** x [B, C, H, W]. */
  forward(x: Tensor): Tensor {
    return avgPool2d(x, this.kernelSize, this.options);
  }
}

/** The mean of each channel, [B, C, H, W] to [B, C, 1, 1]. */
export class AdaptiveAvgPool2d extends Module {
  constructor(
    /** 1 */
    readonly outputSize: 1 = 1,
  ) {
    super();
  }

  /** x [B, C, H, W]. */
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize);
  }
}
