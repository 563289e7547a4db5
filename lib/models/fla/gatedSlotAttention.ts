// GSA: attention to slots that are written and forgotten one by one (Zhang et al. 2024; spec 2.13.19).
import { checkObject, type Tensor } from '../../core';
import { Linear, RMSNorm, ShortConvolution } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { gsa } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag, Name } from '../common/keys';
import { MemoriesMixer, type QkvInputs } from '../common/memoriesMixer';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import type { Past } from '../common/ruleMixer';
import { type FeatureMap, makeFeatureMap, POINTWISE_MAPS } from './featureMaps';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, type HeadSizes, OUTPUT_NORM_EPS, readFla, readHeads } from './skeleton';

export interface GsaKeys extends FlaKeys<'gsa'>, HeadKeys, ConvolutionKeys {
  numSlots?: Count;
  gateLogitNormalizer?: Count;
  featureMap?: Name<'swish' | 'relu' | 't2r'>;
  exapndK?: Count;
  exapndV?: Count;
  clampMin?: Count;
  clampMax?: Count;
  useOutputGate?: Flag;
  useNorm?: Flag;
}

/** What `GSAForCausalLM` reads from its keys, with the defaults filled in. */
export interface GsaConfiguration extends FlaConfiguration, HeadSizes {
  /** Slots of each head of keys and values (`num_slots`, 64 by default; a head's key width where it is null). */
  readonly numSlots: number;
  /** What the logarithm of each decay is divided by (`gate_logit_normalizer`, 8 by default). */
  readonly gateNormalizer: number;
  /** Of q and k behind the convolution (`feature_map`, 'swish' by default); 't2r' has a weight for all heads. */
  readonly featureMap: 'swish' | 'relu' | 't2r';
  /** Tokens that the convolutions of q, k and v see; none when null, as by default. */
  readonly convSize: number | null;
}

/**
 * The published program misspells `expand_k` and `expand_v` where it reads them, and saves them right. `clamp_min`,
 * `clamp_max`, `use_output_gate` and `use_norm` never reach its layers.
 */
function readConfiguration(input: object): GsaConfiguration {
  const reader = ConfigurationReader.of(input, gsaFamily);
  const base = readFla(reader, gsaFamily);
  const heads = readHeads(reader, base.hiddenSize, {
    expandK: reader.number('exapnd_k', 1),
    expandV: reader.supported('exapnd_v', 1, [1]),
  });
  // The norm of the output is as wide as the model.
  reader.supported('expand_v', 1, [1]);
  const derived = reader.source.num_slots === null;
  return {
    ...base,
    ...heads,
    numSlots: derived ? heads.keyDim : reader.size('num_slots', 64),
    gateNormalizer: reader.positive('gate_logit_normalizer', 8),
    featureMap: reader.supported('feature_map', 'swish', ['swish', 'relu', 't2r']),
    convSize: reader.flag('use_short_conv', false) ? reader.size('conv_size', 4) : null,
  };
}

/** What a layer remembers of its slots. */
type Slots = {
  /** Their keys [B, numKvHeads, keyDim, numSlots]. */
  keyState: Tensor;
  /** Their values [B, numKvHeads, numSlots, valueDim]. */
  valueState: Tensor;
};
type SlotInputs = QkvInputs & { slots: Tensor; gate: Tensor; scale: number };

/**
 * Softmax attention to slots (Zhang et al. 2024, "Gated Slot Attention for Efficient Linear-Time Sequence Modeling"): log
 * decay logsigmoid(f_proj x) / `gateNormalizer` of each slot, which is written with 1 - decay; q and k through the feature
 * map, v through silu, the output through silu and a norm. Nothing is divided by the root of the width.
 */
