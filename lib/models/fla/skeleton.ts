// The skeleton that the models of flash-linear-attention share: names, configuration, hybrid attention layers.
import { argumentError, checkInstance, checkObject } from '../../core';
import { Embedding, RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { type BlockParts, Decoder, PreNormBlock } from '../common/block';
import { type Configuration, ConfigurationReader } from '../common/configuration';
import { ATTENTION_KEYS } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import type { Recurrent } from '../common/mixer';
import { rotaryFrequencies } from '../common/rotation';

/** What the configurations of flash-linear-attention have in common, as `readFla` reads it. */
export interface FlaConfiguration extends Configuration {
  /**
   * Rows of `gate_proj` and `up_proj` in the SwiGLU of each block (`intermediate_size`; without it, from
   * `hidden_ratio`).
   */
  readonly intermediateSize: number;
  /** Added to the mean square in every RMSNorm (`norm_eps`, 1e-6 by default). */
  readonly normEps: number;
  /** Softmax attention in place of the mixer, by layer. */
  readonly attention: ReadonlyMap<number, AttentionShape>;
}

/** Added to the mean square by the norms of outputs in HGRN2 and GSA, whatever `norm_eps` is. */
export const OUTPUT_NORM_EPS = 1e-5;

/** Added to the mean square by norms of queries and keys, likewise. */
export const QK_NORM_EPS = 1e-5;

/** To a multiple of 256, as the feed-forward is where its width is left open. */
export function roundUp(width: number): number {
  return 256 * Math.ceil(width / 256);
}

/** Width of the feed-forward when the configuration leaves it open. */
export function defaultIntermediate(hiddenSize: number, ratio: number): number {
  return roundUp(Math.floor((hiddenSize * ratio * 2) / 3));
}

/** The same, of the ratio that `hidden_ratio` gave; INVALID_ARGUMENT where that leaves none, or more than 2 ** 20. */
export function ratedIntermediate(reader: ConfigurationReader, hiddenSize: number, ratio: number): number {
  return reader.scaled('hidden_ratio', defaultIntermediate(hiddenSize, ratio));
}

/** One layer of softmax attention; without a default its heads must be given. */
export function readAttentionShape(
  spec: ConfigurationReader,
  hiddenSize: number,
  defaultHeads?: number,
): AttentionShape {
  const numHeads = spec.size('num_heads', defaultHeads);
  const numKvHeads = spec.size('num_kv_heads', numHeads);
  spec.divides(numHeads, 'num_kv_heads', numKvHeads);
  const headDim = spec.divides(hiddenSize, 'num_heads', numHeads);
  return {
    hiddenSize,
    numHeads,
    numKvHeads,
    headDim,
    qkvBias: spec.flag('qkv_bias', false),
    outputBias: false,
    window: spec.optionalSize('window_size'),
    frequencies: rotaryFrequencies(spec.positive('rope_theta', 10000), 2 * Math.floor(headDim / 2)),
  };
}

/** Which layers are softmax attention. */
export function readAttention(reader: ConfigurationReader, config: Configuration): Map<number, AttentionShape> {
  const shapes = new Map<number, AttentionShape>();
  for (const spec of reader.sections('attn', ATTENTION_KEYS)) {
    const shape = readAttentionShape(spec, config.hiddenSize);
    for (const layer of spec.layers('layers', config.numHiddenLayers)) {
      if (!shapes.has(layer)) shapes.set(layer, shape);
      else throw argumentError('INVALID_ARGUMENT', config.modelType, 'attn', 'layers once each', `${layer} twice`);
    }
  }
  return shapes;
}

/** The keys that all of these models have; hidden ratio and layers where their keys are missing. */
export function readFla(
  reader: ConfigurationReader,
  family: ModelDefinition,
  hiddenRatio = 4,
  numHiddenLayers = 24,
): FlaConfiguration {
  checkInstance('readFla', 'reader', reader, ConfigurationReader);
  checkObject('readFla', 'family', family);
  const common = reader.common(family, { vocabSize: 32000, hiddenSize: 2048, numHiddenLayers });
  reader.supported('attnres_block_size', null, [null]);
  reader.supported('hidden_act', 'swish', ['swish', 'silu']);
  reader.supported('elementwise_affine', true, [true]);
  const ratio = reader.positive('hidden_ratio', hiddenRatio);
  return {
    ...common,
    intermediateSize: reader.optionalSize('intermediate_size') ?? ratedIntermediate(reader, common.hiddenSize, ratio),
    normEps: reader.number('norm_eps', 1e-6),
    attention: readAttention(reader, common),
  };
}

/** Heads of a layer whose widths are shares of the hidden size. */
export interface HeadSizes {
  readonly numHeads: number;
  /** A divisor of numHeads; each serves consecutive heads. */
  readonly numKvHeads: number;
  /** K and V, per head. */
  readonly keyDim: number;
  readonly valueDim: number;
}

/**
 * Reads `num_heads` (4 where `defaults` has none), `num_kv_heads`, `expand_k` and `expand_v`; a head's keys are hiddenSize *
 * expand_k / num_heads wide, its values likewise. INVALID_ARGUMENT where that is not whole, or num_kv_heads no divisor of
 * num_heads.
 */
export function readHeads(
  reader: ConfigurationReader,
  hiddenSize: number,
  defaults: { expandK: number; expandV: number; numHeads?: number },
): HeadSizes {
  checkInstance('readHeads', 'reader', reader, ConfigurationReader);
  checkObject('readHeads', 'defaults', defaults);
  const numHeads = reader.size('num_heads', defaults.numHeads ?? 4);
  const numKvHeads = reader.size('num_kv_heads', numHeads);
  reader.divides(numHeads, 'num_kv_heads', numKvHeads);
  const width = (key: string, fallback: number): number => {
    const total = reader.scaled(key, hiddenSize * reader.number(key, fallback));
    return reader.divides(total, 'num_heads', numHeads);
  };
  return {
    numHeads,
    numKvHeads,
    keyDim: width('expand_k', defaults.expandK),
    valueDim: width('expand_v', defaults.expandV),
  };
}

/** An RMSNorm, the mixer, an RMSNorm and a SwiGLU, under the names of flash-linear-attention. */
export class FlaBlock extends PreNormBlock {
  attn_norm: RMSNorm;
  attn: Recurrent;
  mlp_norm: RMSNorm;
  mlp: SwiGLU;

  constructor({ hiddenSize, intermediateSize, normEps }: FlaConfiguration, mixer: Recurrent, options: TensorOptions) {
    super();
    this.attn_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.attn = mixer;
    this.mlp_norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mlp = new SwiGLU(hiddenSize, intermediateSize, options);
  }

  protected get parts(): BlockParts {
    return { mixerNorm: this.attn_norm, mixer: this.attn, feedForwardNorm: this.mlp_norm, feedForward: this.mlp };
  }
}

/**
 * Embedding, pre-norm blocks and final norm under the names of flash-linear-attention; `makeMixer` is called with the
 * number of each layer that `config.attention` does not give to softmax attention.
 */
export class FlaDecoder extends Decoder {
  /** Vectors of the tokens, weight [vocabSize, hiddenSize]. */
  embeddings: Embedding;
  /** Each with an RMSNorm `attn_norm`, the mixer `attn`, an RMSNorm `mlp_norm` and a SwiGLU `mlp`. */
  layers: FlaBlock[];
  /** Behind the last block, weight [hiddenSize]. */
  norm: RMSNorm;

  constructor(config: FlaConfiguration, makeMixer: (layer: number) => Recurrent, options: TensorOptions) {
    super();
    checkObject(new.target.name, 'config', config);
    const { vocabSize, hiddenSize, numHiddenLayers, normEps, attention } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, (_, i) => {
      const shape = attention.get(i);
      return new FlaBlock(config, shape ? new Attention(shape, options) : makeMixer(i), options);
    });
    this.norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }
}
