// MiniMax-Text-01: lightning attention among softmax attention, sparse experts, and a residual stream of normed vectors
// (MiniMax 2025).
import type { OptionNames, Tensor } from '../../core';
import type { State } from '../../inference';
import { RMSNorm } from '../../nn';
import type { TensorOptions } from '../../ops';
import { withOwnKeys } from '../common/aliases';
import { Attention, type AttentionShape } from '../common/attention';
import { Block } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { SeparateExperts } from '../common/experts';
import type { CommonKeys, Count, EitherSpelling, Flag } from '../common/keys';
import { type Recurrent, type SequenceOptions, type SequenceResult, stepOf } from '../common/mixer';
import { MixtureOfExperts } from '../common/mixtureOfExperts';
import type { ModelDefinition } from '../common/registry';
import { readExperts, Router, type RoutingShape } from '../common/routing';
import { readRotation } from '../common/rotary';
import {
  HYBRID_KEYS,
  type HybridConfiguration,
  type HybridKeys,
  type LayerType,
  readAttentionShape,
  readLayerTypes,
} from './configuration';
import { HybridDecoder } from './decoder';
import { LightningAttention } from './lightning';

/** Factors of the residual stream (alpha) and of what is added to it (beta), and the experts. */
interface OwnKeys {
  fullAttnAlphaFactor?: Count;
  fullAttnBetaFactor?: Count;
  linearAttnAlphaFactor?: Count;
  linearAttnBetaFactor?: Count;
  mlpAlphaFactor?: Count;
  mlpBetaFactor?: Count;
  numLocalExperts?: Count;
  numExpertsPerTok?: Count;
  slidingWindow?: Count;
  blockSize?: Count;
  routerAuxLossCoef?: Count;
  routerJitterNoise?: Count;
  outputRouterLogits?: Flag;
}

const OWN_KEYS: OptionNames<OwnKeys> = {
  fullAttnAlphaFactor: true,
  fullAttnBetaFactor: true,
  linearAttnAlphaFactor: true,
  linearAttnBetaFactor: true,
  mlpAlphaFactor: true,
  mlpBetaFactor: true,
  numLocalExperts: true,
  numExpertsPerTok: true,
  slidingWindow: true,
  blockSize: true,
  routerAuxLossCoef: true,
  routerJitterNoise: true,
  outputRouterLogits: 'flag',
};

export interface MiniMaxKeys extends HybridKeys<'minimax'>, OwnKeys {}

/** What the residual stream and what is added to it are multiplied by. */
interface Residual {
  readonly alpha: number;
  readonly beta: number;
}

/** What `MiniMaxForCausalLM` reads from its keys, with the defaults filled in. */
export interface MiniMaxConfiguration extends HybridConfiguration {
  /** Of the layers of softmax attention; those of lightning attention have its query heads and their width, too. */
  readonly attention: AttentionShape;
  /** Experts of `intermediateSize`, in every layer. */
  readonly routing: RoutingShape;
  /** Factors of the residual around each kind of layer, and around the experts. */
  readonly residuals: Readonly<Record<LayerType | 'experts', Residual>>;
}

function readConfiguration(input: object): MiniMaxConfiguration {
  // A name that transformers takes from files, too.
  const reader = ConfigurationReader.of(withOwnKeys(input, { num_experts: 'num_local_experts' }), minimaxFamily);
  const sizes = { vocabSize: 32000, hiddenSize: 4096, numHiddenLayers: 32 };
  const common = reader.common(minimaxFamily, sizes);
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  reader.supported('router_jitter_noise', 0, [0]);
  const factors = (name: string): Residual => ({
    alpha: reader.number(`${name}_alpha_factor`, 1, -Infinity),
    beta: reader.number(`${name}_beta_factor`, 1, -Infinity),
  });
  const heads = { numHeads: 32, numKvHeads: 8, headDim: null };
  const attention = readAttentionShape(reader, common.hiddenSize, heads, {
    rotation: (headDim) => readRotation(reader, headDim, { length: 131072, theta: 1e6 }),
  });
  const experts = { count: 'num_local_experts', perToken: 'num_experts_per_tok' };
  return {
    ...common,
    layerTypes: readLayerTypes(reader, common.numHiddenLayers, (layer) =>
      layer % 2 === 0 ? 'full_attention' : 'linear_attention',
    ),
    intermediateSize: reader.size('intermediate_size', 14336),
    rmsNormEps: reader.number('rms_norm_eps', 1e-5),
    attention: { ...attention, window: reader.optionalSize('sliding_window') },
    routing: {
      ...readExperts(reader, experts, { count: 8, perToken: 2 }),
      scores: 'softmax',
      normalise: true,
      factor: 1,
      groups: 1,
      groupsPerToken: 1,
      correctionBias: false,
    },
    residuals: {
      full_attention: factors('full_attn'),
      linear_attention: factors('linear_attn'),
      experts: factors('mlp'),
    },
  };
}

