// Linear attention: the additive fast weight programmer as flash-linear-attention builds it (spec 2.2, 2.13.1).
import type { Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { repeatHeads, type TensorOptions } from '../../ops';
import { linearAttention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import { FastWeightMixer, type RuleInputs } from '../common/fastWeightMixer';
import { FLA_FEATURE_MAPS, type FeatureMap, type FlaFeatureMap, makeFeatureMap } from './featureMaps';
import { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './skeleton';
import { mergeHeads, splitHeads } from '../common/mixer';

export interface LinearAttentionKeys extends FlaKeys<'linear_attn'>, HeadKeys {
  featureMap?: Name<'elementwise_product' | 'hedgehog' | 't2r' | 'dpfp' | 'elu' | 'relu' | 'identity'>;
  tieFeatureMapQk?: false | null;
  normQ?: Flag;
  normK?: Flag;
  normFeatureMap?: Flag;
}

export interface LinearAttentionConfiguration extends FlaConfiguration {
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** Width of a head's keys before the feature map. */
  readonly keyDim: number;
  readonly valueDim: number;
  readonly featureMap: FlaFeatureMap;
  /** Divides mapped queries or keys by their sum. */
  readonly normQ: boolean;
  readonly normK: boolean;
  /** Divides the output by scale q . (sum of keys) + 1e-10. */
  readonly normFeatureMap: boolean;
}

function readConfiguration(input: object): LinearAttentionConfiguration {
  const reader = ConfigurationReader.of(input, linearTransformerFamily);
  const base = readFla(reader, linearTransformerFamily);
  reader.supported('tie_feature_map_qk', false, [false]);
  return {
    ...base,
    ...readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 1 }),
    featureMap: reader.supported('feature_map', 'elementwise_product', FLA_FEATURE_MAPS),
    normQ: reader.flag('norm_q', false),
    normK: reader.flag('norm_k', false),
    normFeatureMap: reader.flag('norm_feature_map', false),
  };
}

/** phi / (sum phi + 1e-4) */
function sumNorm(phi: Tensor): Tensor {
  return phi.div(phi.sum(-1, true).add(1e-4));
}

export class LinearAttention extends FastWeightMixer {
  q_proj: Linear;
  k_proj: Linear;
  v_proj: Linear;
  feature_map_q: FeatureMap;
  feature_map_k: FeatureMap;
  norm: RMSNorm;
  o_proj: Linear;
  protected readonly rule = linearAttention;
  protected override readonly normalizes: boolean;

  constructor(
    readonly config: LinearAttentionConfiguration,
    options: TensorOptions = {},
  ) {
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

  protected get reference(): Tensor {
    return this.o_proj.weight;
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
