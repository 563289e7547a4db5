// Titans as a language model: its memory layers in the blocks of flash-linear-attention.
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FLA_KEYS, type FlaKeys } from '../fla/keys';
import { type FlaConfiguration, FlaDecoder, readFla } from '../fla/skeleton';
import { TitansLayer } from './titansLayer';

export interface TitansKeys extends FlaKeys<'titans'> {
  /** 4 by default. */
  numHeads?: Count;
  /** Tokens whose gradients are taken at the same weights, 64 by default. */
  chunkSize?: Count;
  /** Tokens that the convolutions see, 4 by default. */
  convSize?: Count;
  /** The largest step of one chunk, 1 by default. */
  baseRate?: Count;
}

/** What `TitansForCausalLM` reads from its keys, with the defaults filled in. */
export interface TitansConfiguration extends FlaConfiguration {
  /** A divisor of hiddenSize (`num_heads`, 4 by default); each has a memory of its own. */
  readonly numHeads: number;
  /** Tokens whose gradients are taken at the same weights (`chunk_size`, 64 by default). */
  readonly chunkSize: number;
  /** Tokens that the convolutions see (`conv_size`, 4 by default). */
  readonly convSize: number;
  /** The largest step of one chunk (`base_rate`, 1 by default). */
  readonly baseRate: number;
}

function readConfiguration(input: object): TitansConfiguration {
  const reader = ConfigurationReader.of(input, titansFamily);
  const base = readFla(reader, titansFamily);
  const numHeads = reader.size('num_heads', 4);
  reader.divides(base.hiddenSize, 'num_heads', numHeads);
  return {
    ...base,
    numHeads,
    chunkSize: reader.size('chunk_size', 64),
    convSize: reader.size('conv_size', 4),
    baseRate: reader.number('base_rate', 1),
  };
}

/**
 * Language model of `TitansLayer`s, the paper's "LMM", memory alone; `model_type` 'titans'. No weights are published: blocks and
 * names are those of flash-linear-attention's models, `attn` the memory, 24 layers of width 2048 with 4 heads by default. The
 * paper's models around attention (memory as context, gate or layer) are not part of it.
 */
export class TitansForCausalLM extends CausalLM<TitansConfiguration> {
  constructor(input: EitherSpelling<TitansKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, chunkSize, convSize, baseRate, normEps } = config;
    const own = { chunkSize, convSize, baseRate, normEps, ...options };
    super(config, new FlaDecoder(config, () => new TitansLayer(hiddenSize, numHeads, own), options), options);
  }
}

export const titansFamily: ModelDefinition<TitansKeys, 'titans'> = {
  modelType: 'titans',
  name: 'titans',
  description: 'Titans: memories that learn at test time, with momentum (Behrouz et al. 2025)',
  keys: { ...FLA_KEYS, numHeads: true, chunkSize: true, convSize: true, baseRate: true },
  model: TitansForCausalLM,
};
