// Bamba: layers of Mamba-2, some of attention, a feed-forward behind each (IBM et al. 2024; layout of transformers).
import { RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { Attention } from '../common/attention';
import { type BlockParts, PreNormBlock } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { HYBRID_KEYS, type HybridConfiguration, HybridDecoder, type HybridKeys, readHybrid } from './hybrid';
import { Mamba2Mixer } from './mamba2Mixer';

export interface BambaKeys extends HybridKeys<'bamba'> {
  /** Layers of attention, counted from 0; none by default. */
  attnLayerIndices?: readonly number[] | null;
  /** 0 alone: another term of the loss is UNSUPPORTED. */
  zLossCoefficient?: Count;
}

/** What `BambaForCausalLM` reads from its keys, with the defaults filled in. */
export interface BambaConfiguration extends HybridConfiguration {
  /** Layers of attention, counted from 0 (`attn_layer_indices`). */
  readonly attentionLayers: readonly number[];
}

function readConfiguration(input: object): BambaConfiguration {
  const reader = ConfigurationReader.of(input, bambaFamily);
  reader.supported('z_loss_coefficient', 0, [0]);
  const config = readHybrid(reader, bambaFamily, {
    inner: null,
    rotary: { length: 262144, share: 0.5, shareInSection: true },
    outputBias: reader.flag('mamba_proj_bias', false),
    norm: (eps, groups) => ({ eps, groups, beforeGate: false }),
  });
  return { ...config, attentionLayers: reader.layers('attn_layer_indices', config.numHiddenLayers) };
}

class BambaBlock extends PreNormBlock {
  input_layernorm: RMSNorm;
  mamba: Mamba2Mixer | null;
  self_attn: Attention | null;
  pre_ff_layernorm: RMSNorm;
  feed_forward: SwiGLU;

  constructor(config: BambaConfiguration, layer: number, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, normEps, mlpBias, attentionLayers } = config;
    const attends = attentionLayers.includes(layer);
    this.input_layernorm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.mamba = attends ? null : new Mamba2Mixer(config.mamba, options);
    this.self_attn = attends ? new Attention(config.attention, options) : null;
    this.pre_ff_layernorm = new RMSNorm(hiddenSize, { eps: normEps, ...options });
    this.feed_forward = new SwiGLU(hiddenSize, intermediateSize, { bias: mlpBias, ...options });
  }

  protected get parts(): BlockParts {
    return {
      mixerNorm: this.input_layernorm,
      mixer: (this.mamba ?? this.self_attn)!,
      feedForwardNorm: this.pre_ff_layernorm,
      feedForward: this.feed_forward,
    };
  }
}

/**
 * Language model of `Mamba2Mixer` and `Attention` layers under the weight names of transformers' BambaForCausalLM, `model_type`
 * 'bamba'; 32 layers of width 4096 with 128 heads of 64 values and 256 keys by default. Half of a query turns by its position.
 */
export class BambaForCausalLM extends CausalLM<BambaConfiguration> {
  constructor(input: EitherSpelling<BambaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new HybridDecoder(config, (layer) => new BambaBlock(config, layer, options), options), options);
  }
}

export const bambaFamily: ModelDefinition<BambaKeys, 'bamba'> = {
  modelType: 'bamba',
  name: 'bamba',
  architecture: 'BambaForCausalLM',
  description: 'Bamba: layers of Mamba-2, and some of softmax attention (IBM et al. 2024)',
  keys: { ...HYBRID_KEYS, attnLayerIndices: true, zLossCoefficient: true },
  configuration: ({ numHeads, headDim, feedForward, numLayers }) => ({
    numAttentionHeads: numHeads,
    numKeyValueHeads: numHeads,
    intermediateSize: feedForward,
    attnLayerIndices: Array.from({ length: Math.floor((numLayers + 2) / 4) }, (_, i) => 4 * i + 1),
    mambaNHeads: numHeads,
    mambaDState: headDim,
  }),
  model: BambaForCausalLM,
};
