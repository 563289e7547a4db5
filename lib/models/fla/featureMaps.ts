// Feature maps of keys and queries as flash-linear-attention names and parametrises them: its dpfp is another, its elu is
// elu + 1.
import type { Tensor } from '../../core';
import { Linear, Module } from '../../nn';
import { cat, featureMap, type TensorOptions } from '../../ops';

/** Maps of single numbers, without parameters. */
export const POINTWISE_MAPS = {
  identity: (x: Tensor): Tensor => x,
  relu: (x: Tensor): Tensor => x.relu(),
  silu: (x: Tensor): Tensor => x.silu(),
  swish: (x: Tensor): Tensor => x.silu(),
  elu: (x: Tensor): Tensor => x.elu1(),
};

export const FLA_FEATURE_MAPS = ['elementwise_product', 'hedgehog', 't2r', 'dpfp', 'elu', 'relu', 'identity'] as const;
export type FlaFeatureMap = (typeof FLA_FEATURE_MAPS)[number];

/** Those with weights. */
export const LEARNED_MAPS: readonly FlaFeatureMap[] = ['elementwise_product', 'hedgehog', 't2r'];

/** A map of the last dimension; a module, because some learn. */
export abstract class FeatureMap extends Module {
  constructor(
    /** Of the result. */
    readonly width: number,
  ) {
    super();
  }

  abstract forward(x: Tensor): Tensor;
}

export function makeFeatureMap(name: FlaFeatureMap, dim: number, options: TensorOptions): FeatureMap {
  switch (name) {
    case 'elementwise_product':
      return new ElementwiseProduct(dim, options);
    case 'hedgehog':
    case 't2r':
      return new LearnedFeatures(name, dim, options);
    case 'dpfp':
      return new SignedDpfp(dim);
    default:
      return new Activation(dim, name);
  }
}

class Activation extends FeatureMap {
  constructor(
    dim: number,
    readonly name: 'elu' | 'relu' | 'identity',
  ) {
    super(dim);
  }

  forward(x: Tensor): Tensor {
    return POINTWISE_MAPS[this.name](x);
  }
}

/** (W1 x + b1) * (W2 x + b2) */
class ElementwiseProduct extends FeatureMap {
  layer1: Linear;
  layer2: Linear;

  constructor(dim: number, options: TensorOptions) {
    super(dim);
    this.layer1 = new Linear(dim, dim, options);
    this.layer2 = new Linear(dim, dim, options);
  }

  forward(x: Tensor): Tensor {
    return this.layer1.forward(x).mul(this.layer2.forward(x));
  }
}

/** hedgehog: softmax([2 y, -2 y]) with y = W x + b; t2r: relu(W x). */
class LearnedFeatures extends FeatureMap {
  layer: Linear;

  constructor(
    readonly name: 'hedgehog' | 't2r',
    dim: number,
    options: TensorOptions,
  ) {
    super(name === 'hedgehog' ? 2 * dim : dim);
    this.layer = new Linear(dim, dim, { bias: name === 'hedgehog', ...options }).keepWhole();
  }

  forward(x: Tensor): Tensor {
    const { weight, bias } = this.layer;
    return featureMap(x, { featureMap: this.name, weight, bias: bias ?? undefined });
  }
}

/**
 * x' * roll(x', j), j = 1..4, with x' = [relu(x), -relu(x)] where the paper has [relu(x), relu(-x)], as the published program
 * has from version 0.6 on; files do not say which of the two they were trained with.
 */
class SignedDpfp extends FeatureMap {
  private static readonly NU = 4;

  constructor(dim: number) {
    super(2 * dim * SignedDpfp.NU);
  }

  forward(x: Tensor): Tensor {
    const positive = x.relu();
    const both = cat([positive, positive.neg()], -1);
    const n = both.shape[both.ndim - 1];
    const rolled = (shift: number): Tensor => {
      const cut = n - (shift % n);
      return cat([both.slice(-1, cut), both.slice(-1, 0, cut)], -1);
    };
    const products = Array.from({ length: SignedDpfp.NU }, (_, i) => both.mul(rolled(i + 1)));
    return cat(products, -1);
  }
}
