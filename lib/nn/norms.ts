// Norms over channels, which stand in the second dimension: batch and group norm. Those over the last one are in layers.ts.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../core';
import { noGrad } from '../autograd';
import { checkTensor, layerNorm, ones, TENSOR_OPTIONS, type TensorOptions, zeros } from '../ops';
import { Module, parameter } from './module';

/** Options of batch norms. */
export interface BatchNormOptions extends TensorOptions {
  /** Added to the variance, 1e-5 by default. */
  eps?: number;
  /** Share of a batch in the running statistics, 0.1 by default; null for the mean of all batches. */
  momentum?: number | null;
  /** Whether there is a weight and a bias for each channel, true by default. */
  affine?: boolean;
  /** Whether statistics are kept for use outside training, true by default; else those of the batch serve there, too. */
  trackRunningStats?: boolean;
}

const BATCH: OptionNames<BatchNormOptions> = {
  ...TENSOR_OPTIONS,
  eps: true,
  momentum: true,
  affine: 'flag',
  trackRunningStats: 'flag',
};

/** [C] to the shape in which it stands beside x [B, C, ...]. */
function beside(t: Tensor, x: Tensor): Tensor {
  return t.reshape([t.size, ...x.shape.slice(2).map(() => 1)]);
}

/** Weight and bias of each channel. */
function scaled(y: Tensor, weight: Tensor | null, bias: Tensor | null): Tensor {
  return weight && bias ? y.mul(beside(weight, y)).add(beside(bias, y)) : y;
}

abstract class BatchNorm extends Module {
  weight: Tensor | null;
  bias: Tensor | null;
  running_mean: Tensor | null;
  running_var: Tensor | null;
  num_batches_tracked: Tensor | null;
  readonly eps: number;
  readonly momentum: number | null;

  constructor(
    private readonly where: string,
    private readonly ranks: readonly number[],
    readonly numFeatures: number,
    options: BatchNormOptions,
  ) {
    super();
    checkOptions(where, options, BATCH);
    checkInteger(where, 'numFeatures', numFeatures, 1);
    const { eps = 1e-5, momentum = 0.1, affine = true, trackRunningStats = true, ...place } = options;
    this.eps = checkNumber(where, 'eps', eps, 0);
    this.momentum = momentum === null ? null : checkNumber(where, 'momentum', momentum, 0, 1);
    this.weight = affine ? parameter(ones([numFeatures], place)) : null;
    this.bias = affine ? parameter(zeros([numFeatures], place)) : null;
    const kept = <T>(t: T): T | null => (trackRunningStats ? t : null);
    const { device, dtype } = place;
    this.running_mean = this.registerBuffer('running_mean', kept(zeros([numFeatures], { device, dtype })));
    this.running_var = this.registerBuffer('running_var', kept(ones([numFeatures], { device, dtype })));
    const count = zeros([], { device, dtype: 'int32' });
    this.num_batches_tracked = this.registerBuffer('num_batches_tracked', kept(count));
  }

  /** x [B, C, ...], normalised by the statistics of each channel: those of the batch while training, else the running ones. */
  forward(x: Tensor): Tensor {
    const { where, ranks, numFeatures, eps } = this;
    checkTensor(where, 'x', x);
    if (!ranks.includes(x.ndim) || x.shape[1] !== numFeatures) {
      const expected = `[B, ${numFeatures}${', ...'.repeat(Number(ranks[0] > 2))}] of ${ranks.join(' or ')} dimensions`;
      throw argumentError('SHAPE', where, 'x', expected, formatShape(x.shape));
    }
    return scope(() => {
      const { running_mean, running_var } = this;
      if (!this.training && running_mean && running_var) {
        const y = x.sub(beside(running_mean, x)).mul(beside(running_var.add(eps).rsqrt(), x));
        return scaled(y, this.weight, this.bias);
      }
      const channels = x.transpose(0, 1).reshape(numFeatures, x.size / numFeatures);
      if (this.training && channels.shape[1] < 2) {
        throw argumentError(
          'SHAPE',
          where,
          'x',
          'more than one value of each channel while training',
          formatShape(x.shape),
        );
      }
      if (this.training) this.track(channels.detach());
      const [B, C, ...rest] = x.shape;
      const y = layerNorm(channels, null, null, eps)
        .reshape([C, B, ...rest])
        .transpose(0, 1);
      return scaled(y, this.weight, this.bias);
    });
  }

