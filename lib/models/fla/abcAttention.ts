// ABC: attention to a fixed number of slots, each an average over the past (Peng et al. 2022; spec 2.13.19).
import { argumentError, checkObject, type Device, type DType, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, ShortConvolution } from '../../nn';
import { full, type TensorOptions, toFloat32 } from '../../ops';
import { abc } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import { MemoriesMixer, type MemoriesRule, type QkvInputs } from '../common/memoriesMixer';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import type { ModelDefinition } from '../common/registry';
import type { Past } from '../common/ruleMixer';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys } from './keys';
import { type FlaConfiguration, FlaDecoder, readFla } from './skeleton';

export interface AbcKeys extends FlaKeys<'abc'>, ConvolutionKeys {
  /** 4 by default. */
  numHeads?: Count;
  /** Slots of each head, 64 by default; where it is null, the width of a head's keys. */
  numSlots?: Count;
  /** Width of all keys over the hidden size, 0.5 by default. */
  expandK?: Count;
  /** Width of all values over the hidden size, 1 by default. */
  expandV?: Count;
  /** What the published program reads for `expandK`; that counts where both are there. */
  exapndK?: Count;
  /** What the published program reads for `expandV`; that counts where both are there. */
  exapndV?: Count;
  /** Whether q and k are turned by their positions, true by default. */
  useRope?: Flag;
  /** Least logarithm of a token's weight in a slot, -32 by default; null for none. */
  clampMin?: Count;
  /** Greatest logarithm of a token's weight in a slot, 32 by default; null for none. */
  clampMax?: Count;
  /** Changes nothing here, as it never reaches the layers of the published program. It is saved again. */
  gateLowRankDim?: Count;
}

/** What `ABCForCausalLM` reads from its keys, with the defaults filled in. */
export interface AbcConfiguration extends FlaConfiguration {
  /** Heads of q, k and v (`num_heads`, 4 by default). */
  readonly numHeads: number;
  /** Width of a head's keys, hiddenSize * `expand_k` / numHeads (0.5 by default). */
  readonly keyDim: number;
  /** Width of a head's values, hiddenSize * `expand_v` / numHeads (1 by default). */
  readonly valueDim: number;
  /** Slots of each head (`num_slots`, 64 by default; keyDim where it is null). */
  readonly numSlots: number;
  /** Whether q and k are turned by their positions (`use_rope`, true by default). */
  readonly rotary: boolean;
  /** Bounds of what `s_proj` gives (`clamp_min`, -32 by default, and `clamp_max`, 32; infinite where they are null). */
  readonly slotBounds: readonly [number, number];
  /** Tokens that the convolutions of q, k and v see; none when null, as by default. */
  readonly convSize: number | null;
}

/** The published program misspells `expand_k` and `expand_v` where it reads them, and saves them right. */
function readConfiguration(input: object): AbcConfiguration {
  const reader = ConfigurationReader.of(input, abcFamily);
  const base = readFla(reader, abcFamily);
  const numHeads = reader.size('num_heads', 4);
  const width = (letter: 'k' | 'v', fallback: number): number => {
    const ratio = reader.number(`expand_${letter}`, reader.number(`exapnd_${letter}`, fallback));
    return reader.divides(reader.scaled(`expand_${letter}`, base.hiddenSize * ratio), 'num_heads', numHeads);
  };
  const bound = (key: string, fallback: number, least: number): number =>
    reader.source[key] === null ? fallback * Infinity : reader.number(key, fallback, least);
  const keyDim = width('k', 0.5);
  const rotary = reader.flag('use_rope', true);
  if (rotary && keyDim % 2 !== 0) {
    const expected = 'heads of an even width, which rotary positions turn in pairs';
    throw argumentError('INVALID_ARGUMENT', base.modelType, 'expand_k', expected, `${numHeads} of width ${keyDim}`);
  }
  const least = bound('clamp_min', -32, -Infinity);
  return {
    ...base,
    numHeads,
    keyDim,
    valueDim: width('v', 1),
    numSlots: reader.source.num_slots === null ? keyDim : reader.size('num_slots', 64),
    rotary,
    slotBounds: [least, bound('clamp_max', 32, least)],
    convSize: reader.flag('use_short_conv', false) ? reader.size('conv_size', 4) : null,
  };
}

type SlotInputs = QkvInputs & { slots: Tensor };
/** Keys [B, H, K, M] and values [B, H, M, V] of the slots, and the logarithms of the sums of their weights [B, H, M]. */
type Slots = { keyState: Tensor; valueState: Tensor; logSum: Tensor };

