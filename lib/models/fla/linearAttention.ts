// Linear attention: the additive fast weight programmer as flash-linear-attention builds it (spec 2.2, 2.13.1).
import { checkObject, type Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { repeatHeads, type TensorOptions } from '../../ops';
import { linearAttention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import { FastWeightMixer, type RuleInputs } from '../common/fastWeightMixer';
import { FLA_FEATURE_MAPS, type FeatureMap, type FlaFeatureMap, LEARNED_MAPS, makeFeatureMap } from './featureMaps';
import { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './skeleton';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';

export interface LinearAttentionKeys extends FlaKeys<'linear_attn'>, HeadKeys {
  featureMap?: Name<'elementwise_product' | 'hedgehog' | 't2r' | 'dpfp' | 'elu' | 'relu' | 'identity'>;
  /** true only with a feature map without weights, where it changes nothing: UNSUPPORTED with others. */
  tieFeatureMapQk?: Flag;
  normQ?: Flag;
  normK?: Flag;
  normFeatureMap?: Flag;
}

/** What `LinearAttentionForCausalLM` reads from its keys, with the defaults filled in. */
export interface LinearAttentionConfiguration extends FlaConfiguration {
  /** Heads of queries, each with a memory of its own (`num_heads`, 4 by default). */
  readonly numHeads: number;
  /**
   * Heads of keys and values, each for numHeads / numKvHeads consecutive query heads (`num_kv_heads`, numHeads by
   * default).
   */
  readonly numKvHeads: number;
  /** Width of a head's keys before the feature map. */
  readonly keyDim: number;
  /** Width of a head's values: hiddenSize * `expand_v` / numHeads. */
  readonly valueDim: number;
  /**
   * Of q and k, each with parameters of its own (`feature_map`, 'elementwise_product' by default; `createModel` takes
   * 'elu', which is elu + 1).
   */
  readonly featureMap: FlaFeatureMap;
  /** Divides mapped queries or keys by their sum. */
  readonly normQ: boolean;
  /** The same of the keys: k / (sum k + 1e-4); false by default, like `normQ`. */
  readonly normK: boolean;
  /** Divides the output by scale q . (sum of keys) + 1e-10. */
  readonly normFeatureMap: boolean;
}

function readConfiguration(input: object): LinearAttentionConfiguration {
  const reader = ConfigurationReader.of(input, linearTransformerFamily);
  const base = readFla(reader, linearTransformerFamily);
  const featureMap = reader.supported('feature_map', 'elementwise_product', FLA_FEATURE_MAPS);
  // A map without weights is the same for queries and keys in any case.
  if (LEARNED_MAPS.includes(featureMap)) reader.supported('tie_feature_map_qk', false, [false]);
  return {
    ...base,
    ...readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 1 }),
    featureMap,
    normQ: reader.flag('norm_q', false),
    normK: reader.flag('norm_k', false),
    normFeatureMap: reader.flag('norm_feature_map', false),
  };
}

/** phi / (sum phi + 1e-4) */
function sumNorm(phi: Tensor): Tensor {
  return phi.div(phi.sum(-1, true).add(1e-4));
}

/**
 * Additive fast weights of mapped keys without decay (Katharopoulos et al. 2020), with a norm of each head in the
 * read-out; divided by the sum of keys only with `normFeatureMap`.
 */
export class LinearAttention extends FastWeightMixer {
  /** To the queries before the feature map, weight [numHeads * keyDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys before the feature map, weight [numKvHeads * keyDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numKvHeads * valueDim, hiddenSize], no bias. */
  v_proj: Linear;
  /**
   * From the keyDim numbers of a head to the key width K of the memory: keyDim, for 'hedgehog' twice, for 'dpfp' 8
   * times as many. 'elementwise_product', 'hedgehog' and 't2r' have weights [keyDim, keyDim].
   */
  feature_map_q: FeatureMap;
  /** The same map for keys, with weights of its own where it has any. */
  feature_map_k: FeatureMap;
  /** Of each head's output, weight [valueDim] for all heads. */
  norm: RMSNorm;
  /** From the heads to the output, weight [hiddenSize, numHeads * valueDim], no bias. */
  o_proj: Linear;
  protected readonly rule = linearAttention;
  protected override readonly normalizes: boolean;

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: LinearAttentionConfiguration,
    options: TensorOptions = {},
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, numKvHeads, keyDim, valueDim, featureMap, normEps } = config;
    const map = (): FeatureMap => makeFeatureMap(featureMap, keyDim, options);
    const queries = map();
    super({ heads: numHeads, keyDim: queries.width, valueDim });
    this.normalizes = config.normFeatureMap;
    const bare = { bias: false, ...options };
    this.q_proj = new Linear(hiddenSize, numHeads * keyDim, bare);
    this.k_proj = new Linear(hiddenSize, numKvHeads * keyDim, bare);
    this.v_proj = new Linear(hiddenSize, numKvHeads * valueDim, bare);
    this.feature_map_q = queries;
    this.feature_map_k = map();
    this.norm = new RMSNorm(valueDim, { eps: normEps, ...options });
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, bare);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected inputs(x: Tensor): RuleInputs {
    const { numHeads, numKvHeads, normQ, normK } = this.config;
    const q = this.feature_map_q.forward(splitHeads(this.q_proj.forward(x), numHeads));
    const k = this.feature_map_k.forward(splitHeads(this.k_proj.forward(x), numKvHeads));
    const v = splitHeads(this.v_proj.forward(x), numKvHeads);
    return {
      q: normQ ? sumNorm(q) : q,
      k: repeatHeads(normK ? sumNorm(k) : k, numHeads),
      v: repeatHeads(v, numHeads),
      normalize: this.normalizes,
    };
  }

  protected readout(output: Tensor): Tensor {
    return this.o_proj.forward(mergeHeads(this.norm.forward(output)));
  }
}

/**
 * Language model of `LinearAttention` layers under the weight names of flash-linear-attention's
 * LinearAttentionForCausalLM, `model_type` 'linear_attn'; 24 layers of width 2048 with 4 heads by default.
 */
export class LinearAttentionForCausalLM extends CausalLM<LinearAttentionConfiguration> {
  constructor(input: EitherSpelling<LinearAttentionKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new LinearAttention(config, options), options), options);
  }
}

export const linearTransformerFamily: ModelDefinition<LinearAttentionKeys, 'linear-transformer'> = {
  modelType: 'linear_attn',
  name: 'linear-transformer',
  architecture: 'LinearAttentionForCausalLM',
  description: 'linear attention, elu + 1 features, divided by the sum of keys (Katharopoulos et al. 2020)',
  keys: {
    ...FLA_KEYS,
    ...HEAD_KEYS,
    featureMap: true,
    tieFeatureMapQk: 'flag',
    normQ: 'flag',
    normK: 'flag',
    normFeatureMap: 'flag',
  },
  configuration: ({ numHeads, feedForward }) => ({
    numHeads,
    intermediateSize: feedForward,
    featureMap: 'elu',
    normFeatureMap: true,
  }),
  model: LinearAttentionForCausalLM,
};
