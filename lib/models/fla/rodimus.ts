// Rodimus and Rodimus+ as language models, in the layout of flash-linear-attention (He et al. 2024).
import { argumentError, type OptionNames } from '../../core';
import { drawsWeights, Embedding, RMSNorm } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { Decoder, type Layer } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { rotaryFrequencies } from '../common/rotation';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { RodimusAttention } from './rodimusAttention';
import { RodimusBlock, RodimusPlusBlock, type RodimusShape } from './rodimusBlocks';
import { FlaBlock, QK_NORM_EPS, readAttention } from './skeleton';

/** Softmax attention of Rodimus+, whose heads have one key in common. */
export interface SharedKeyAttentionKeys {
  /** A divisor of the hidden size. */
  numHeads: number;
  /** Bias of the projections of q, k and v, false by default. */
  qkvBias?: Flag;
  /** RMSNorm of queries and keys, false by default. */
  qkNorm?: Flag;
  /** Tokens that a token sees, itself among them; 1024 by default. */
  windowSize?: Count;
  /** 10000 by default. */
  ropeTheta?: Count;
}

const SHARED_KEYS: OptionNames<SharedKeyAttentionKeys> = {
  numHeads: true,
  qkvBias: 'flag',
  qkNorm: 'flag',
  windowSize: true,
  ropeTheta: true,
};

export interface RodimusKeys extends FlaKeys<'rodimus'>, ConvolutionKeys {
  /** 'rodimus_plus', the default: attention and a feed-forward behind each mixer; 'rodimus': mixers alone. */
  blockType?: Name<'rodimus' | 'rodimus_plus'>;
  /** Needed by 'rodimus_plus', and without effect in 'rodimus'. */
  skaAttn?: EitherSpelling<SharedKeyAttentionKeys> | null;
  /** Width of the keys, 64 by default. */
  expandRatio?: Count;
  /** Width inside the gate of the values; 'auto' and null: hiddenSize / 64, 16 at least. */
  inputGateLowRank?: number | 'auto' | null;
  /** The least norm that a key is divided by: 1e-12, and nothing else. */
  kNormEps?: Count;
  /** Changes nothing here: sums of the residual have the dtype of the weights. It is saved again. */
  residualInFp32?: Flag;
  /** Changes nothing here, likewise; flash-linear-attention 0.6.0 runs only where both are equal. It is saved again. */
  blockResidualInFp32?: Flag;
}

/** What `RodimusForCausalLM` reads from its keys, with the defaults filled in. */
export interface RodimusConfiguration extends RodimusShape {
  /** Behind each mixer of Rodimus+ (`ska_attn`); null where `block_type` is 'rodimus'. */
  readonly sharedKey: AttentionShape | null;
}

function readSharedKey(reader: ConfigurationReader, { hiddenSize }: Configuration): AttentionShape {
  const spec = reader.section('ska_attn', SHARED_KEYS);
  if (!spec) {
    const expected = "an object, since block_type is 'rodimus_plus'";
    throw argumentError('INVALID_ARGUMENT', rodimusFamily.modelType, 'ska_attn', expected, 'none');
  }
  const numHeads = spec.size('num_heads');
  const headDim = spec.divides(hiddenSize, 'num_heads', numHeads);
  return {
    hiddenSize,
    numHeads,
    numKvHeads: numHeads,
    sharedKey: true,
    headDim,
    qkvBias: spec.flag('qkv_bias', false),
    outputBias: false,
    window: spec.size('window_size', 1024),
    frequencies: rotaryFrequencies(spec.positive('rope_theta', 10000), 2 * Math.floor(headDim / 2)),
    qkNorm: spec.flag('qk_norm', false) ? { over: 'head', eps: QK_NORM_EPS, zeroCentred: false } : null,
  };
}

function readConfiguration(input: object): RodimusConfiguration {
  const reader = ConfigurationReader.of(input, rodimusFamily);
  const common = reader.common(rodimusFamily, { vocabSize: 126464, hiddenSize: 2048, numHiddenLayers: 24 });
  const { hiddenSize } = common;
  reader.supported('hidden_act', 'swish', ['swish', 'silu']);
  reader.supported('k_norm_eps', 1e-12, [1e-12]);
  const ratio = reader.positive('hidden_ratio', 4 / 3);
  const plus = reader.choice('block_type', 'rodimus_plus', ['rodimus', 'rodimus_plus']) === 'rodimus_plus';
  return {
    ...common,
    tieWordEmbeddings: reader.flag('tie_word_embeddings', true),
    intermediateSize: reader.size('intermediate_size', 8 * Math.ceil(Math.floor(ratio * hiddenSize) / 8)),
    normEps: reader.number('norm_eps', 1e-5),
    attention: readAttention(reader, common),
    keyDim: reader.size('expand_ratio', 64),
    gateRank: reader.autoSize('input_gate_low_rank') ?? Math.max(hiddenSize >> 6, 16),
    convSize: reader.flag('use_short_conv', true) ? reader.size('conv_size', 4) : null,
    sharedKey: plus ? readSharedKey(reader, common) : null,
  };
}

class RodimusDecoder extends Decoder {
  embeddings: Embedding;
  layers: Layer[];
  norm: RMSNorm;

  constructor(config: RodimusConfiguration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, normEps, attention, sharedKey } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, (_, i) => {
      const shape = attention.get(i);
      if (shape) return new FlaBlock(config, new Attention(shape, options), options);
      return sharedKey ? new RodimusPlusBlock(config, sharedKey, options) : new RodimusBlock(config, options);
    });
    this.norm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
  }

  get tokens(): Embedding {
    return this.embeddings;
  }
}

/**
 * Language model of `RodimusAttention` layers under the weight names of flash-linear-attention's RodimusForCausalLM, `model_type`
 * 'rodimus'; 24 layers of width 2048 by default, embedding and head one tensor. Rodimus+ adds attention over a window, which keeps
 * one key per token for all of its heads. `createModel` makes Rodimus without it.
 */
export class RodimusForCausalLM extends CausalLM<RodimusConfiguration> {
  constructor(input: EitherSpelling<RodimusKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new RodimusDecoder(config, options), options);
    if (!drawsWeights()) return;
    for (const [, module] of this.namedModules()) if (module instanceof RodimusAttention) module.initialize();
  }
}

export const rodimusFamily: ModelDefinition<RodimusKeys, 'rodimus'> = {
  modelType: 'rodimus',
  name: 'rodimus',
  architecture: 'RodimusForCausalLM',
  description: 'Rodimus: a decay and a write that share one gate (He et al. 2024)',
  keys: {
    ...FLA_KEYS,
    ...CONVOLUTION_KEYS,
    blockType: true,
    skaAttn: true,
    expandRatio: true,
    inputGateLowRank: true,
    kNormEps: true,
    residualInFp32: 'flag',
    blockResidualInFp32: 'flag',
  },
  configuration: ({ feedForward }) => ({
    blockType: 'rodimus',
    intermediateSize: feedForward,
    blockResidualInFp32: true,
  }),
  model: RodimusForCausalLM,
};
