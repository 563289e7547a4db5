// The configuration of Kimi Linear in both dialects: as its published files have it, and as transformers 5 writes it.
import { argumentError, checkInteger, type OptionNames } from '../../core';
import { withOwnKeys } from '../common/aliases';
import { ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { UnturnedLatentAttentionShape } from '../common/latentAttention';
import type { ModelDefinition } from '../common/registry';
import { readExperts, type RoutingShape } from '../common/routing';
import type { GatedDeltaSizes } from '../fla/gatedDelta';
import { everyNth, type HybridConfiguration, type LayerType, readLayerTypes } from './configuration';

/** Names this family in errors. */
const WHERE = 'kimi_linear';

/** `linear_attn_config` of published files; layers count from 1. */
interface LinearAttentionKeys {
  kdaLayers?: readonly number[] | null;
  fullAttnLayers?: readonly number[] | null;
  headDim?: Count;
  numHeads?: Count;
  shortConvKernelSize?: Count;
}

const LINEAR_ATTENTION_KEYS: OptionNames<LinearAttentionKeys> = {
  kdaLayers: true,
  fullAttnLayers: true,
  headDim: true,
  numHeads: true,
  shortConvKernelSize: true,
};

const MLP_TYPES = ['dense', 'sparse'] as const;
type MlpType = (typeof MLP_TYPES)[number];

export interface KimiLinearKeys extends CommonKeys<'kimi_linear'> {
  intermediateSize?: Count;
  hiddenAct?: Name<'swish' | 'silu'>;
  rmsNormEps?: Count;
  layerTypes?: readonly LayerType[] | null;
  linearAttnConfig?: EitherSpelling<LinearAttentionKeys> | null;
  linearHeadDim?: Count;
  linearNumHeads?: Count;
  linearConvKernelDim?: Count;
  numAttentionHeads?: Count;
  numKeyValueHeads?: Count;
  kvLoraRank?: Count;
  qLoraRank?: Count;
  qkNopeHeadDim?: Count;
  qkRopeHeadDim?: Count;
  vHeadDim?: Count;
  attentionBias?: Flag;
  mlaUseNope?: true | null;
  mlpLayerTypes?: readonly MlpType[] | null;
  firstKDenseReplace?: Count;
  moeLayerFreq?: Count;
  moeIntermediateSize?: Count;
  numExperts?: Count;
  numExpertsPerToken?: Count;
  numSharedExperts?: Count;
  numExpertGroup?: Count;
  topkGroup?: Count;
  useGroupedTopk?: Flag;
  moeRenormalize?: Flag;
  moeRouterActivationFunc?: Name<'sigmoid' | 'softmax'>;
  routedScalingFactor?: Count;
  attentionDropout?: Count;
  modelMaxLength?: Count;
}

export const KIMI_KEYS: OptionNames<Omit<KimiLinearKeys, keyof CommonKeys>> = {
  intermediateSize: true,
  hiddenAct: true,
  rmsNormEps: true,
  layerTypes: true,
  linearAttnConfig: true,
  linearHeadDim: true,
  linearNumHeads: true,
  linearConvKernelDim: true,
  numAttentionHeads: true,
  numKeyValueHeads: true,
  kvLoraRank: true,
  qLoraRank: true,
  qkNopeHeadDim: true,
  qkRopeHeadDim: true,
  vHeadDim: true,
  attentionBias: 'flag',
  mlaUseNope: 'flag',
  mlpLayerTypes: true,
  firstKDenseReplace: true,
  moeLayerFreq: true,
  moeIntermediateSize: true,
  numExperts: true,
  numExpertsPerToken: true,
  numSharedExperts: true,
  numExpertGroup: true,
  topkGroup: true,
  useGroupedTopk: 'flag',
  moeRenormalize: 'flag',
  moeRouterActivationFunc: true,
  routedScalingFactor: true,
  attentionDropout: true,
  modelMaxLength: true,
};

/** What `KimiLinearForCausalLM` reads from its keys, with the defaults filled in. */
export interface KimiLinearConfiguration extends HybridConfiguration {
  /** Of the layers of softmax attention. */
  readonly attention: UnturnedLatentAttentionShape;
  /** Of the layers of linear attention. */
  readonly linear: GatedDeltaSizes;
  /** Of each layer: a feed-forward of `intermediateSize`, or experts. */
  readonly mlpTypes: readonly MlpType[];
  /** How experts are chosen. */
  readonly routing: RoutingShape;
  /** Width of each expert. */
  readonly expertWidth: number;
  /** Experts that every token goes to, in one feed-forward; none when 0. */
  readonly sharedExperts: number;
}

function readLinear(reader: ConfigurationReader, hiddenSize: number, normEps: number): GatedDeltaSizes {
  const nested = reader.section('linear_attn_config', LINEAR_ATTENTION_KEYS);
  const size = (published: string, key: string, fallback: number): number =>
    nested?.optionalSize(published) ?? reader.size(key, fallback);
  const numHeads = size('num_heads', 'linear_num_heads', 32);
  const headDim = size('head_dim', 'linear_head_dim', 128);
  return {
    hiddenSize,
    numHeads,
    numValueHeads: numHeads,
    keyDim: headDim,
    valueDim: headDim,
    convSize: size('short_conv_kernel_size', 'linear_conv_kernel_dim', 4),
    allowNegEigval: false,
    normEps,
  };
}

/** Published files name the layers of one kind, counted from 1; each must be of one kind, that of `layer_types` if given. */
function readKinds(reader: ConfigurationReader, layers: number): readonly LayerType[] {
  const nested = reader.section('linear_attn_config', LINEAR_ATTENTION_KEYS);
  const [full, linear] = ['full_attn_layers', 'kda_layers'].map((key) => nested?.layers(key, layers, 1) ?? []);
  if (full.length + linear.length === 0) return readLayerTypes(reader, layers, everyNth(Math.min(4, layers)));
  const listed = Array.from({ length: layers }, (_, i): LayerType => {
    const [isFull, isLinear] = [full.includes(i + 1), linear.includes(i + 1)];
    if (isFull !== isLinear) return isFull ? 'full_attention' : 'linear_attention';
    const found = isFull ? 'both' : 'neither';
    const expected = `layer ${i + 1} in kda_layers or in full_attn_layers`;
    throw argumentError('INVALID_ARGUMENT', WHERE, 'linear_attn_config', expected, `in ${found}`);
  });
  const types = readLayerTypes(reader, layers, (i) => listed[i]);
  const i = types.findIndex((type, layer) => type !== listed[layer]);
  if (i < 0) return types;
  const list = listed[i] === 'full_attention' ? 'full_attn_layers' : 'kda_layers';
  const expected = `${listed[i]} for layer ${i + 1}, which linear_attn_config has in ${list}`;
  throw argumentError('INVALID_ARGUMENT', WHERE, `layer_types[${i}]`, expected, types[i]);
}

function readMlpTypes(reader: ConfigurationReader, layers: number): readonly MlpType[] {
  const given = reader.choices('mlp_layer_types', MLP_TYPES);
  if (given) return reader.perLayer('mlp_layer_types', given, layers);
  const dense = reader.count('first_k_dense_replace', 1);
  const step = reader.size('moe_layer_freq', 1);
  return Array.from({ length: layers }, (_, i) => (i >= dense && i % step === 0 ? 'sparse' : 'dense'));
}

function readRouting(reader: ConfigurationReader): RoutingShape {
  const keys = { count: 'num_experts', perToken: 'num_experts_per_token' };
  const { numExperts, perToken } = readExperts(reader, keys, { count: 256, perToken: 8 });
  const grouped = reader.flag('use_grouped_topk', true);
  const groups = grouped ? reader.size('num_expert_group', 1) : 1;
  const size = reader.divides(numExperts, 'num_expert_group', groups);
  const groupsPerToken = grouped ? reader.size('topk_group', 1, groups) : 1;
  checkInteger(WHERE, 'num_experts_per_token', perToken, 1, groupsPerToken * size);
  return {
    numExperts,
    perToken,
    scores: reader.choice('moe_router_activation_func', 'sigmoid', ['sigmoid', 'softmax']),
    normalise: reader.flag('moe_renormalize', true),
    factor: reader.number('routed_scaling_factor', 2.446),
    groups,
    groupsPerToken,
    correctionBias: true,
  };
}

/** Names that transformers 5 takes from files, too (`attribute_map`). */
const OTHER_NAMES = {
  n_group: 'num_expert_group',
  num_local_experts: 'num_experts',
  num_experts_per_tok: 'num_experts_per_token',
  n_shared_experts: 'num_shared_experts',
  norm_topk_prob: 'moe_renormalize',
};

export function readKimi(input: object, family: ModelDefinition): KimiLinearConfiguration {
  const reader = ConfigurationReader.of(withOwnKeys(input, OTHER_NAMES), family);
  const common = reader.common(family, { vocabSize: 163840, hiddenSize: 2304, numHiddenLayers: 27 });
  const { hiddenSize, numHiddenLayers: layers } = common;
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  reader.supported('mla_use_nope', true, [true]);
  reader.supported('mla_use_output_gate', false, [false]);
  reader.supported('attn_res_block_size', 0, [0]);
  const rmsNormEps = reader.number('rms_norm_eps', 1e-5);
  return {
    ...common,
    layerTypes: readKinds(reader, layers),
    intermediateSize: reader.size('intermediate_size', 9216),
    rmsNormEps,
    attention: {
      hiddenSize,
      numHeads: reader.size('num_attention_heads', 32),
      rank: reader.size('kv_lora_rank', 512),
      queryRank: reader.optionalSize('q_lora_rank'),
      ownDim: reader.size('qk_nope_head_dim', 128),
      sharedDim: reader.size('qk_rope_head_dim', 64),
      valueDim: reader.size('v_head_dim', 128),
      bias: reader.flag('attention_bias', false),
    },
    linear: readLinear(reader, hiddenSize, rmsNormEps),
    mlpTypes: readMlpTypes(reader, layers),
    routing: readRouting(reader),
    expertWidth: reader.size('moe_intermediate_size', 1024),
    sharedExperts: reader.count('num_shared_experts', 1),
  };
}