/**
 * `abc` with slots = s_proj x between bounds, q and k turned by their positions, and a gated norm of each head (Peng et al.
 * 2022, "ABC: Attention with Bounded-memory Control").
 */
export class ABCAttention extends MemoriesMixer<SlotInputs, Slots> {
  /** To the queries, weight [numHeads * keyDim, hiddenSize], no bias. */
  q_proj: Linear;
  /** To the keys, weight [numHeads * keyDim, hiddenSize], no bias. */
  k_proj: Linear;
  /** To the values, weight [numHeads * valueDim, hiddenSize], no bias. */
  v_proj: Linear;
  /** To the gate of the output before its silu, weight [numHeads * valueDim, hiddenSize], no bias. */
  g_proj: Linear;
  /** To the logarithms of a token's weights in the slots, weight [numHeads * numSlots, hiddenSize], no bias. */
  s_proj: Linear;
  /** Over the queries, weight [numHeads * keyDim, 1, convSize], with silu; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, weight [numHeads * keyDim, 1, convSize], with silu; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [numHeads * valueDim, 1, convSize], with silu; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** Of each head by itself, weight [valueDim]. */
  g_norm: GatedRMSNorm;
  /** From the heads to the output, weight [hiddenSize, numHeads * valueDim], no bias. */
  o_proj: Linear;
  protected readonly rule = abc as unknown as MemoriesRule<SlotInputs, Slots>;
  protected readonly shapes: {
    keyState: readonly number[];
    valueState: readonly number[];
    logSum: readonly number[];
  };

  constructor(
    /** That of the model, of which the layer reads its sizes and switches. */
    readonly config: AbcConfiguration,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numHeads: H, keyDim: K, valueDim: V, numSlots: M, convSize, normEps } = config;
    const linear = (dim: number): Linear => new Linear(hiddenSize, dim, { bias: false, ...options });
    const conv = (dim: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(dim, convSize, options);
    this.shapes = { keyState: [H, K, M], valueState: [H, M, V], logSum: [H, M] };
    this.q_proj = linear(H * K);
    this.k_proj = linear(H * K);
    this.v_proj = linear(H * V);
    this.g_proj = linear(H * V);
    this.s_proj = linear(H * M);
    this.q_conv1d = conv(H * K);
    this.k_conv1d = conv(H * K);
    this.v_conv1d = conv(H * V);
    this.g_norm = new GatedRMSNorm(V, { eps: normEps, ...options });
    this.o_proj = new Linear(H * V, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected override blank(batch: number, where: { device: Device; dtype: DType }): Slots {
    const empty = super.blank(batch, where);
    return { ...empty, logSum: full(empty.logSum.shape, -Infinity, where) };
  }

  protected inputs(x: Tensor, past: Past): SlotInputs {
    const { numHeads, rotary, slotBounds } = this.config;
    const part = (name: string, proj: Linear, conv: ShortConvolution | null): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), numHeads);
    const turned = (t: Tensor): Tensor => (rotary ? past.rotate(t) : t);
    return {
      q: turned(part('q', this.q_proj, this.q_conv1d)),
      k: turned(part('k', this.k_proj, this.k_conv1d)),
      v: part('v', this.v_proj, this.v_conv1d),
      slots: splitHeads(toFloat32(this.s_proj.forward(x)).clamp(...slotBounds), numHeads),
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const gate = splitHeads(this.g_proj.forward(x), this.config.numHeads);
    return this.o_proj.forward(mergeHeads(this.g_norm.forward(output, gate)));
  }
}

/**
 * Language model of `ABCAttention` layers under the weight names of flash-linear-attention's ABCForCausalLM, `model_type`
 * 'abc'; 24 layers of width 2048 with 4 heads of 64 slots by default.
 */
export class ABCForCausalLM extends CausalLM<AbcConfiguration> {
  constructor(input: EitherSpelling<AbcKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new ABCAttention(config, options), options), options);
  }
}

export const abcFamily: ModelDefinition<AbcKeys, 'abc'> = {
  modelType: 'abc',
  name: 'abc',
  architecture: 'ABCForCausalLM',
  description: 'ABC: softmax over slots, each an average of the past by learned weights (Peng et al. 2022)',
  keys: {
    ...FLA_KEYS,
    ...CONVOLUTION_KEYS,
    numHeads: true,
    numSlots: true,
    expandK: true,
    expandV: true,
    exapndK: true,
    exapndV: true,
    useRope: 'flag',
    clampMin: true,
    clampMax: true,
    gateLowRankDim: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    numSlots: headDim,
    expandK: 1,
    intermediateSize: feedForward,
  }),
  model: ABCForCausalLM,
};
