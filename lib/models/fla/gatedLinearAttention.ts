// GLA: linear attention with a learned decay per key channel (Yang et al. 2023; spec 2.13.4).
import type { Tensor } from '../../core';
import { Linear, ShortConvolution } from '../../nn';
import { repeatHeads, type TensorOptions, toFloat32 } from '../../ops';
import { gatedLinearAttention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import { POINTWISE_MAPS } from './featureMaps';
import { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './skeleton';
import { splitHeads } from '../common/mixer';
import { GatedOutputMixer, type OutputGateConfiguration, readOutputGate } from '../common/outputGate';

export interface GlaKeys extends FlaKeys<'gla'>, HeadKeys, ConvolutionKeys {
  featureMap?: Name<'identity' | 'relu' | 'silu' | 'swish'>;
  useOutputGate?: Flag;
  useGk?: true | null;
  useGv?: false | null;
  clampMin?: Count;
}

/** What `GLAForCausalLM` reads from its keys, with the defaults filled in. */
export interface GlaConfiguration extends FlaConfiguration, OutputGateConfiguration {
  /** Of q and k behind the convolution (`feature_map`, 'identity' by default); 'silu' and 'swish' are one. */
  readonly featureMap: 'identity' | 'relu' | 'silu' | 'swish';
  /** Least log decay. */
  readonly clampMin: number | null;
  /** Tokens that the convolutions of q, k and v see; none when null. */
  readonly convSize: number | null;
}

/** Rank of the gate's projection, and what its logarithm is divided by: fixed in the published program. */
const GATE_RANK = 16;
const GATE_NORMALIZER = 16;

function readConfiguration(input: object): GlaConfiguration {
  const reader = ConfigurationReader.of(input, glaFamily);
  const base = readFla(reader, glaFamily);
  reader.supported('use_gk', true, [true]);
  reader.supported('use_gv', false, [false]);
  return {
    ...base,
    ...readHeads(reader, base.hiddenSize, { expandK: 0.5, expandV: 1 }),
    ...readOutputGate(reader),
    featureMap: reader.supported('feature_map', 'identity', ['identity', 'relu', 'silu', 'swish']),
    clampMin: reader.optionalBound('clamp_min'),
    convSize: reader.flag('use_short_conv', false) ? reader.size('conv_size', 4) : null,
  };
}

/**
 * Additive fast weights with a learned decay per key channel and token (Yang et al. 2023): log decay logsigmoid(gk_proj
 * x) / 16, not below `clampMin`.
 */
export class GatedLinearAttention extends GatedOutputMixer<GlaConfiguration> {
  /** Over the queries, weight [numHeads * keyDim, 1, convSize], with silu; null without `convSize`, as by default. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, weight [numKvHeads * keyDim, 1, convSize], with silu; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [numKvHeads * valueDim, 1, convSize], with silu; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** To the decay through rank 16: weights [16, hiddenSize] and, with a bias, [numKvHeads * keyDim, 16]. */
  gk_proj: [Linear, Linear];
  protected readonly rule = gatedLinearAttention;

  constructor(config: GlaConfiguration, options: TensorOptions = {}) {
    super(config, options);
    const { hiddenSize, numHeads, numKvHeads, keyDim, valueDim, convSize } = config;
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, options);
    this.q_conv1d = conv(numHeads * keyDim);
    this.k_conv1d = conv(numKvHeads * keyDim);
    this.v_conv1d = conv(numKvHeads * valueDim);
    this.gk_proj = [
      new Linear(hiddenSize, GATE_RANK, { bias: false, ...options }),
      new Linear(GATE_RANK, numKvHeads * keyDim, options),
    ];
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, numKvHeads, featureMap, clampMin } = this.config;
    const phi = POINTWISE_MAPS[featureMap];
    const part = (name: string, proj: Linear, conv: ShortConvolution | null, heads: number): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), heads);
    const q = part('q', this.q_proj, this.q_conv1d, numHeads);
    const k = part('k', this.k_proj, this.k_conv1d, numKvHeads);
    const v = part('v', this.v_proj, this.v_conv1d, numKvHeads);
    const [down, up] = this.gk_proj;
    const gate = toFloat32(up.forward(down.forward(x)))
      .logSigmoid()
      .div(GATE_NORMALIZER);
    const bounded = clampMin === null ? gate : gate.maximum(clampMin);
    return {
      q: phi(q),
      k: repeatHeads(phi(k), numHeads),
      v: repeatHeads(v, numHeads),
      gate: repeatHeads(splitHeads(bounded, numKvHeads), numHeads),
    };
  }
}

/**
 * Language model of `GatedLinearAttention` layers under the weight names of flash-linear-attention's GLAForCausalLM,
 * `model_type` 'gla'; 24 layers of width 2048 with 4 heads by default.
 */
export class GLAForCausalLM extends CausalLM<GlaConfiguration> {
  constructor(input: EitherSpelling<GlaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new GatedLinearAttention(config, options), options), options);
  }
}

export const glaFamily: ModelDefinition<GlaKeys, 'gla'> = {
  modelType: 'gla',
  name: 'gla',
  architecture: 'GLAForCausalLM',
  description: 'gated linear attention: a learned decay per key channel (Yang et al. 2023)',
  keys: {
    ...FLA_KEYS,
    ...HEAD_KEYS,
    ...CONVOLUTION_KEYS,
    featureMap: true,
    useOutputGate: 'flag',
    useGk: 'flag',
    useGv: 'flag',
    clampMin: true,
  },
  configuration: ({ numHeads, feedForward }) => ({
    numHeads,
    intermediateSize: feedForward,
    expandK: 0.5,
    expandV: 1,
  }),
  model: GLAForCausalLM,
};
