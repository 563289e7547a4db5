// HGRN: gated recurrences channel by channel, whose decays have lower bounds (Qin et al. 2023; spec 2.13.5).
import { checkObject, type Device, type DType, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, ShortConvolution } from '../../nn';
import { type TensorOptions, toFloat32, zeros } from '../../ops';
import { hgrn } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { Placed } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import { type Past, RuleMixer, type RunOptions } from '../common/ruleMixer';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { boundedDecay, type LowerBound, LowerBoundedDecoder } from './lowerBounds';
import { type FlaConfiguration, readFla } from './skeleton';

export interface HgrnKeys extends FlaKeys<'hgrn'>, ConvolutionKeys {
  /** Channels of a layer over the hidden size, 1 by default. */
  expandRatio?: Count;
  /** Whether decays of the layers from the second on have learned lower bounds, true by default. */
  useLowerBound?: Flag;
}

/** What `HGRNForCausalLM` reads from its keys, with the defaults filled in. */
export interface HgrnConfiguration extends FlaConfiguration {
  /** D of each layer: hiddenSize times `expand_ratio` (1 by default), rounded down. */
  readonly channels: number;
  /** Whether decays of the layers from the second on have learned lower bounds (`use_lower_bound`, true by default). */
  readonly useLowerBound: boolean;
  /** Tokens that the convolutions see, which no activation follows; none when null, as by default. */
  readonly convSize: number | null;
}

function readConfiguration(input: object): HgrnConfiguration {
  const reader = ConfigurationReader.of(input, hgrnFamily);
  const base = readFla(reader, hgrnFamily);
  return {
    ...base,
    channels: reader.scaled('expand_ratio', base.hiddenSize * reader.number('expand_ratio', 1)),
    useLowerBound: reader.flag('use_lower_bound', true),
    convSize: reader.flag('use_short_conv', false) ? reader.size('conv_size', 4) : null,
  };
}

type ChannelInputs = { x: Tensor; gate: Tensor };
/** h [B, D] after the last token. */
type Channels = { hidden: Tensor };

/**
 * h_t = f h_{t-1} + (1 - f) silu(i_proj x) in every channel, f = lower + (1 - lower) sigmoid(f_proj x) (Qin et al. 2023,
 * "Hierarchically Gated Recurrent Neural Network for Sequence Modeling"). The output is norm(h) silu(g_proj x), projected.
 */
export class Hgrn extends RuleMixer<ChannelInputs, Channels> {
  /** To what is written, weight [D, hiddenSize], no bias. */
  i_proj: Linear;
  /** To the decays, weight [D, hiddenSize], no bias. */
  f_proj: Linear;
  /** To the gate of the output, weight [D, hiddenSize], no bias. */
  g_proj: Linear;
  /** Over what `f_proj` gives, weight [D, 1, convSize]; null without `convSize`. */
  f_conv1d: ShortConvolution | null;
  /** Over what `i_proj` gives, weight [D, 1, convSize]; null without `convSize`. */
  i_conv1d: ShortConvolution | null;
  /** Of all channels together, weight [D]. */
  g_norm: GatedRMSNorm;
  /** From the channels to the output, weight [hiddenSize, D], no bias. */
  o_proj: Linear;

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: HgrnConfiguration,
    options: TensorOptions = {},
    /** Of the decays of each channel [D], in [0, 1); null where there is none. */
    private readonly lowerBound: LowerBound = () => null,
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, channels, convSize, normEps } = config;
    const linear = (): Linear => new Linear(hiddenSize, channels, { bias: false, ...options });
    const conv = (): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(channels, convSize, { activation: null, ...options });
    this.i_proj = linear();
    this.f_proj = linear();
    this.g_proj = linear();
    this.f_conv1d = conv();
    this.i_conv1d = conv();
    this.g_norm = new GatedRMSNorm(channels, { eps: normEps, ...options });
    this.o_proj = new Linear(channels, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { i: this.i_conv1d, f: this.f_conv1d };
  }

  protected inputs(x: Tensor, past: Past): ChannelInputs {
    const written = toFloat32(past.convolve('i', this.i_conv1d, this.i_proj.forward(x))).silu();
    const { gate, forgotten } = boundedDecay(
      past.convolve('f', this.f_conv1d, this.f_proj.forward(x)),
      this.lowerBound(),
    );
    return { x: written.mul(forgotten), gate };
  }

  protected run(
    inputs: ChannelInputs,
    memories: Channels | null,
    options: RunOptions,
  ): { output: Tensor; memories?: Channels } {
    const { output, finalState } = hgrn({ ...inputs, initialState: memories?.hidden ?? null }, options);
    return finalState ? { output, memories: { hidden: finalState.contiguous() } } : { output };
  }

  protected runToken(inputs: ChannelInputs, { hidden }: Channels): Tensor {
    return hgrn.step(inputs, { state: { state: hidden } });
  }

  protected blank(batch: number, where: { device: Device; dtype: DType }): Channels {
    return { hidden: zeros([batch, this.config.channels], where) };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    return this.o_proj.forward(this.g_norm.forward(output, this.g_proj.forward(x)));
  }
}

/**
 * Language model of `Hgrn` layers under the weight names of flash-linear-attention's HGRNForCausalLM, `model_type` 'hgrn';
 * 24 layers of width 2048 with as many channels by default.
 */
export class HGRNForCausalLM extends CausalLM<HgrnConfiguration> {
  constructor(input: EitherSpelling<HgrnKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    const layer = (lowerBound: LowerBound): Hgrn => new Hgrn(config, options, lowerBound);
    super(config, new LowerBoundedDecoder(config, config.channels, layer, options), options);
  }
}

export const hgrnFamily: ModelDefinition<HgrnKeys, 'hgrn'> = {
  modelType: 'hgrn',
  name: 'hgrn',
  architecture: 'HGRNForCausalLM',
  description: 'HGRN: gated averages in every channel, with lower bounds of their decays (Qin et al. 2023)',
  keys: { ...FLA_KEYS, ...CONVOLUTION_KEYS, expandRatio: true, useLowerBound: 'flag' },
  configuration: ({ feedForward }) => ({ intermediateSize: feedForward }),
  model: HGRNForCausalLM,
};
