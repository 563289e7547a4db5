// Losses between tensors of numbers, PyTorch's, accurate for large inputs. Shapes are equal: where PyTorch broadcasts with
// a warning there is an error.
import { argumentError, checkChoice, checkNumber, checkOptions, type OptionNames, scoped, type Tensor } from '../core';
import { eq, where as choose } from './compare';
import { clamp } from './elementwise';
import { checkAlike, checkFloat, checkShape, computesInFloat32 } from './kernel';
import { checkReduction, type Reduction } from './loss';

/** Options of losses without further ones. */
export interface LossOptions {
  /** 'mean' over all elements (default) or their sum, both [1]; or every element's. */
  reduction?: Reduction;
}

const LOSS: OptionNames<LossOptions> = { reduction: true };

type Loss<O> = (x: Tensor, target: Tensor, options?: O) => Tensor;

function checkPair(where: string, x: Tensor, target: Tensor): void {
  checkFloat(where, 'x', x);
  checkFloat(where, 'target', target);
  checkAlike(where, 'target', target, x, 'x');
  checkShape(where, 'target', target, x.shape, 'like x');
}

function reduce(loss: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return loss;
  return (reduction === 'sum' ? loss.sum() : loss.mean()).reshape(1);
}

/** A loss of each element; float32 also for bfloat16. */
function elementwise<O extends LossOptions>(
  name: string,
  known: OptionNames<O>,
  loss: (x: Tensor, target: Tensor, options: O) => Tensor,
): Loss<O> {
  return computesInFloat32(
    (x: Tensor, target: Tensor, options: O = {} as O) => {
      checkOptions(name, options, known);
      checkPair(name, x, target);
      return reduce(loss(x, target, options), checkReduction(name, options.reduction));
    },
    (y) => y,
  );
}

/** (x - target)^2 */
export const mseLoss: Loss<LossOptions> = elementwise('mseLoss', LOSS, (x, target) => x.sub(target).square());

/** |x - target| */
export const l1Loss: Loss<LossOptions> = elementwise('l1Loss', LOSS, (x, target) => x.sub(target).abs());

/** Options of `smoothL1Loss`. */
export interface SmoothL1Options extends LossOptions {
  /** Differences below it are squared; 1 by default, 0 for `l1Loss`. */
  beta?: number;
}

/** d^2 / (2 beta) for |d| below beta, else |d| - beta / 2, of d = x - target. */
export const smoothL1Loss: Loss<SmoothL1Options> = elementwise<SmoothL1Options>(
  'smoothL1Loss',
  { ...LOSS, beta: true },
  (x, target, { beta = 1 }) => {
    checkNumber('smoothL1Loss', 'beta', beta, 0);
    const size = x.sub(target).abs();
    if (beta === 0) return size;
    const near = clamp(size, 0, beta);
    return near
      .square()
      .mul(0.5 / beta)
      .add(size.sub(near));
  },
);

/** Options of `huberLoss`. */
export interface HuberOptions extends LossOptions {
  /** Differences up to it are squared; above 0, 1 by default. */
  delta?: number;
}

/** d^2 / 2 for |d| up to delta, else delta (|d| - delta / 2), of d = x - target. */
export const huberLoss: Loss<HuberOptions> = elementwise<HuberOptions>(
  'huberLoss',
  { ...LOSS, delta: true },
  (x, target, { delta = 1 }) => {
    if (checkNumber('huberLoss', 'delta', delta, 0) === 0) {
      throw argumentError('INVALID_ARGUMENT', 'huberLoss', 'delta', 'above 0', '0');
    }
    const size = x.sub(target).abs();
    const near = clamp(size, 0, delta);
    return near.square().mul(0.5).add(size.sub(near).mul(delta));
  },
);

/** Options of `binaryCrossEntropyWithLogits`. */
export interface BinaryCrossEntropyOptions extends LossOptions {
  /** Multiplies the losses, to whose shape it broadcasts. */
  weight?: Tensor | null;
  /** Multiplies the part of the positive class; broadcasts to the shape. */
  posWeight?: Tensor | null;
}

/**
 * -(target log s + (1 - target) log(1 - s)) with s = sigmoid(x), for targets from 0 to 1. It is computed from softplus, so it
 * neither overflows nor rounds to 0 at large x.
 */
export const binaryCrossEntropyWithLogits: Loss<BinaryCrossEntropyOptions> = elementwise<BinaryCrossEntropyOptions>(
  'binaryCrossEntropyWithLogits',
  { ...LOSS, weight: true, posWeight: true },
  (x, target, { weight, posWeight }) => {
    for (const [name, t] of Object.entries({ weight, posWeight })) {
      if (!t) continue;
      checkFloat('binaryCrossEntropyWithLogits', name, t);
      checkAlike('binaryCrossEntropyWithLogits', name, t, x, 'x');
    }
    const positive = target.mul(x.neg().softplus());
    const negative = target.neg().add(1).mul(x.softplus());
    const loss = (posWeight ? positive.mul(posWeight) : positive).add(negative);
    const whole = weight ? loss.mul(weight) : loss;
    checkShape('binaryCrossEntropyWithLogits', 'weight, posWeight', whole, x.shape, 'what they broadcast to');
    return whole;
  },
);

/** Options of `klDiv`. */
export interface KlDivOptions {
  /** 'mean' over all elements (default), 'batchMean' over the first dimension, which is the divergence; sum; or every element's. */
  reduction?: Reduction | 'batchMean';
  /** Whether the target is in logarithms, too. */
  logTarget?: boolean;
}

const KL: OptionNames<KlDivOptions> = { reduction: true, logTarget: 'flag' };

/** target (log target - x) for logarithms of probabilities x; 0 where the target is 0 and x finite. float32 also for bfloat16. */
export const klDiv = computesInFloat32(
  (x: Tensor, target: Tensor, options: KlDivOptions = {}): Tensor => {
    checkOptions('klDiv', options, KL);
    checkPair('klDiv', x, target);
    const { reduction = 'mean', logTarget = false } = options;
    checkChoice('klDiv', 'reduction', reduction, ['mean', 'batchMean', 'sum', 'none']);
    const loss = logTarget
      ? target.exp().mul(target.sub(x))
      : target.mul(choose(eq(target, 0), 1, target).log()).sub(target.mul(x));
    if (reduction !== 'batchMean') return reduce(loss, reduction);
    return loss
      .sum()
      .reshape(1)
      .div(x.shape[0] ?? 1);
  },
  (loss) => loss,
);

/** Options of `cosineSimilarity`. */
export interface CosineOptions {
  /** The dimension of the vectors, which goes; the second one by default, as in PyTorch. */
  dim?: number;
  /** Least length that counts, 1e-8 by default. */
  eps?: number;
}

const COSINE: OptionNames<CosineOptions> = { dim: true, eps: true };

/** The cosine of the angle between vectors of two tensors, whose shapes broadcast. */
export const cosineSimilarity = computesInFloat32((a: Tensor, b: Tensor, options: CosineOptions = {}): Tensor => {
  checkOptions('cosineSimilarity', options, COSINE);
  const { dim = 1, eps = 1e-8 } = options;
  checkFloat('cosineSimilarity', 'a', a);
  checkFloat('cosineSimilarity', 'b', b);
  checkAlike('cosineSimilarity', 'b', b, a, 'a');
  checkNumber('cosineSimilarity', 'eps', eps, 0);
  const unit = scoped((t: Tensor): Tensor => t.div(clamp(t.square().sum(dim, true), eps ** 2, Infinity).sqrt()));
  return unit(a).mul(unit(b)).sum(dim);
});
