// The configuration of xLSTM: the keys of its config.json, and what its layers read from them.
import type { OptionNames } from '../../core';
import { type Configuration, ConfigurationReader } from '../common/configuration';
import type { CommonKeys, Count, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';

export interface XlstmKeys extends CommonKeys<'xlstm'> {
  /** The older names of `hiddenSize` and `numHiddenLayers`; where both are given they must agree. */
  embeddingDim?: Count;
  numBlocks?: Count;
  /** 8 by default. */
  numHeads?: Count;
  /** Width of all queries over the hidden size, 0.5 by default; of all values, 1 by default. */
  qkDimFactor?: Count;
  vDimFactor?: Count;
  /** Width of the feed-forward over the hidden size, 2.667 by default, rounded up to a multiple of the next, 64 by default. */
  ffnProjFactor?: Count;
  ffnRoundUpToMultipleOf?: Count;
  /** Rows of the feed-forward where neither factor is to give them; `createModel` sets it. */
  intermediateSize?: Count;
  /** Gates are c tanh(x / c) for this c, 15 by default; null for none. */
  gateSoftCap?: Count;
  /** So are logits, with 30 by default; null for none. */
  outputLogitSoftCap?: Count;
  /** Under the root of every norm, 1e-6 by default. */
  normEps?: Count;
  /** Added to what the memory is divided by, 1e-6 by default. */
  eps?: Count;
  /** 'fused' joins projections of one input in one weight: 'single' by default. */
  weightMode?: Name<'single' | 'fused'>;
  /** Biases of all projections and norms but the last ones, false by default; input and forget gates have theirs. */
  useBias?: Flag;
  /** true alone: models without the last norm are UNSUPPORTED. */
  addOutNorm?: Flag;
  /** These change nothing here: they choose between kernels that compute the same. They are saved again. */
  chunkwiseKernel?: Name;
  sequenceKernel?: Name;
  stepKernel?: Name;
  mode?: Name;
  chunkSize?: Count;
  maxInferenceChunksize?: Count;
  returnLastStates?: Flag;
  autocastKernelDtype?: Name;
  inferenceStateDtype?: Name;
  normReductionForceFloat32?: Flag;
}

export const XLSTM_KEYS: OptionNames<Omit<XlstmKeys, keyof CommonKeys>> = {
  embeddingDim: true,
  numBlocks: true,
  numHeads: true,
  qkDimFactor: true,
  vDimFactor: true,
  ffnProjFactor: true,
  ffnRoundUpToMultipleOf: true,
  intermediateSize: true,
  gateSoftCap: true,
  outputLogitSoftCap: true,
  normEps: true,
  eps: true,
  weightMode: true,
  useBias: 'flag',
  addOutNorm: 'flag',
  chunkwiseKernel: true,
  sequenceKernel: true,
  stepKernel: true,
  mode: true,
  chunkSize: true,
  maxInferenceChunksize: true,
  returnLastStates: 'flag',
  autocastKernelDtype: true,
  inferenceStateDtype: true,
  normReductionForceFloat32: 'flag',
};

/** What `xLSTMForCausalLM` reads from its keys, with the defaults filled in. */
export interface XlstmConfiguration extends Configuration {
  /** A divisor of the widths of queries and values (`num_heads`, 8 by default). */
  readonly numHeads: number;
  /** K, per head. */
  readonly keyDim: number;
  /** V, per head. */
  readonly valueDim: number;
  /** Rows of `proj_up` in the feed-forward. */
  readonly intermediateSize: number;
  /** Under the root of every norm (`norm_eps`, 1e-6 by default). */
  readonly normEps: number;
  /** Added to what the memory is divided by (`eps`, 1e-6 by default). */
  readonly eps: number;
  /** c of the gates, c tanh(x / c) (`gate_soft_cap`, 15 by default). */
  readonly gateSoftCap: number | null;
  /** c of the logits (`output_logit_soft_cap`, 30 by default). */
  readonly outputLogitSoftCap: number | null;
  /** Whether projections and norms have biases, beside those of input and forget gates (`use_bias`, false by default). */
  readonly useBias: boolean;
  /** Whether projections of one input are one weight (`weight_mode` 'fused'). */
  readonly fused: boolean;
}

/** Caps as float32 holds them: as 0 or infinity they make NaN of the logits. */
const [LEAST_CAP, LARGEST_CAP] = [2 ** -126, (2 - 2 ** -23) * 2 ** 127];

export function readXlstm(input: object, family: ModelDefinition): XlstmConfiguration {
  const reader = ConfigurationReader.of(input, family);
  const hiddenSize = reader.optionalSize('embedding_dim') ?? 4096;
  const numHiddenLayers = reader.optionalSize('num_blocks') ?? 32;
  const common = reader.common(family, { vocabSize: 50304, hiddenSize, numHiddenLayers });
  reader.supported('embedding_dim', common.hiddenSize, [common.hiddenSize]);
  reader.supported('num_blocks', common.numHiddenLayers, [common.numHiddenLayers]);
  reader.supported('add_out_norm', true, [true]);
  const width = common.hiddenSize;
  const numHeads = reader.size('num_heads', 8);
  const headWidth = (key: string, fallback: number): number =>
    reader.divides(reader.scaled(key, width * reader.number(key, fallback)), 'num_heads', numHeads);
  // null means "no cap" in these two.
  const cap = (key: string, fallback: number): number | null =>
    reader.source[key] === null ? null : reader.number(key, fallback, LEAST_CAP, LARGEST_CAP);
  const multiple = reader.size('ffn_round_up_to_multiple_of', 64);
  const up = reader.number('ffn_proj_factor', 2.667) * width;
  return {
    ...common,
    // The published program draws with sqrt(2 / (5 width)).
    initializerRange: reader.number('initializer_range', Math.sqrt(2 / (5 * width))),
    numHeads,
    keyDim: headWidth('qk_dim_factor', 0.5),
    valueDim: headWidth('v_dim_factor', 1),
    intermediateSize:
      reader.optionalSize('intermediate_size') ??
      reader.scaled('ffn_proj_factor', multiple * Math.ceil(Math.floor(up) / multiple)),
    normEps: reader.number('norm_eps', 1e-6),
    eps: reader.number('eps', 1e-6),
    gateSoftCap: cap('gate_soft_cap', 15),
    outputLogitSoftCap: cap('output_logit_soft_cap', 30),
    useBias: reader.flag('use_bias', false),
    fused: reader.choice('weight_mode', 'single', ['single', 'fused']) === 'fused',
  };
}
