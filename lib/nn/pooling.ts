// Poolings as modules; see the operators of the same names.
import { argumentError, describe, scope, type Tensor } from '../core';
import { noGrad } from '../autograd';
import {
  adaptiveAvgPool2d,
  avgPool2d,
  type AvgPoolOptions,
  checkPair,
  maxPool2d,
  type Pair,
  type PoolOptions,
  zeros,
} from '../ops';
import { Module } from './module';

/** Refuses what the pooling does: one window is computed, of an image as large as that. */
function checkPool<O>(
  pool: (x: Tensor, size: Pair, options: O) => Tensor,
  where: string,
  size: Pair,
  options: O,
): void {
  const window = checkPair(where, 'kernelSize', size, 1);
  noGrad(() => scope(() => void pool(zeros([1, 1, ...window], { device: 'js' }), size, options)));
}

/** The largest element under each window of images [B, C, H, W]. */
export class MaxPool2d extends Module {
  constructor(
    /** Height and width of the window. */
    readonly kernelSize: Pair,
    /** Stride and padding. */
    readonly options: PoolOptions = {},
  ) {
    super();
    checkPool(maxPool2d, 'MaxPool2d', kernelSize, options);
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
    checkPool(avgPool2d, 'AvgPool2d', kernelSize, options);
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
    if (outputSize !== 1) {
      throw argumentError('UNSUPPORTED', 'AdaptiveAvgPool2d', 'outputSize', '1', describe(outputSize));
    }
  }

  /** x [B, C, H, W]. */
  forward(x: Tensor): Tensor {
    return adaptiveAvgPool2d(x, this.outputSize);
  }
}
