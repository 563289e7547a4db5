// Llama: the softmax-attention baseline, in the layout of transformers.
import { Embedding, RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { type BlockParts, Decoder, PreNormBlock } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag, Name, RopeKeys } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { readRotation } from '../common/rotary';

export interface LlamaKeys extends CommonKeys<'llama'> {
  intermediateSize?: Count;
  hiddenAct?: Name<'swish' | 'silu'>;
  rmsNormEps?: Count;
  numAttentionHeads?: Count;
  numKeyValueHeads?: Count;
  headDim?: Count;
  attentionBias?: Flag;
  mlpBias?: Flag;
  ropeTheta?: Count;
  partialRotaryFactor?: Count;
  ropeParameters?: EitherSpelling<RopeKeys> | null;
  ropeScaling?: EitherSpelling<RopeKeys> | null;
  attentionDropout?: Count;
  pretrainingTp?: Count;
}

/** What `LlamaForCausalLM` reads from its keys, with the defaults filled in. */
export interface LlamaConfiguration extends Configuration {
  /** Rows of `gate_proj` and `up_proj` in the SwiGLU of each block (`intermediate_size`, 11008 by default). */
  readonly intermediateSize: number;
  /** Added to the mean square in every RMSNorm (`rms_norm_eps`, 1e-6 by default). */
  readonly rmsNormEps: number;
  /** Whether the three projections of the SwiGLU have biases (`mlp_bias`, false by default). */
  readonly mlpBias: boolean;
  /** The same in every layer; without a window, `attention_bias` gives all four projections biases. */
  readonly attention: AttentionShape;
}

function readConfiguration(input: object): LlamaConfiguration {
  const reader = ConfigurationReader.of(input, llamaFamily);
  const common = reader.common(llamaFamily, { vocabSize: 32000, hiddenSize: 4096, numHiddenLayers: 32 });
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  const { hiddenSize } = common;
  const numHeads = reader.size('num_attention_heads', 32);
  const numKvHeads = reader.keyValueHeads(numHeads);
  const headDim = reader.optionalSize('head_dim') ?? reader.divides(hiddenSize, 'num_attention_heads', numHeads);
  const bias = reader.flag('attention_bias', false);
  return {
    ...common,
    intermediateSize: reader.size('intermediate_size', 11008),
    rmsNormEps: reader.number('rms_norm_eps', 1e-6),
    mlpBias: reader.flag('mlp_bias', false),
    attention: {
      hiddenSize,
      numHeads,
      numKvHeads,
      headDim,
      qkvBias: bias,
      outputBias: bias,
      window: null,
      ...readRotation(reader, headDim, { length: 2048 }),
    },
  };
}

class LlamaBlock extends PreNormBlock {
  input_layernorm: RMSNorm;
  self_attn: Attention;
  post_attention_layernorm: RMSNorm;
  mlp: SwiGLU;

  constructor(config: LlamaConfiguration, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, rmsNormEps, mlpBias, attention } = config;
    this.input_layernorm = new RMSNorm(hiddenSize, { eps: rmsNormEps, ...options });
    this.self_attn = new Attention(attention, options);
    this.post_attention_layernorm = new RMSNorm(hiddenSize, { eps: rmsNormEps, ...options });
    this.mlp = new SwiGLU(hiddenSize, intermediateSize, { bias: mlpBias, ...options });
  }

  protected get parts(): BlockParts {
    return {
      mixerNorm: this.input_layernorm,
      mixer: this.self_attn,
      feedForwardNorm: this.post_attention_layernorm,
      feedForward: this.mlp,
    };
  }
}

class LlamaDecoder extends Decoder {
  embed_tokens: Embedding;
  layers: LlamaBlock[];
  norm: RMSNorm;

  constructor(config: LlamaConfiguration, options: TensorOptions) {
    super();
    const { vocabSize, hiddenSize, numHiddenLayers, rmsNormEps } = config;
    this.embed_tokens = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, () => new LlamaBlock(config, options));
    this.norm = new RMSNorm(hiddenSize, { eps: rmsNormEps, ...options });
  }

  get tokens(): Embedding {
    return this.embed_tokens;
  }
}

/**
 * The softmax-attention baseline under the weight names of transformers' LlamaForCausalLM. A configuration that leaves
 * sizes open gets 32 layers of width 4096 with 32 heads; rotary scaling is any that transformers has (`ropeParameters`).
 */
export class LlamaForCausalLM extends CausalLM<LlamaConfiguration> {
  constructor(input: EitherSpelling<LlamaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new LlamaDecoder(config, options), options);
  }
}

export const llamaFamily: ModelDefinition<LlamaKeys, 'transformer'> = {
  modelType: 'llama',
  name: 'transformer',
  architecture: 'LlamaForCausalLM',
  description: 'softmax attention with rotary positions, in the layout of Llama',
  keys: {
    intermediateSize: true,
    hiddenAct: true,
    rmsNormEps: true,
    numAttentionHeads: true,
    numKeyValueHeads: true,
    headDim: true,
    attentionBias: 'flag',
    mlpBias: 'flag',
    ropeTheta: true,
    partialRotaryFactor: true,
    ropeParameters: true,
    ropeScaling: true,
    attentionDropout: true,
    pretrainingTp: true,
  },
  configuration: ({ numHeads, feedForward }) => ({
    numAttentionHeads: numHeads,
    numKeyValueHeads: numHeads,
    intermediateSize: feedForward,
  }),
  model: LlamaForCausalLM,
};
