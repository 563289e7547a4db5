// What Qwen3-Next and Qwen3.5 share: keys, and blocks of linear or gated softmax attention.
import type { OptionNames } from '../../core';
import { SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { type BlockParts, PreNormBlock } from '../common/block';
import type { Configuration, ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count } from '../common/keys';
import type { MixtureOfExperts } from '../common/mixtureOfExperts';
import type { FilledSizes, ModelDefinition } from '../common/registry';
import { readRotation } from '../common/rotary';
import { ZeroCentredRMSNorm } from '../common/zeroCentredNorm';
import {
  type AttentionDefaults,
  everyNth,
  HYBRID_KEYS,
  type HybridConfiguration,
  type HybridKeys,
  readAttentionShape,
  readLayerTypes,
} from './configuration';
import { type QwenDeltaNet, type QwenLinearKeys, type QwenLinearShape, readLinearShape } from './qwenDeltaNet';
import { type QwenExperts, QwenMixture } from './qwenExperts';

/** Keys of all of them. */
export interface QwenKeys<T extends string = string> extends HybridKeys<T>, QwenLinearKeys {
  /** Without `layerTypes` every so many-th layer is softmax attention, 4 by default. */
  fullAttentionInterval?: Count;
}

export const QWEN_KEYS: OptionNames<Omit<QwenKeys, keyof CommonKeys>> = {
  ...HYBRID_KEYS,
  linearConvKernelDim: true,
  linearKeyHeadDim: true,
  linearValueHeadDim: true,
  linearNumKeyHeads: true,
  linearNumValueHeads: true,
  fullAttentionInterval: true,
};

/** What the models of Qwen read from their keys, with the defaults filled in. */
export interface QwenConfiguration extends HybridConfiguration {
  /** Of the layers of softmax attention. */
  readonly attention: AttentionShape;
  /** Of the layers of linear attention. */
  readonly linear: QwenLinearShape;
  /** Of each layer; null where it has a feed-forward of `intermediateSize`. */
  readonly experts: readonly (QwenExperts | null)[];
}

/** What differs between them. */
interface QwenDefaults extends AttentionDefaults {
  vocabSize: number;
  hiddenSize: number;
  numHiddenLayers: number;
  intermediateSize: number;
}

export function readQwen(
  reader: ConfigurationReader,
  family: ModelDefinition,
  defaults: QwenDefaults,
  expertsOf: (common: Configuration) => (layer: number) => QwenExperts | null,
): QwenConfiguration {
  const common = reader.common(family, defaults);
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  reader.supported('attn_output_gate', true, [true]);
  const { hiddenSize, numHiddenLayers } = common;
  const experts = expertsOf(common);
  const rmsNormEps = reader.number('rms_norm_eps', 1e-6);
  return {
    ...common,
    layerTypes: readLayerTypes(reader, numHiddenLayers, everyNth(reader.size('full_attention_interval', 4))),
    intermediateSize: reader.size('intermediate_size', defaults.intermediateSize),
    rmsNormEps,
    attention: readAttentionShape(reader, hiddenSize, defaults, {
      rotation: (headDim) => readRotation(reader, headDim, { length: 32768, share: 0.25 }),
      qkNorm: { over: 'head', eps: rmsNormEps, zeroCentred: true },
      outputGate: true,
    }),
    linear: readLinearShape(reader, hiddenSize, rmsNormEps),
    experts: Array.from({ length: numHiddenLayers }, (_, layer) => experts(layer)),
  };
}

/** Zero-centred norms in front of linear or softmax attention, and of a feed-forward or experts. */
export class QwenBlock extends PreNormBlock {
  /** weight [hiddenSize] */
  input_layernorm: ZeroCentredRMSNorm;
  /** null in layers of softmax attention. */
  linear_attn: QwenDeltaNet | null;
  /** null in layers of linear attention. */
  self_attn: Attention | null;
  /** weight [hiddenSize] */
  post_attention_layernorm: ZeroCentredRMSNorm;
  /** Experts where the configuration has some for this layer. */
  mlp: SwiGLU | MixtureOfExperts;

  constructor(config: QwenConfiguration, layer: number, makeLinear: () => QwenDeltaNet, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, rmsNormEps: eps } = config;
    const linear = config.layerTypes[layer] === 'linear_attention';
    const experts = config.experts[layer];
    this.input_layernorm = new ZeroCentredRMSNorm(hiddenSize, { eps, ...options });
    this.linear_attn = linear ? makeLinear() : null;
    this.self_attn = linear ? null : new Attention(config.attention, options);
    this.post_attention_layernorm = new ZeroCentredRMSNorm(hiddenSize, { eps, ...options });
    this.mlp = experts ? new QwenMixture(config, experts, options) : new SwiGLU(hiddenSize, intermediateSize, options);
  }

  protected get parts(): BlockParts {
    return {
      mixerNorm: this.input_layernorm,
      mixer: (this.linear_attn ?? this.self_attn)!,
      feedForwardNorm: this.post_attention_layernorm,
      feedForward: this.mlp,
    };
  }
}

/** What `createModel` makes of its sizes: the last of up to four layers is softmax attention. */
export function qwenSizes({
  numLayers,
  numHeads,
  headDim,
  feedForward,
}: FilledSizes): Partial<Omit<QwenKeys, keyof CommonKeys>> {
  return {
    fullAttentionInterval: Math.min(4, numLayers),
    numAttentionHeads: numHeads,
    numKeyValueHeads: numHeads,
    headDim,
    intermediateSize: feedForward,
    linearNumKeyHeads: numHeads,
    linearNumValueHeads: numHeads,
    linearKeyHeadDim: headDim,
    linearValueHeadDim: headDim,
  };
}
