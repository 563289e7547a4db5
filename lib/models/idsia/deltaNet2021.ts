// DeltaNet of 2021: one slow projection, feature map and sum-norm, pre-norm blocks (Schlag et al. 2021; spec 2.3.1, 2.3.3).
import { checkObject, type Tensor } from '../../core';
import { Dropout, Embedding, hasForwardHooks, LayerNorm, Linear, Module } from '../../nn';
import { featureMap, split, type TensorOptions, toFloat32 } from '../../ops';
import { deltaRule } from '../../rules';
import { type BlockParts, Decoder, PreNormBlock } from '../common/block';
import { CausalLM } from '../common/causalLM';
import { type Configuration, ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FastWeightMixer, type RuleInputs } from '../common/fastWeightMixer';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';

export interface DeltaNet2021Keys extends CommonKeys<'delta_net_2021'> {
  intermediateSize?: Count;
  normEps?: Count;
  numHeads?: Count;
  featureMap?: Name<'elu1' | 'relu' | 'softmax' | 'dpfp'>;
  nu?: Count;
  /** Probability, while training, in front of each residual and behind the activation of the feed-forward; 0 by default. */
  dropout?: Count;
}

/** What `DeltaNet2021ForCausalLM` reads from its keys, with the defaults filled in. */
export interface DeltaNet2021Configuration extends Configuration {
  /** Width between the two layers of the feed-forward (`intermediate_size`, 4 * hiddenSize by default). */
  readonly intermediateSize: number;
  /** Added to the variance in every LayerNorm (`norm_eps`, 1e-5 by default). */
  readonly normEps: number;
  /** A divisor of hiddenSize (`num_heads`, 4 by default); each has a memory of its own. */
  readonly numHeads: number;
  /** hiddenSize / numHeads: width of a head's values, and of its queries and keys before the feature map. */
  readonly headDim: number;
  /** Of q and k, which are then divided by their sums (`feature_map`, 'elu1' by default). */
  readonly featureMap: 'elu1' | 'relu' | 'softmax' | 'dpfp';
  /** dpfp: how many rolled products. */
  readonly nu: number;
  /** Probability of dropout while training, behind the mixer and twice in the feed-forward. */
  readonly dropout: number;
}

function readConfiguration(input: object): DeltaNet2021Configuration {
  const reader = ConfigurationReader.of(input, deltaNet2021Family);
  const defaults = { vocabSize: 32000, hiddenSize: 256, numHiddenLayers: 4 };
  const common = reader.common(deltaNet2021Family, defaults, ['dropout']);
  const numHeads = reader.size('num_heads', 4);
  const headDim = reader.divides(common.hiddenSize, 'num_heads', numHeads);
  return {
    ...common,
    intermediateSize: reader.size('intermediate_size', 4 * common.hiddenSize),
    normEps: reader.number('norm_eps', 1e-5),
    numHeads,
    headDim,
    featureMap: reader.supported('feature_map', 'elu1', ['elu1', 'relu', 'softmax', 'dpfp']),
    nu: reader.size('nu', 1, 2 * headDim - 1),
    dropout: reader.dropout('dropout'),
  };
}

/**
 * The delta rule as it was first published ("Linear Transformers Are Secretly Fast Weight Programmers", Schlag et al.
 * 2021): mapped and sum-normed keys, strengths of a sigmoid, output scale 1.
 */
export class DeltaNet2021 extends FastWeightMixer {
  /** Per head the rows of q, k, v and the strength. */
  slow_net: Linear;
  /** From the heads to the output, weight [hiddenSize, hiddenSize], no bias. */
  out_linear: Linear;
  /** Behind `out_linear`, while training; its probability is `config.dropout`. */
  drop: Dropout;
  protected readonly rule = deltaRule;

