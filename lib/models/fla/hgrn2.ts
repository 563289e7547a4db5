// HGRN2: linear attention whose keys are what its decays forget (Qin et al. 2024; spec 2.13.5).
import { checkObject, type Tensor } from '../../core';
import { Linear, RMSNorm, ShortConvolution } from '../../nn';
import type { TensorOptions } from '../../ops';
import { gatedLinearAttention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { boundedDecay, type LowerBound, LowerBoundedDecoder } from './lowerBounds';
import { type FlaConfiguration, OUTPUT_NORM_EPS, readFla } from './skeleton';

export interface Hgrn2Keys extends FlaKeys<'hgrn2'>, ConvolutionKeys {
  numHeads?: Count;
  expandRatio?: Count;
  useLowerBound?: Flag;
}

/** What `HGRN2ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Hgrn2Configuration extends FlaConfiguration {
  /** Heads, hiddenSize / headDim of them. */
  readonly numHeads: number;
  /**
   * Width of a head's keys and values (`expand_ratio`, 128 by default; where it is null, hiddenSize / `num_heads`, which is
   * not read otherwise).
   */
  readonly headDim: number;
  /** Whether decays of the layers from the second on have learned lower bounds (`use_lower_bound`, true by default). */
  readonly useLowerBound: boolean;
  /** Tokens that the convolutions see, which no activation follows; none when null, as by default. */
  readonly convSize: number | null;
}

function readConfiguration(input: object): Hgrn2Configuration {
  const reader = ConfigurationReader.of(input, hgrn2Family);
  const base = readFla(reader, hgrn2Family);
  const { hiddenSize } = base;
  const byHeads = reader.source.expand_ratio === null && reader.optionalSize('num_heads') !== null;
  const headDim = byHeads
    ? reader.divides(hiddenSize, 'num_heads', reader.size('num_heads'))
    : reader.size('expand_ratio', 128);
  return {
    ...base,
    numHeads: reader.divides(hiddenSize, 'expand_ratio', headDim),
    headDim,
    useLowerBound: reader.flag('use_lower_bound', true),
    convSize: reader.flag('use_short_conv', false) ? reader.size('conv_size', 4) : null,
  };
}

/**
 * Additive fast weights with a decay per key channel and token, f = lower + (1 - lower) sigmoid(f_proj x), and keys 1 - f
 * (Qin et al. 2024, "HGRN2: Gated Linear RNNs with State Expansion"). q = silu(q_proj x), v = i_proj x.
 */
export class Hgrn2 extends FastWeightMixer {
  /** To the queries, weight [hiddenSize, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the decays, weight [hiddenSize, hiddenSize], no bias. */
  f_proj: Linear;
  /** To the values, weight [hiddenSize, hiddenSize], no bias. */
  i_proj: Linear;
  /** Over what `q_proj` gives, weight [hiddenSize, 1, convSize]; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over what `f_proj` gives, weight [hiddenSize, 1, convSize]; null without `convSize`. */
  f_conv1d: ShortConvolution | null;
  /** Over what `i_proj` gives, weight [hiddenSize, 1, convSize]; null without `convSize`. */
  i_conv1d: ShortConvolution | null;
  /** Of all heads' outputs together, weight [hiddenSize], with 1e-5 added to the mean square whatever `normEps` is. */
  g_norm: RMSNorm;
  /** From the heads to the output, weight [hiddenSize, hiddenSize], no bias. */
  o_proj: Linear;
  protected readonly rule = gatedLinearAttention;

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: Hgrn2Configuration,
    options: TensorOptions = {},
    /** Of the decays of each channel [hiddenSize], in [0, 1); null where there is none. */
    private readonly lowerBound: LowerBound = () => null,
  ) {
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, headDim, convSize } = config;
    super({ heads: numHeads, keyDim: headDim, valueDim: headDim });
    const linear = (): Linear => new Linear(hiddenSize, hiddenSize, { bias: false, ...options });
    const conv = (): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(hiddenSize, convSize, { activation: null, ...options });
    this.q_proj = linear();
    this.f_proj = linear();
    this.i_proj = linear();
    this.q_conv1d = conv();
    this.f_conv1d = conv();
    this.i_conv1d = conv();
    this.g_norm = new RMSNorm(hiddenSize, { eps: OUTPUT_NORM_EPS, ...options });
    this.o_proj = linear();
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, f: this.f_conv1d, i: this.i_conv1d };
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads } = this.config;
    const part = (name: string, proj: Linear, conv: ShortConvolution | null): Tensor =>
      past.convolve(name, conv, proj.forward(x));
    const { gate, forgotten } = boundedDecay(part('f', this.f_proj, this.f_conv1d), this.lowerBound());
    return {
      q: splitHeads(part('q', this.q_proj, this.q_conv1d).silu(), numHeads),
      k: splitHeads(forgotten.to(x.dtype), numHeads),
      v: splitHeads(part('i', this.i_proj, this.i_conv1d), numHeads),
      gate: splitHeads(gate, numHeads),
    };
  }

  protected readout(output: Tensor): Tensor {
    return this.o_proj.forward(this.g_norm.forward(mergeHeads(output)));
  }
}

/**
 * Language model of `Hgrn2` layers under the weight names of flash-linear-attention's HGRN2ForCausalLM, `model_type`
 * 'hgrn2'; 24 layers of width 2048 with 16 heads of 128 by default.
 */
export class HGRN2ForCausalLM extends CausalLM<Hgrn2Configuration> {
  constructor(input: EitherSpelling<Hgrn2Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const layer = (lowerBound: LowerBound): Hgrn2 => new Hgrn2(config, options, lowerBound);
    super(config, new LowerBoundedDecoder(config, config.hiddenSize, layer, options), options);
  }
}

export const hgrn2Family: ModelDefinition<Hgrn2Keys, 'hgrn2'> = {
  modelType: 'hgrn2',
  name: 'hgrn2',
  architecture: 'HGRN2ForCausalLM',
  description: 'HGRN2: linear attention with keys that are what its decays forget (Qin et al. 2024)',
  keys: { ...FLA_KEYS, ...CONVOLUTION_KEYS, numHeads: true, expandRatio: true, useLowerBound: 'flag' },
  configuration: ({ headDim, feedForward }) => ({ expandRatio: headDim, intermediateSize: feedForward }),
  model: HGRN2ForCausalLM,
};
