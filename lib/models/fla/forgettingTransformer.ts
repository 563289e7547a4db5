// The Forgetting Transformer, in the layout of flash-linear-attention (Lin et al. 2025).
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { ForgettingAttention } from './growingAttention';
import { FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface ForgettingTransformerKeys extends FlaKeys<'forgetting_transformer'> {
  /** 32 by default. */
  numHeads?: Count;
  /** Heads of keys and values, numHeads by default. */
  numKvHeads?: Count;
  /** Whether the projections to q, k and v have biases, false by default. */
  qkvBias?: Flag;
  /** Whether q and k of each head have an RMS norm, false by default. */
  qkNorm?: Flag;
  /** null alone: the published program lets go of old tokens only while it generates, so that a size is UNSUPPORTED. */
  windowSize?: null;
  /** Whether the output has a gate, false by default. */
  useOutputGate?: Flag;
}

/** What `ForgettingTransformerForCausalLM` reads from its keys, with the defaults filled in. */
export interface ForgettingTransformerConfiguration extends FlaConfiguration {
  /** Heads of queries, a divisor of hiddenSize (`num_heads`, 32 by default). */
  readonly numHeads: number;
  /** Heads of keys and values, a divisor of numHeads (`num_kv_heads`). */
  readonly numKvHeads: number;
  /** Whether the projections to q, k and v have biases (`qkv_bias`, false by default). */
  readonly qkvBias: boolean;
  /** Whether q and k of each head have an RMS norm (`qk_norm`, false by default). */
  readonly qkNorm: boolean;
  /** Gates the output (`use_output_gate`, false by default). */
  readonly outputGate: boolean;
}

function readConfiguration(input: object): ForgettingTransformerConfiguration {
  const reader = ConfigurationReader.of(input, forgettingTransformerFamily);
  const base = readFla(reader, forgettingTransformerFamily);
  const numHeads = reader.size('num_heads', 32);
  reader.divides(base.hiddenSize, 'num_heads', numHeads);
  const numKvHeads = reader.size('num_kv_heads', numHeads);
  reader.divides(numHeads, 'num_kv_heads', numKvHeads);
  reader.supported('window_size', null, [null]);
  return {
    ...base,
    numHeads,
    numKvHeads,
    qkvBias: reader.flag('qkv_bias', false),
    qkNorm: reader.flag('qk_norm', false),
    outputGate: reader.flag('use_output_gate', false),
  };
}

/**
 * Language model of `ForgettingAttention` layers under the weight names of flash-linear-attention's
 * ForgettingTransformerForCausalLM, `model_type` 'forgetting_transformer'; 24 layers of width 2048 with 32 heads by default. Its
 * states grow with the text.
 */
export class ForgettingTransformerForCausalLM extends CausalLM<ForgettingTransformerConfiguration> {
  constructor(input: EitherSpelling<ForgettingTransformerKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, numKvHeads, qkvBias, qkNorm, outputGate } = config;
    const own = { numKvHeads, qkvBias, qkNorm, outputGate, ...options };
    super(config, new FlaDecoder(config, () => new ForgettingAttention(hiddenSize, numHeads, own), options), options);
  }
}

export const forgettingTransformerFamily: ModelDefinition<ForgettingTransformerKeys, 'forgetting-transformer'> = {
  modelType: 'forgetting_transformer',
  name: 'forgetting-transformer',
  architecture: 'ForgettingTransformerForCausalLM',
  description: 'Forgetting Transformer: softmax attention that forgets by learned gates (Lin et al. 2025)',
  keys: {
    ...FLA_KEYS,
    numHeads: true,
    numKvHeads: true,
    qkvBias: 'flag',
    qkNorm: 'flag',
    windowSize: true,
    useOutputGate: 'flag',
  },
  configuration: ({ numHeads, feedForward }) => ({
    numHeads,
    intermediateSize: feedForward,
    qkNorm: true,
    useOutputGate: true,
  }),
  model: ForgettingTransformerForCausalLM,
};