  constructor(
    /** That of the model, of which the layer reads its sizes and its dropout. */
    readonly config: DeltaNet2021Configuration,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, headDim, featureMap: map, nu } = config;
    super({ heads: numHeads, keyDim: map === 'dpfp' ? 2 * headDim * nu : headDim, valueDim: headDim });
    this.slow_net = new Linear(hiddenSize, numHeads * (3 * headDim + 1), { bias: false, ...options });
    this.out_linear = new Linear(numHeads * headDim, hiddenSize, { bias: false, ...options });
    this.drop = new Dropout(config.dropout);
  }

  protected get reference(): Placed {
    return this.out_linear;
  }

  protected inputs(x: Tensor): RuleInputs {
    const { numHeads, headDim, featureMap: map, nu } = this.config;
    const heads = splitHeads(this.slow_net.forward(x), numHeads);
    const [q, k, v, beta] = split(heads, [headDim, headDim, headDim, 1], -1);
    const phi = (t: Tensor): Tensor => featureMap(t, { featureMap: map, nu, sumNorm: true });
    return { q: phi(q), k: phi(k), v, beta: toFloat32(beta.squeeze(-1)).sigmoid(), scale: 1 };
  }

  protected readout(output: Tensor): Tensor {
    return this.drop.forward(this.out_linear.forward(mergeHeads(output)));
  }
}

/** drop(W2 drop(relu(W1 x + b1)) + b2) */
class ReluFeedForward extends Module {
  up_proj: Linear;
  down_proj: Linear;
  drop: Dropout;

  constructor(dim: number, hidden: number, dropout: number, options: TensorOptions) {
    super();
    this.drop = new Dropout(dropout);
    this.up_proj = new Linear(dim, hidden, options);
    this.down_proj = new Linear(hidden, dim, options);
  }

  /** `residual` is added to the result. */
  forward(x: Tensor, residual: Tensor): Tensor {
    const { up_proj, down_proj, drop } = this;
    const hidden = up_proj.forward(x).relu();
    if (drop.p === 0 && !hasForwardHooks(drop)) return down_proj.forward(hidden, { residual });
    return drop.forward(down_proj.forward(drop.forward(hidden))).add(residual);
  }
}

class DeltaNet2021Block extends PreNormBlock {
  attn_norm: LayerNorm;
  attn: DeltaNet2021;
  mlp_norm: LayerNorm;
  mlp: ReluFeedForward;

  constructor(config: DeltaNet2021Configuration, options: TensorOptions) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, intermediateSize, normEps, dropout } = config;
    this.attn_norm = new LayerNorm(hiddenSize, { eps: normEps, ...options });
    this.attn = new DeltaNet2021(config, options);
    this.mlp_norm = new LayerNorm(hiddenSize, { eps: normEps, ...options });
    this.mlp = new ReluFeedForward(hiddenSize, intermediateSize, dropout, options);
  }

  protected get parts(): BlockParts {
    return { mixerNorm: this.attn_norm, mixer: this.attn, feedForwardNorm: this.mlp_norm, feedForward: this.mlp };
  }
}

/** As published, without a norm at the end. */
class DeltaNet2021Decoder extends Decoder {
  embeddings: Embedding;
  layers: DeltaNet2021Block[];
  readonly norm = null;

  constructor(config: DeltaNet2021Configuration, options: TensorOptions) {
    super();
    checkObject(new.target.name, 'config', config);
    const { vocabSize, hiddenSize, numHiddenLayers } = config;
    this.embeddings = new Embedding(vocabSize, hiddenSize, options);
    this.layers = Array.from({ length: numHiddenLayers }, () => new DeltaNet2021Block(config, options));
  }

  get tokens(): Embedding {
    return this.embeddings;
  }
}

/**
 * Language model of `DeltaNet2021` layers, LayerNorm blocks with a relu feed-forward, no norm at the end; `model_type`
 * 'delta_net_2021', 4 layers of width 256 by default.
 */
export class DeltaNet2021ForCausalLM extends CausalLM<DeltaNet2021Configuration> {
  constructor(input: EitherSpelling<DeltaNet2021Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new DeltaNet2021Decoder(config, options), options);
  }
}

export const deltaNet2021Family: ModelDefinition<DeltaNet2021Keys, 'deltanet-2021'> = {
  modelType: 'delta_net_2021',
  name: 'deltanet-2021',
  architecture: 'DeltaNet2021ForCausalLM',
  description: 'the first DeltaNet: elu + 1 features with sum-norm, no convolutions (Schlag et al. 2021)',
  keys: { intermediateSize: true, normEps: true, numHeads: true, featureMap: true, nu: true, dropout: true },
  configuration: ({ numHeads, hiddenSize, intermediateSize = 4 * hiddenSize }) => ({ numHeads, intermediateSize }),
  model: DeltaNet2021ForCausalLM,
};
