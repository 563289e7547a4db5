// LaCT as a language model: its layers in the blocks of flash-linear-attention.
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FLA_KEYS, type FlaKeys } from '../fla/keys';
import { type FlaConfiguration, FlaDecoder, readFla } from '../fla/skeleton';
import { LactLayer } from './lactLayer';

export interface LactKeys extends FlaKeys<'lact'> {
  /** 4 by default. */
  numHeads?: Count;
  /** Tokens between two changes of the networks: 64 by default, thousands where texts have many times as many. */
  chunkSize?: Count;
  /** Width of each head's network, that of the head by default. */
  innerSize?: Count | null;
  /** Whether a step is the gradient made orthogonal; true by default. */
  muon?: Flag;
  /** Whether a step takes some of the last one along; true by default. */
  momentum?: Flag;
  /** Tokens that the convolutions see, 4 by default. */
  convSize?: Count;
  /** The largest rate of a token, before it is divided by the chunk's tokens: 1 by default. */
  baseRate?: Count;
}

/** What `LactForCausalLM` reads from its keys, with the defaults filled in. */
export interface LactConfiguration extends FlaConfiguration {
  /** A divisor of hiddenSize (`num_heads`, 4 by default); each has a network of its own. */
  readonly numHeads: number;
  /** Tokens between two changes of the networks (`chunk_size`, 64 by default). */
  readonly chunkSize: number;
  /** Width of each head's network (`inner_size`); null is that of the head. */
  readonly innerSize: number | null;
  /** Whether a step is the gradient made orthogonal (`muon`, true by default). */
  readonly muon: boolean;
  /** Whether a step takes some of the last one along (`momentum`, true by default). */
  readonly momentum: boolean;
  /** Tokens that the convolutions see (`conv_size`, 4 by default). */
  readonly convSize: number;
  /** The largest rate of a token, before it is divided by the chunk's tokens (`base_rate`, 1 by default). */
  readonly baseRate: number;
}

function readConfiguration(input: object): LactConfiguration {
  const reader = ConfigurationReader.of(input, lactFamily);
  const base = readFla(reader, lactFamily);
  const numHeads = reader.size('num_heads', 4);
  reader.divides(base.hiddenSize, 'num_heads', numHeads);
  return {
    ...base,
    numHeads,
    chunkSize: reader.size('chunk_size', 64),
    innerSize: reader.optionalSize('inner_size'),
    muon: reader.flag('muon', true),
    momentum: reader.flag('momentum', true),
    convSize: reader.size('conv_size', 4),
    baseRate: reader.number('base_rate', 1),
  };
}

/**
 * Language model of `LactLayer`s; `model_type` 'lact'. The layout is this library's own: blocks and names are those of
 * flash-linear-attention's models, `attn` the layer, 24 layers of width 2048 with 4 heads by default. `attn` of the configuration
 * makes some layers attention to a window, which tokens of a chunk see each other through.
 */
export class LactForCausalLM extends CausalLM<LactConfiguration> {
  constructor(input: EitherSpelling<LactKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, chunkSize, innerSize, muon, momentum, convSize, baseRate, normEps } = config;
    const own = { chunkSize, innerSize, muon, momentum, convSize, baseRate, normEps, ...options };
    super(config, new FlaDecoder(config, () => new LactLayer(hiddenSize, numHeads, own), options), options);
  }
}

export const lactFamily: ModelDefinition<LactKeys, 'lact'> = {
  modelType: 'lact',
  name: 'lact',
  description: 'LaCT: SwiGLU memories that learn at test time in large chunks (Zhang et al. 2025)',
  keys: {
    ...FLA_KEYS,
    numHeads: true,
    chunkSize: true,
    innerSize: true,
    muon: 'flag',
    momentum: 'flag',
    convSize: true,
    baseRate: true,
  },
  model: LactForCausalLM,
};
