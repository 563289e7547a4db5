// Linear attention: the additive fast weight programmer as flash-linear-attention builds it (spec 2.2, 2.13.1).
import type { Tensor } from '../core';
import { Linear, Module, RMSNorm } from '../nn';
import { elu1, featureMap, type TensorOptions } from '../ops';
import { linearAttention } from '../rules';
import { CausalLM } from './causalLM';
import { type ConfigurationInput, ConfigurationReader } from './configuration';
import { FastWeightMixer, type RuleInputs } from './fastWeightMixer';
import { FlaDecoder, type FlaConfiguration, readFla } from './fla';
import { mergeHeads, repeatHeads, splitHeads } from './mixer';

const FEATURE_MAPS = ['elementwise_product', 'hedgehog', 't2r', 'dpfp', 'elu', 'relu', 'identity'] as const;
type FeatureMapName = (typeof FEATURE_MAPS)[number];

export interface LinearAttentionConfiguration extends FlaConfiguration {
  readonly numHeads: number;
  readonly numKvHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly featureMap: FeatureMapName;
  /** Divides the mapped queries or keys by their sum. */
  readonly normQ: boolean;
  readonly normK: boolean;
  /** Divides the output by the query's share of the sum of keys. */
  readonly normFeatureMap: boolean;
}

function readConfiguration(input: ConfigurationInput): LinearAttentionConfiguration {
  const reader = new ConfigurationReader(input, 'linear_attn');
  const base = readFla(reader, { modelType: 'linear_attn', architecture: 'LinearAttentionForCausalLM' });
  reader.supported('tie_feature_map_qk', false, [false]);
  const numHeads = reader.size('num_heads', 4);
  const numKvHeads = reader.size('num_kv_heads', numHeads);
  reader.divides(numHeads, 'num_kv_heads', numKvHeads);
  const keys = reader.scaled('expand_k', base.hiddenSize * reader.number('expand_k', 1));
  const values = reader.scaled('expand_v', base.hiddenSize * reader.number('expand_v', 1));
  return {
    ...base,
    numHeads,
    numKvHeads,
    keyDim: reader.divides(keys, 'num_heads', numHeads),
    valueDim: reader.divides(values, 'num_heads', numHeads),
    featureMap: reader.supported('feature_map', 'elementwise_product', FEATURE_MAPS),
    normQ: reader.flag('norm_q', false),
    normK: reader.flag('norm_k', false),
    normFeatureMap: reader.flag('norm_feature_map', false),
  };
}

/** A feature map of the last dimension, with parameters where it learns. */
abstract class FeatureMap extends Module {
  /** Width of its result. */
  abstract readonly width: number;
  abstract forward(x: Tensor): Tensor;
}

class ElementwiseProduct extends FeatureMap {
  readonly width: number;
  layer1: Linear;
  layer2: Linear;

  constructor(dim: number, options: TensorOptions) {
    super();
    this.width = dim;
    this.layer1 = new Linear(dim, dim, options);
    this.layer2 = new Linear(dim, dim, options);
  }

  forward(x: Tensor): Tensor {
    return this.layer1.forward(x).mul(this.layer2.forward(x));
  }
}

/** hedgehog: softmax([2 y, -2 y]), y = W x + b; t2r: relu(W x). */
class LearnedFeatures extends FeatureMap {
  readonly width: number;
  layer: Linear;

  constructor(
    readonly name: 'hedgehog' | 't2r',
    dim: number,
    options: TensorOptions,
  ) {
    super();
    this.width = name === 'hedgehog' ? 2 * dim : dim;
    this.layer = new Linear(dim, dim, { bias: name === 'hedgehog', ...options });
  }

  forward(x: Tensor): Tensor {
    const { weight, bias } = this.layer;
    return featureMap(x, { featureMap: this.name, weight, bias: bias ?? undefined });
  }
}

/** Rolled products of the published checkpoints: their second half is negative, unlike the paper's. */
class Dpfp extends FeatureMap {
  static readonly nu = 4;
  readonly width: number;

  constructor(dim: number) {
    super();
    this.width = 2 * dim * Dpfp.nu;
  }

  forward(x: Tensor): Tensor {
    const both = cat([x.relu(), x.neg().relu().neg()], -1);
    const n = both.shape[both.ndim - 1];
    const rolled = (j: number): Tensor => cat([both.slice(-1, n - (j % n)), both.slice(-1, 0, n - (j % n))], -1);
    return cat(
      Array.from({ length: Dpfp.nu }, (_, i) => both.mul(rolled(i + 1))),
      -1,
    );
  }
}
