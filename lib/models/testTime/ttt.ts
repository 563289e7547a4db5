// TTT as a language model, under the names of the authors' program (Sun et al. 2024, ttt-lm-pytorch).
import { Embedding, RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { type BlockParts, Decoder, PreNormBlock } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { TttLayer } from './tttLayer';

export interface TttKeys extends CommonKeys<'ttt'> {
  /** Rows of `gate_proj` and `up_proj` in the SwiGLU, 5504 by default. */
  intermediateSize?: Count;
  /** 32 by default. */
  numAttentionHeads?: Count;
  /** 'silu' alone. */
  hiddenAct?: Name<'silu' | 'swish'>;
  /** In every norm, 1e-6 by default. */
  rmsNormEps?: Count;
  /** Base of the rotary positions within a mini-batch, 10000 by default. */
  ropeTheta?: Count;
  /** The inner network, 'linear' by default. */
  tttLayerType?: Name<'linear' | 'mlp'>;
  /** The largest inner learning rate over the width of a head, 1 by default. */
  tttBaseLr?: Count;
  /** Tokens whose gradients are taken at the same weights, 16 by default. */
  miniBatchSize?: Count;
  /** Whether a gate multiplies each layer's output; false by default. */
  useGate?: Flag;
  /** Whether queries and keys are one projection behind convolutions; false by default. */
  shareQk?: Flag;
  /** Tokens that those see, 4 by default. */
  convKernel?: Count;
  /** false alone: a convolution in front of each block is UNSUPPORTED. */
  preConv?: Flag;
  /** These change nothing here. They are saved again. */
  scanCheckpointGroupSize?: Count;
  pretrainingTp?: Count;
}

/** What `TTTForCausalLM` reads from its keys, with the defaults filled in. */
export interface TttConfiguration extends Configuration {
  /** Rows of `gate_proj` and `up_proj` in the SwiGLU (`intermediate_size`, 5504 by default). */
  readonly intermediateSize: number;
  /** A divisor of hiddenSize (`num_attention_heads`, 32 by default); each learns a network of its own. */
  readonly numHeads: number;
  /** Added to the mean square in every RMSNorm (`rms_norm_eps`, 1e-6 by default). */
  readonly rmsNormEps: number;
  /** Base of the rotary positions within a mini-batch (`rope_theta`, 10000 by default). */
  readonly ropeTheta: number;
  /** The inner network (`ttt_layer_type`, 'linear' by default). */
  readonly tttLayerType: 'linear' | 'mlp';
  /** The largest inner rate over the width of a head (`ttt_base_lr`, 1 by default). */
  readonly tttBaseLr: number;
  /** Tokens whose gradients are taken at the same weights (`mini_batch_size`, 16 by default). */
  readonly miniBatchSize: number;
  /** Whether a gate multiplies each layer's output (`use_gate`, false by default). */
  readonly useGate: boolean;
  /** Whether queries and keys are one projection behind convolutions (`share_qk`, false by default). */
  readonly shareQk: boolean;
  /** Tokens that those see (`conv_kernel`, 4 by default). */
  readonly convKernel: number;
}

function readConfiguration(input: object): TttConfiguration {
  const reader = ConfigurationReader.of(input, tttFamily);
  const common = reader.common(tttFamily, { vocabSize: 32000, hiddenSize: 2048, numHiddenLayers: 24 });
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  reader.supported('pre_conv', false, [false]);
  const numHeads = reader.size('num_attention_heads', 32);
  const headDim = reader.divides(common.hiddenSize, 'num_attention_heads', numHeads);
  reader.divides(headDim, 'num_attention_heads', 2);
  return {
    ...common,
    tieWordEmbeddings: reader.flag('tie_word_embeddings', true),
    intermediateSize: reader.size('intermediate_size', 5504),
    numHeads,
    rmsNormEps: reader.number('rms_norm_eps', 1e-6),
    ropeTheta: reader.positive('rope_theta', 10000),
    tttLayerType: reader.choice('ttt_layer_type', 'linear', ['linear', 'mlp']),
    tttBaseLr: reader.number('ttt_base_lr', 1),
    miniBatchSize: reader.size('mini_batch_size', 16),
    useGate: reader.flag('use_gate', false),
    shareQk: reader.flag('share_qk', false),
    convKernel: reader.size('conv_kernel', 4),
  };
}

class TttBlock extends PreNormBlock {
  seq_norm: RMSNorm;
  seq_modeling_block: TttLayer;
  ffn_norm: RMSNorm;
  mlp: SwiGLU;

  constructor(config: TttConfiguration, options: TensorOptions) {
    super();
    const { hiddenSize, numHeads, rmsNormEps } = config;
    const norm = (): RMSNorm => new RMSNorm(hiddenSize, { eps: rmsNormEps, ...options });
    this.seq_norm = norm();
    this.seq_modeling_block = new TttLayer(hiddenSize, numHeads, {
      kind: config.tttLayerType,
      miniBatchSize: config.miniBatchSize,
      baseRate: config.tttBaseLr,
      gate: config.useGate,
      shareQk: config.shareQk,
      convSize: config.convKernel,
      rotaryBase: config.ropeTheta,
      ...options,
    });
    this.ffn_norm = norm();
    this.mlp = new SwiGLU(hiddenSize, config.intermediateSize, options);
  }

  protected get parts(): BlockParts {
    const { seq_norm: mixerNorm, seq_modeling_block: mixer, ffn_norm: feedForwardNorm, mlp: feedForward } = this;
    return { mixerNorm, mixer, feedForwardNorm, feedForward };
  }
}

class TttDecoder extends Decoder {
  embed_tokens: Embedding;
  layers: TttBlock[];
  norm: RMSNorm;

  constructor(config: TttConfiguration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, rmsNormEps } = config;
    this.embed_tokens = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, () => new TttBlock(config, options));
    this.norm = new RMSNorm(hiddenSize, { eps: rmsNormEps, ...options });
  }

  get tokens(): Embedding {
    return this.embed_tokens;
  }
}

/**
 * Language model of `TttLayer`s with the Transformer's blocks ("TTT-Linear (T)"), `model_type` 'ttt', under the weight names of
 * the authors' TTTForCausalLM as they are remembered: of the layer they are held to vectors of that program, of the model
 * around it (`embed_tokens`, `seq_norm`, `seq_modeling_block`, `ffn_norm`, `mlp`, `norm`) no checkpoint was at hand. 24 layers of
 * width 2048 with 32 heads by default.
 */
export class TTTForCausalLM extends CausalLM<TttConfiguration> {
  constructor(input: EitherSpelling<TttKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new TttDecoder(config, options), options);
  }
}

export const tttFamily: ModelDefinition<TttKeys, 'ttt-linear'> = {
  modelType: 'ttt',
  name: 'ttt-linear',
  architecture: 'TTTForCausalLM',
  description: 'TTT: the state is a linear model that learns at test time (Sun et al. 2024)',
  keys: {
    intermediateSize: true,
    numAttentionHeads: true,
    hiddenAct: true,
    rmsNormEps: true,
    ropeTheta: true,
    tttLayerType: true,
    tttBaseLr: true,
    miniBatchSize: true,
    useGate: 'flag',
    shareQk: 'flag',
    convKernel: true,
    preConv: 'flag',
    scanCheckpointGroupSize: true,
    pretrainingTp: true,
  },
  configuration: ({ numHeads, feedForward }) => ({ numAttentionHeads: numHeads, intermediateSize: feedForward }),
  model: TTTForCausalLM,
};
