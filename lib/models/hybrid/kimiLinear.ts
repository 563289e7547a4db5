// Kimi Linear: Kimi Delta Attention, every fourth layer latent attention without positions, and sparse experts (Kimi Team 2025).
import type { Tensor } from '../../core';
import { RMSNorm, SwiGLU } from '../../nn';
import type { TensorOptions } from '../../ops';
import { type BlockParts, PreNormBlock } from '../common/block';
import { CausalLM } from '../common/causalLM';
import type { PublishedConfiguration } from '../common/configuration';
import { SeparateExperts } from '../common/experts';
import type { EitherSpelling } from '../common/keys';
import { LatentAttention } from '../common/latentAttention';
import { MixtureOfExperts } from '../common/mixtureOfExperts';
import type { Entries } from '../common/pretrained';
import type { ModelDefinition } from '../common/registry';
import { Router } from '../common/routing';
import { HybridDecoder } from './decoder';
import { KIMI_KEYS, type KimiLinearConfiguration, type KimiLinearKeys, readKimi } from './kimiConfiguration';
import { KimiLinearAttention } from './kimiDelta';

class KimiMixture extends MixtureOfExperts {
  shared_experts: SwiGLU | null;

  constructor({ hiddenSize, routing, expertWidth, sharedExperts }: KimiLinearConfiguration, options: TensorOptions) {
    const names = { gate_proj: 'w1', down_proj: 'w2', up_proj: 'w3' };
    super(
      new Router(hiddenSize, routing, options),
      new SeparateExperts(routing.numExperts, hiddenSize, expertWidth, options, names),
    );
    this.shared_experts = sharedExperts > 0 ? new SwiGLU(hiddenSize, sharedExperts * expertWidth, options) : null;
  }

  protected override shared(rows: Tensor): Tensor | null {
    return this.shared_experts?.forward(rows) ?? null;
  }
}

class KimiBlock extends PreNormBlock {
  input_layernorm: RMSNorm;
  self_attn: KimiLinearAttention | LatentAttention;
  post_attention_layernorm: RMSNorm;
  mlp: SwiGLU | null;
  block_sparse_moe: KimiMixture | null;

  constructor(config: KimiLinearConfiguration, layer: number, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, rmsNormEps: eps } = config;
    const linear = config.layerTypes[layer] === 'linear_attention';
    const dense = config.mlpTypes[layer] === 'dense';
    this.input_layernorm = new RMSNorm(hiddenSize, { eps, ...options });
    this.self_attn = linear
      ? new KimiLinearAttention(config.linear, options)
      : new LatentAttention(config.attention, options);
    this.post_attention_layernorm = new RMSNorm(hiddenSize, { eps, ...options });
    this.mlp = dense ? new SwiGLU(hiddenSize, intermediateSize, options) : null;
    this.block_sparse_moe = dense ? null : new KimiMixture(config, options);
  }

  protected get parts(): BlockParts {
    return {
      mixerNorm: this.input_layernorm,
      mixer: this.self_attn,
      feedForwardNorm: this.post_attention_layernorm,
      feedForward: (this.mlp ?? this.block_sparse_moe)!,
    };
  }
}

/**
 * Kimi Linear under the weight names of its published files, `model_type` 'kimi_linear'; 27 layers of width 2304 with 256
 * experts by default, the first layer without.
 */
export class KimiLinearForCausalLM extends CausalLM<KimiLinearConfiguration> {
  constructor(input: EitherSpelling<KimiLinearKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readKimi(input, kimiLinearFamily);
    const { hiddenSize, rmsNormEps: eps } = config;
    const decoder = new HybridDecoder(
      config,
      (layer) => new KimiBlock(config, layer, options),
      () => new RMSNorm(hiddenSize, { eps, ...options }),
      options,
    );
    super(config, decoder, options);
  }
}

/** transformers 5 calls the feed-forward of a layer without experts `block_sparse_moe`, too. */
function fromFolder(entries: Entries): Entries {
  const dense = /^(model\.layers\.\d+\.)block_sparse_moe\.((gate|up|down)_proj\.weight)$/;
  return new Map([...entries].map(([name, entry]) => [name.replace(dense, '$1mlp.$2'), entry]));
}

export const kimiLinearFamily: ModelDefinition<KimiLinearKeys, 'kimi-linear'> = {
  modelType: 'kimi_linear',
  name: 'kimi-linear',
  architecture: 'KimiLinearForCausalLM',
  description: 'Kimi Linear: Kimi Delta Attention, latent attention and sparse experts (Kimi Team 2025)',
  keys: KIMI_KEYS,
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numAttentionHeads: numHeads,
    linearNumHeads: numHeads,
    linearHeadDim: headDim,
    kvLoraRank: 2 * headDim,
    qkNopeHeadDim: headDim,
    qkRopeHeadDim: Math.max(1, Math.floor(headDim / 2)),
    vHeadDim: headDim,
    intermediateSize: feedForward,
    numExperts: 4,
    numExpertsPerToken: 2,
    moeIntermediateSize: Math.ceil(feedForward / 4),
  }),
  fromFolder,
  model: KimiLinearForCausalLM,
};
