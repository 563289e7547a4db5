// What RWKV-6 and RWKV-7 share in the layout of flash-linear-attention: configuration, names, backbone.
import type { OptionNames } from '../../core';
import { Embedding, LayerNorm } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Decoder } from '../common/block';
import type { Configuration, ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, Flag, Name } from '../common/keys';
import type { Recurrent } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import type { FlaKeys } from '../fla/keys';
import { type ChannelMix, RwkvBlock, type RwkvParts } from './block';

type Shared =
  | 'intermediateSize'
  | 'attn'
  | 'attnresBlockSize'
  | 'attnMode'
  | 'fuseCrossEntropy'
  | 'fuseLinearCrossEntropy'
  | 'useL2warp';

/** Keys of both. */
export interface RwkvKeys<T extends string = string> extends CommonKeys<T>, Pick<FlaKeys<T>, Shared> {
  /**
   * Without `intermediateSize` the feed-forward is hiddenRatio times the hidden size wide, rounded up to a multiple of 32;
   * by default 4, in RWKV-6 3.5.
   */
  hiddenRatio?: Count;
  /** The square of relu alone. */
  hiddenAct?: Name<'sqrelu'>;
  /** Added to the variance in every LayerNorm, 1e-5 by default. */
  normEps?: Count;
  /** Whether there is a LayerNorm between the embedding and the first block, true by default. */
  normFirst?: Flag;
  /** Whether the LayerNorms have biases, true by default. */
  normBias?: Flag;
  /** In RWKV-7 the epsilon of the norm of the keys depends on it; in RWKV-6 it changes nothing. true by default. */
  fuseNorm?: Flag;
}

export const RWKV_KEYS: OptionNames<Omit<RwkvKeys, keyof CommonKeys>> = {
  intermediateSize: true,
  hiddenRatio: true,
  hiddenAct: true,
  normEps: true,
  normFirst: 'flag',
  normBias: 'flag',
  attn: true,
  attnresBlockSize: true,
  attnMode: true,
  fuseNorm: 'flag',
  fuseCrossEntropy: 'flag',
  fuseLinearCrossEntropy: 'flag',
  useL2warp: 'flag',
};

/** What `readRwkv` reads from them. */
export interface RwkvConfiguration extends Configuration {
  /** Rows of `ffn.key` (`intermediate_size`; without it, from `hidden_ratio`). */
  readonly intermediateSize: number;
  /** Added to the variance in every LayerNorm (`norm_eps`, 1e-5 by default). */
  readonly normEps: number;
  /** Whether there is a LayerNorm in front of the first block (`norm_first`, true by default). */
  readonly normFirst: boolean;
  /** Whether LayerNorms have biases (`norm_bias`, true by default). */
  readonly normBias: boolean;
}

export function readRwkv(reader: ConfigurationReader, family: ModelDefinition, hiddenRatio: number): RwkvConfiguration {
  const common = reader.common(family, { vocabSize: 32000, hiddenSize: 2048, numHiddenLayers: 24 });
  reader.supported('hidden_act', 'sqrelu', ['sqrelu']);
  reader.supported('attnres_block_size', null, [null]);
  const width = Math.floor(common.hiddenSize * reader.positive('hidden_ratio', hiddenRatio));
  return {
    ...common,
    intermediateSize: reader.size('intermediate_size', 32 * Math.ceil(width / 32)),
    normEps: reader.number('norm_eps', 1e-5),
    normFirst: reader.flag('norm_first', true),
    normBias: reader.flag('norm_bias', true),
  };
}

class FlaRwkvBlock extends RwkvBlock {
  pre_norm: LayerNorm | null;
  attn_norm: LayerNorm;
  attn: Recurrent;
  ffn_norm: LayerNorm;
  ffn: ChannelMix;

  constructor(
    config: RwkvConfiguration,
    layer: number,
    mixer: Recurrent,
    feedForward: ChannelMix,
    options: TensorOptions,
  ) {
    super();
    const { hiddenSize, normEps: eps, normFirst, normBias: bias } = config;
    const norm = (): LayerNorm => new LayerNorm(hiddenSize, { eps, bias, ...options });
    this.pre_norm = normFirst && layer === 0 ? norm() : null;
    this.attn_norm = norm();
    this.attn = mixer;
    this.ffn_norm = norm();
    this.ffn = feedForward;
  }

  protected get parts(): RwkvParts {
    const { pre_norm: first, attn_norm: mixerNorm, attn: mixer, ffn_norm: feedForwardNorm, ffn: feedForward } = this;
    return { first, mixerNorm, mixer, feedForwardNorm, feedForward };
  }
}

/** Embedding, blocks and final LayerNorm; mixer and feed-forward are made for every layer, counted from 0. */
export class FlaRwkvDecoder extends Decoder {
  /** Vectors of the tokens, weight [vocabSize, hiddenSize]. */
  embeddings: Embedding;
  /** Each with LayerNorms `attn_norm` and `ffn_norm`, the mixer `attn` and a feed-forward `ffn`; the first with a `pre_norm`. */
  layers: FlaRwkvBlock[];
  /** Behind the last block, weight and bias [hiddenSize]. */
  norm: LayerNorm;

  constructor(
    config: RwkvConfiguration,
    make: { mixer: (layer: number) => Recurrent; feedForward: (layer: number) => ChannelMix },
    options: TensorOptions,
  ) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, normEps: eps, normBias: bias } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from(
      { length: numHiddenLayers },
      (_, i) => new FlaRwkvBlock(config, i, make.mixer(i), make.feedForward(i), options),
    );
    this.norm = new LayerNorm(hiddenSize, { eps, bias, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }
}