export class GatedSlotAttention extends MemoriesMixer<SlotInputs, Slots> {
  /** To the queries, weight [numHeads * keyDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys, weight [numKvHeads * keyDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numKvHeads * valueDim, hiddenSize], no bias. */
  v_proj: Linear;
  /** To the decays, weight [numKvHeads * numSlots, hiddenSize], no bias. */
  f_proj: Linear;
  /** Over the queries, weight [numHeads * keyDim, 1, convSize], with silu; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, weight [numKvHeads * keyDim, 1, convSize], with silu; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [numKvHeads * valueDim, 1, convSize], with silu; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** Of q and k, 't2r' with a weight [keyDim, keyDim]; null where it has none. */
  feature_map: FeatureMap | null;
  /** Of all heads' outputs together, weight [hiddenSize], with 1e-5 added to the mean square whatever `normEps` is. */
  g_norm: RMSNorm;
  /** From the heads to the output, weight [hiddenSize, hiddenSize], no bias. */
  o_proj: Linear;
  protected readonly rule = gsa;
  protected readonly shapes: { keyState: readonly number[]; valueState: readonly number[] };

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: GsaConfiguration,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads, numKvHeads, keyDim, valueDim, numSlots, featureMap, convSize } = config;
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, options);
    this.shapes = { keyState: [numKvHeads, keyDim, numSlots], valueState: [numKvHeads, numSlots, valueDim] };
    this.q_proj = linear(numHeads * keyDim);
    this.k_proj = linear(numKvHeads * keyDim);
    this.v_proj = linear(numKvHeads * valueDim);
    this.f_proj = linear(numKvHeads * numSlots);
    this.q_conv1d = conv(numHeads * keyDim);
    this.k_conv1d = conv(numKvHeads * keyDim);
    this.v_conv1d = conv(numKvHeads * valueDim);
    this.feature_map = featureMap === 't2r' ? makeFeatureMap(featureMap, keyDim, options) : null;
    this.g_norm = new RMSNorm(hiddenSize, { eps: OUTPUT_NORM_EPS, ...options });
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected inputs(x: Tensor, past: Past): SlotInputs {
    const { numHeads, numKvHeads, gateNormalizer, featureMap } = this.config;
    const { feature_map } = this;
    const phi = (t: Tensor): Tensor =>
      feature_map ? feature_map.forward(t) : POINTWISE_MAPS[featureMap as 'swish' | 'relu'](t);
    const part = (name: string, proj: Linear, conv: ShortConvolution | null, heads: number): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), heads);
    const gate = toFloat32(this.f_proj.forward(x)).logSigmoid().div(gateNormalizer);
    return {
      q: phi(part('q', this.q_proj, this.q_conv1d, numHeads)),
      k: phi(part('k', this.k_proj, this.k_conv1d, numKvHeads)),
      v: part('v', this.v_proj, this.v_conv1d, numKvHeads).silu(),
      slots: splitHeads(gate.expm1().neg(), numKvHeads),
      gate: splitHeads(gate, numKvHeads),
      scale: 1,
    };
  }

  protected readout(output: Tensor): Tensor {
    return this.o_proj.forward(this.g_norm.forward(mergeHeads(output).silu()));
  }
}

/**
 * Language model of `GatedSlotAttention` layers under the weight names of flash-linear-attention's GSAForCausalLM,
 * `model_type` 'gsa'; 24 layers of width 2048 with 4 heads of 64 slots by default.
 */
export class GSAForCausalLM extends CausalLM<GsaConfiguration> {
  constructor(input: EitherSpelling<GsaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new GatedSlotAttention(config, options), options), options);
  }
}

export const gsaFamily: ModelDefinition<GsaKeys, 'gsa'> = {
  modelType: 'gsa',
  name: 'gsa',
  architecture: 'GSAForCausalLM',
  description: 'gated slot attention: softmax over slots that are forgotten one by one (Zhang et al. 2024)',
  keys: {
    ...FLA_KEYS,
    ...HEAD_KEYS,
    ...CONVOLUTION_KEYS,
    numSlots: true,
    gateLogitNormalizer: true,
    featureMap: true,
    exapndK: true,
    exapndV: true,
    clampMin: true,
    clampMax: true,
    useOutputGate: 'flag',
    useNorm: 'flag',
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    numSlots: headDim,
    intermediateSize: feedForward,
  }),
  model: GSAForCausalLM,
};
