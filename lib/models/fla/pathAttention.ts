// PaTH attention as a language model, in the layout of flash-linear-attention (Yang et al. 2025).
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { PaTHAttention } from './growingAttention';
import { FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface PaTHAttentionKeys extends FlaKeys<'path_attn'> {
  /** 32 by default. */
  numHeads?: Count;
  /** Heads of keys and values, numHeads by default. */
  numKvHeads?: Count;
  /** Whether what lies back is forgotten, too, false by default. */
  useForgetGate?: Flag;
  /** Whether w passes a convolution over 3 tokens, true by default. */
  useWShortconv?: Flag;
  /** Whether w is made through a width of 32, true by default. */
  useLowRankW?: Flag;
}

/** What `PaTHAttentionForCausalLM` reads from its keys, with the defaults filled in. */
export interface PaTHAttentionConfiguration extends FlaConfiguration {
  /** Heads of queries, a divisor of hiddenSize (`num_heads`, 32 by default). */
  readonly numHeads: number;
  /** Heads of keys and values, a divisor of numHeads (`num_kv_heads`). */
  readonly numKvHeads: number;
  /** Whether what lies back is forgotten, too (`use_forget_gate`, false by default). */
  readonly forgetGate: boolean;
  /** Tokens that the convolution of w sees, 3; null without `use_w_shortconv`, which is true by default. */
  readonly convSize: number | null;
  /** Width between x and w, 32; null without `use_low_rank_w`, which is true by default. */
  readonly rank: number | null;
}

/** Fixed in the published program. */
const CONV_SIZE = 3;
const RANK = 32;

function readConfiguration(input: object): PaTHAttentionConfiguration {
  const reader = ConfigurationReader.of(input, pathAttentionFamily);
  const base = readFla(reader, pathAttentionFamily);
  const numHeads = reader.size('num_heads', 32);
  reader.divides(base.hiddenSize, 'num_heads', numHeads);
  const numKvHeads = reader.size('num_kv_heads', numHeads);
  reader.divides(numHeads, 'num_kv_heads', numKvHeads);
  return {
    ...base,
    numHeads,
    numKvHeads,
    forgetGate: reader.flag('use_forget_gate', false),
    convSize: reader.flag('use_w_shortconv', true) ? CONV_SIZE : null,
    rank: reader.flag('use_low_rank_w', true) ? RANK : null,
  };
}

/**
 * Language model of `PaTHAttention` layers under the weight names of flash-linear-attention's PaTHAttentionForCausalLM,
 * `model_type` 'path_attn'; 24 layers of width 2048 with 32 heads by default. Its states grow with the text.
 */
export class PaTHAttentionForCausalLM extends CausalLM<PaTHAttentionConfiguration> {
  constructor(input: EitherSpelling<PaTHAttentionKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, numKvHeads, forgetGate, convSize, rank } = config;
    const own = { numKvHeads, forgetGate, convSize, rank, ...options };
    super(config, new FlaDecoder(config, () => new PaTHAttention(hiddenSize, numHeads, own), options), options);
  }
}

export const pathAttentionFamily: ModelDefinition<PaTHAttentionKeys, 'path-attention'> = {
  modelType: 'path_attn',
  name: 'path-attention',
  architecture: 'PaTHAttentionForCausalLM',
  description: 'PaTH: softmax attention whose positions are products of Householder matrices (Yang et al. 2025)',
  keys: {
    ...FLA_KEYS,
    numHeads: true,
    numKvHeads: true,
    useForgetGate: 'flag',
    useWShortconv: 'flag',
    useLowRankW: 'flag',
  },
  configuration: ({ numHeads, feedForward }) => ({ numHeads, intermediateSize: feedForward, useForgetGate: true }),
  model: PaTHAttentionForCausalLM,
};