  /** Takes a batch [C, n] into the running statistics; the variance is the unbiased one. */
  private track(channels: Tensor): void {
    const { running_mean, running_var, num_batches_tracked, momentum } = this;
    if (!running_mean || !running_var || !num_batches_tracked) return;
    noGrad(() =>
      scope(() => {
        num_batches_tracked.add_(1);
        const share = momentum ?? 1 / num_batches_tracked.item();
        const n = channels.shape[1];
        const mean = channels.mean(1, true);
        const variance = channels
          .sub(mean)
          .square()
          .sum(1)
          .div(n - 1);
        running_mean.mul_(1 - share).add_(mean.reshape(-1).mul(share));
        running_var.mul_(1 - share).add_(variance.mul(share));
      }),
    );
  }
}

/** Batch norm of x [B, C] or [B, C, T] (Ioffe and Szegedy 2015). */
export class BatchNorm1d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super('BatchNorm1d', [2, 3], numFeatures, options);
  }
}

/** Batch norm of images x [B, C, H, W] (Ioffe and Szegedy 2015). */
export class BatchNorm2d extends BatchNorm {
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super('BatchNorm2d', [4], numFeatures, options);
  }
}

/** Options of `GroupNorm`. */
export interface GroupNormOptions extends TensorOptions {
  /** Added to the variance, 1e-5 by default. */
  eps?: number;
  /** Whether there is a weight and a bias for each channel, true by default. */
  affine?: boolean;
}

const GROUP: OptionNames<GroupNormOptions> = { ...TENSOR_OPTIONS, eps: true, affine: 'flag' };

/**
 * Norm of each of `numGroups` parts of the channels together with all places, for x [B, C, ...] (Wu and He 2018). The
 * operator `groupNorm` is that of the last dimension.
 */
export class GroupNorm extends Module {
  /** [numChannels], ones at first, or null. */
  weight: Tensor | null;
  /** [numChannels], zeros at first, or null. */
  bias: Tensor | null;
  /** Added to the variance. */
  readonly eps: number;

  constructor(
    /** A divisor of the channels. */
    readonly numGroups: number,
    /** C */
    readonly numChannels: number,
    options: GroupNormOptions = {},
  ) {
    super();
    const where = 'GroupNorm';
    checkOptions(where, options, GROUP);
    checkInteger(where, 'numGroups', numGroups, 1);
    checkInteger(where, 'numChannels', numChannels, 1);
    if (numChannels % numGroups !== 0) {
      throw argumentError('INVALID_ARGUMENT', where, 'numGroups', `a divisor of ${numChannels}`, String(numGroups));
    }
    const { eps = 1e-5, affine = true, ...place } = options;
    this.eps = checkNumber(where, 'eps', eps, 0);
    this.weight = affine ? parameter(ones([numChannels], place)) : null;
    this.bias = affine ? parameter(zeros([numChannels], place)) : null;
  }

  /** x [B, C, ...]. */
  forward(x: Tensor): Tensor {
    const { numGroups, numChannels, eps } = this;
    checkTensor('GroupNorm', 'x', x);
    if (x.ndim < 2 || x.shape[1] !== numChannels) {
      throw argumentError('SHAPE', 'GroupNorm', 'x', `[B, ${numChannels}, ...]`, formatShape(x.shape));
    }
    const width = x.shape.slice(2).reduce((a, b) => a * b, numChannels / numGroups);
    return scope(() => {
      const y = layerNorm(x.reshape(x.shape[0] * numGroups, width), null, null, eps).reshape(x.shape);
      return scaled(y, this.weight, this.bias);
    });
  }
}
