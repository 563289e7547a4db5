// The softmax-attention baseline of flash-linear-attention, in its layout.
import type { TensorOptions } from '../../ops';
import { Attention, type AttentionShape } from '../common/attention';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type JsonObject, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, QK_NORM_EPS, readAttentionShape, readFla } from './skeleton';

export interface TransformerKeys extends FlaKeys<'transformer'> {
  /** 32 by default. */
  numHeads?: Count;
  /** Heads of keys and values, numHeads by default. */
  numKvHeads?: Count;
  /** Whether the projections to q, k and v have biases, false by default. */
  qkvBias?: Flag;
  /** Whether q and k of each head have an RMS norm, false by default. */
  qkNorm?: Flag;
  /** Tokens that one sees, itself included; itself and all before it by default. */
  windowSize?: Count;
  /** Base of the rotary frequencies, 10000 by default. */
  ropeTheta?: Count;
  /** null alone: the published program has no other layers, so that anything else is UNSUPPORTED. */
  attn?: null;
}

/** What `TransformerForCausalLM` reads from its keys, with the defaults filled in. */
export interface TransformerConfiguration extends FlaConfiguration {
  /**
   * The same in every layer: `num_heads` (32 by default), `num_kv_heads`, `qkv_bias`, `qk_norm`, `window_size` and
   * `rope_theta`.
   */
  readonly softmax: AttentionShape;
}

function readConfiguration(input: object): TransformerConfiguration {
  const reader = ConfigurationReader.of(input, transformerFamily);
  reader.supported('attn', null, [null]);
  const base = readFla(reader, transformerFamily);
  const qkNorm = reader.flag('qk_norm', false);
  return {
    ...base,
    softmax: {
      ...readAttentionShape(reader, base.hiddenSize, 32),
      qkNorm: qkNorm ? { over: 'head', eps: QK_NORM_EPS, zeroCentred: false } : null,
    },
  };
}

/** Keys by which a folder is told from Llama's configurations, which may call that family 'transformer', too. */
const OWN_KEYS = [
  'num_heads',
  'num_kv_heads',
  'qkv_bias',
  'qk_norm',
  'window_size',
  'hidden_ratio',
  'norm_eps',
  'fuse_norm',
];

/**
 * Language model of `Attention` layers under the weight names of flash-linear-attention's TransformerForCausalLM, `model_type`
 * 'transformer'; 24 layers of width 2048 with 32 heads by default. Its states grow with the text, up to the window where there is
 * one.
 */
export class TransformerForCausalLM extends CausalLM<TransformerConfiguration> {
  constructor(input: EitherSpelling<TransformerKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new Attention(config.softmax, options), options), options);
  }
}

export const transformerFamily: ModelDefinition<TransformerKeys, 'transformer-fla'> = {
  modelType: 'transformer',
  claims: (config: JsonObject) =>
    OWN_KEYS.some((key) => Object.hasOwn(config, key)) ||
    (Array.isArray(config.architectures) && config.architectures.includes('TransformerForCausalLM')),
  name: 'transformer-fla',
  architecture: 'TransformerForCausalLM',
  description: 'softmax attention with rotary positions, in the layout of flash-linear-attention',
  keys: {
    ...FLA_KEYS,
    numHeads: true,
    numKvHeads: true,
    qkvBias: 'flag',
    qkNorm: 'flag',
    windowSize: true,
    ropeTheta: true,
  },
  configuration: ({ numHeads, feedForward }) => ({ numHeads, intermediateSize: feedForward, qkNorm: true }),
  model: TransformerForCausalLM,
};