/** x = norm(x), then alpha x + beta f(x): the residual goes round the part behind the norm only. */
class MiniMaxBlock extends Block {
  self_attn: LightningAttention | Attention;
  block_sparse_moe: MixtureOfExperts;
  input_layernorm: RMSNorm;
  post_attention_layernorm: RMSNorm;
  private readonly around: { mixer: Residual; experts: Residual };

  constructor(config: MiniMaxConfiguration, layer: number, options: TensorOptions) {
    super();
    const { hiddenSize, intermediateSize, rmsNormEps: eps, routing, residuals } = config;
    const type = config.layerTypes[layer];
    this.self_attn =
      type === 'linear_attention'
        ? new LightningAttention({ ...config.attention, layer, numLayers: config.numHiddenLayers }, options)
        : new Attention(config.attention, options);
    const names = { gate_proj: 'w1', down_proj: 'w2', up_proj: 'w3' };
    this.block_sparse_moe = new MixtureOfExperts(
      new Router(hiddenSize, routing, options),
      new SeparateExperts(routing.numExperts, hiddenSize, intermediateSize, options, names),
    );
    this.input_layernorm = new RMSNorm(hiddenSize, { eps, ...options });
    this.post_attention_layernorm = new RMSNorm(hiddenSize, { eps, ...options });
    this.around = { mixer: residuals[type], experts: residuals.experts };
  }

  private get mixer(): Recurrent {
    return this.self_attn;
  }

  mix(x: Tensor, options: SequenceOptions): SequenceResult {
    const normed = this.input_layernorm.forward(x);
    const { output, state } = this.mixer.forward(normed, options);
    return { output: sum(this.around.mixer, normed, output), state };
  }

  mixStep(x: Tensor, state: State): Tensor {
    const normed = this.input_layernorm.forward(x);
    return sum(this.around.mixer, normed, stepOf(this.mixer, normed, state));
  }

  initialState(batch: number): State {
    return this.mixer.initialState(batch);
  }

  protected override ragged(batch: number): State {
    return this.mixer.raggedState(batch);
  }

  feedForward(x: Tensor): Tensor {
    const normed = this.post_attention_layernorm.forward(x);
    return sum(this.around.experts, normed, this.block_sparse_moe.forward(normed));
  }
}

function sum({ alpha, beta }: Residual, x: Tensor, y: Tensor): Tensor {
  return x.mul(alpha).add(y.mul(beta));
}

/**
 * MiniMax-Text-01 under the weight names of transformers' MiniMaxForCausalLM, `model_type` 'minimax'; 32 layers of width 4096
 * with 8 experts by default. Even layers, counted from 0, are softmax attention unless `layerTypes` says otherwise.
 */
export class MiniMaxForCausalLM extends CausalLM<MiniMaxConfiguration> {
  constructor(input: EitherSpelling<MiniMaxKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, rmsNormEps: eps } = config;
    const decoder = new HybridDecoder(
      config,
      (layer) => new MiniMaxBlock(config, layer, options),
      () => new RMSNorm(hiddenSize, { eps, ...options }),
      options,
    );
    super(config, decoder, options);
  }
}

export const minimaxFamily: ModelDefinition<MiniMaxKeys, 'minimax'> = {
  modelType: 'minimax',
  name: 'minimax',
  architecture: 'MiniMaxForCausalLM',
  description: 'MiniMax-Text-01: lightning attention, softmax attention and sparse experts (MiniMax 2025)',
  keys: { ...HYBRID_KEYS, ...OWN_KEYS } satisfies OptionNames<Omit<MiniMaxKeys, keyof CommonKeys>>,
  configuration: ({ numHeads, feedForward }) => ({
    numAttentionHeads: numHeads,
    numKeyValueHeads: numHeads,
    numLocalExperts: 4,
    numExpertsPerTok: 2,
    intermediateSize: Math.ceil(feedForward / 2),
  }),
  // Decays of its kernels, which are the same for all files.
  ignored: /\.self_attn\.(slope_rate|query_decay|key_decay|diagonal_decay)$/,
  model: MiniMaxForCausalLM,
};
