// LightNet as a language model, in the layout of flash-linear-attention (Qin et al. 2024).
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { LightNetAttention } from './lightNetAttention';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface LightNetKeys extends FlaKeys<'lightnet'>, ConvolutionKeys {
  /** By default as many as `expandRatio` is contained in the hidden size. */
  numHeads?: Count;
  /** Width of a head's keys, 128 by default; where it is null, the hidden size over `numHeads`. */
  expandRatio?: Count;
  /** Width between x and the gate of the output, 128 by default. */
  gateLowRankDim?: Count;
}

/** What `LightNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface LightNetConfiguration extends FlaConfiguration {
  /** A divisor of hiddenSize (`num_heads`). */
  readonly numHeads: number;
  /** Width of a head's keys (`expand_ratio`, 128 by default). */
  readonly keyDim: number;
  /** Width between x and the gate of the output (`gate_low_rank_dim`, 128 by default). */
  readonly gateRank: number;
  /** Tokens that the convolutions of q, k and v see, which no activation follows; none when null, as by default. */
  readonly convSize: number | null;
}

/** Of the norm of the output: `norm_eps` never reaches it in the published program. */
const OUTPUT_NORM_EPS = 1e-6;

function readConfiguration(input: object): LightNetConfiguration {
  const reader = ConfigurationReader.of(input, lightNetFamily);
  const base = readFla(reader, lightNetFamily);
  const { hiddenSize } = base;
  const given = reader.optionalSize('num_heads');
  const byHeads = reader.source.expand_ratio === null && given !== null;
  const keyDim = byHeads ? reader.divides(hiddenSize, 'num_heads', given) : reader.size('expand_ratio', 128);
  const numHeads = given ?? reader.divides(hiddenSize, 'expand_ratio', keyDim);
  reader.divides(hiddenSize, 'num_heads', numHeads);
  return {
    ...base,
    numHeads,
    keyDim,
    gateRank: reader.size('gate_low_rank_dim', 128),
    convSize: reader.flag('use_short_conv', false) ? reader.size('conv_size', 4) : null,
  };
}

/**
 * Language model of `LightNetAttention` layers under the weight names of flash-linear-attention's LightNetForCausalLM,
 * `model_type` 'lightnet'; 24 layers of width 2048 with 16 heads of 128 by default.
 */
export class LightNetForCausalLM extends CausalLM<LightNetConfiguration> {
  constructor(input: EitherSpelling<LightNetKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const { hiddenSize, numHeads, keyDim, gateRank, convSize } = config;
    const own = { keyDim, gateRank, convSize, normEps: OUTPUT_NORM_EPS, ...options };
    super(config, new FlaDecoder(config, () => new LightNetAttention(hiddenSize, numHeads, own), options), options);
  }
}

export const lightNetFamily: ModelDefinition<LightNetKeys, 'lightnet'> = {
  modelType: 'lightnet',
  name: 'lightnet',
  architecture: 'LightNetForCausalLM',
  description: 'LightNet: linear attention whose decays come from the sums of its exponential keys (Qin et al. 2024)',
  keys: { ...FLA_KEYS, ...CONVOLUTION_KEYS, numHeads: true, expandRatio: true, gateLowRankDim: true },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    expandRatio: headDim,
    gateLowRankDim: headDim,
    intermediateSize: feedForward,
  }),
  model: LightNetForCausalLM,
};
