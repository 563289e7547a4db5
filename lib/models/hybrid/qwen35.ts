// Qwen3.5: the layers of Qwen3-Next over projections of their own, dense or with experts (Qwen 2026).
import type { Tensor } from '../../core';
import { Linear } from '../../nn';
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling } from '../common/keys';
import { splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { ZeroCentredRMSNorm } from '../common/zeroCentredNorm';
import { HybridDecoder } from './decoder';
import { QWEN_KEYS, QwenBlock, type QwenConfiguration, type QwenKeys, qwenSizes, readQwen } from './qwen';
import { QwenDeltaNet, type QwenLinearShape, type QwenProjections } from './qwenDeltaNet';
import {
  expertsLayoutOf,
  QWEN_EXPERT_KEYS,
  type QwenExpertKeys,
  qwenExpertSizes,
  readQwenExperts,
} from './qwenExperts';

/** The dense models. */
export type Qwen35Keys = QwenKeys<'qwen3_5_text'>;
/** Those with experts. */
export interface Qwen35MoeKeys extends QwenKeys<'qwen3_5_moe_text'>, QwenExpertKeys {}

const HEADS = { numHeads: 16, headDim: 256 };

function readDense(input: object): QwenConfiguration {
  const reader = ConfigurationReader.of(input, qwen35Family);
  const sizes = { vocabSize: 248320, hiddenSize: 4096, numHiddenLayers: 32, intermediateSize: 12288 };
  return readQwen(reader, qwen35Family, { ...sizes, ...HEADS, numKvHeads: 4 }, () => () => null);
}

function readSparse(input: object): QwenConfiguration {
  const reader = ConfigurationReader.of(input, qwen35MoeFamily);
  const sizes = { vocabSize: 248320, hiddenSize: 2048, numHiddenLayers: 40, intermediateSize: 5632 };
  const experts = readQwenExperts(reader, { count: 256, perToken: 8, layout: 'stacked' }, true);
  return readQwen(reader, qwen35MoeFamily, { ...sizes, ...HEADS, numKvHeads: 2 }, () => () => experts);
}

/** A weight for each projection. */
class PlainDeltaNet extends QwenDeltaNet {
  in_proj_qkv: Linear;
  in_proj_z: Linear;
  in_proj_b: Linear;
  in_proj_a: Linear;

  constructor(shape: QwenLinearShape, options: TensorOptions) {
    super(shape, options);
    const { hiddenSize, keyHeads, keyDim, valueHeads, valueDim } = shape;
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    this.in_proj_qkv = linear(2 * keyHeads * keyDim + valueHeads * valueDim);
    this.in_proj_z = linear(valueHeads * valueDim);
    this.in_proj_b = linear(valueHeads);
    this.in_proj_a = linear(valueHeads);
  }

  protected project(x: Tensor): QwenProjections {
    return {
      qkv: this.in_proj_qkv.forward(x),
      z: splitHeads(this.in_proj_z.forward(x), this.shape.valueHeads),
      b: this.in_proj_b.forward(x),
      a: this.in_proj_a.forward(x),
    };
  }
}

function decoderOf(config: QwenConfiguration, options: TensorOptions): HybridDecoder {
  const makeLinear = (): QwenDeltaNet => new PlainDeltaNet(config.linear, options);
  const { hiddenSize, rmsNormEps: eps } = config;
  return new HybridDecoder(
    config,
    (layer) => new QwenBlock(config, layer, makeLinear, options),
    () => new ZeroCentredRMSNorm(hiddenSize, { eps, ...options }),
    options,
  );
}

/**
 * Qwen3.5 without experts under the weight names of transformers' Qwen3_5ForCausalLM, `model_type` 'qwen3_5_text'; 32 layers of
 * width 4096 by default. Of the folder of a multimodal model its language model is read.
 */
export class Qwen3_5ForCausalLM extends CausalLM<QwenConfiguration> {
  constructor(input: EitherSpelling<Qwen35Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readDense(input);
    super(config, decoderOf(config, options), options);
  }
}

/**
 * Qwen3.5 with experts under the weight names of transformers' Qwen3_5MoeForCausalLM, `model_type` 'qwen3_5_moe_text'; 40
 * layers of width 2048 with 256 experts by default.
 */
export class Qwen3_5MoeForCausalLM extends CausalLM<QwenConfiguration> {
  constructor(input: EitherSpelling<Qwen35MoeKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readSparse(input);
    super(config, decoderOf(config, options), options);
  }
}

export const qwen35Family: ModelDefinition<Qwen35Keys, 'qwen3.5'> = {
  modelType: 'qwen3_5_text',
  name: 'qwen3.5',
  architecture: 'Qwen3_5ForCausalLM',
  description: 'Qwen3.5: Gated DeltaNet and gated softmax attention (Qwen 2026)',
  keys: QWEN_KEYS,
  configuration: qwenSizes,
  ignored: /^mtp\./,
  model: Qwen3_5ForCausalLM,
};

export const qwen35MoeFamily: ModelDefinition<Qwen35MoeKeys, 'qwen3.5-moe'> = {
  modelType: 'qwen3_5_moe_text',
  name: 'qwen3.5-moe',
  architecture: 'Qwen3_5MoeForCausalLM',
  description: 'Qwen3.5 with sparse experts (Qwen 2026)',
  keys: { ...QWEN_KEYS, ...QWEN_EXPERT_KEYS },
  configuration: (sizes) => ({ ...qwenSizes(sizes), ...qwenExpertSizes(sizes) }),
  fromWeights: expertsLayoutOf,
  ignored: /^mtp\./,
  model: Qwen3_5MoeForCausalLM,
};
