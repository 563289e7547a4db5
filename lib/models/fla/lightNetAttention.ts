// The layer of LightNet, with the weight names of flash-linear-attention (Qin et al. 2024).
import { checkInteger, checkOptions, type Device, type DType, type OptionNames, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, Sequential, ShortConvolution } from '../../nn';
import { full, TENSOR_OPTIONS, type TensorOptions } from '../../ops';
import { lightNet } from '../../rules';
import { MemoriesMixer, type MemoriesRule, type QkvInputs } from '../common/memoriesMixer';
import { type Placed, checkHeads, mergeHeads, splitHeads } from '../common/mixer';
import type { Past } from '../common/ruleMixer';

/** Options of `LightNetAttention`, those that a tensor is made with among them. */
export interface LightNetAttentionOptions extends TensorOptions {
  /** K, width of a head's keys; hiddenSize / numHeads by default. */
  keyDim?: number;
  /** Tokens that the convolutions of q, k and v see; none by default. */
  convSize?: number | null;
  /** Width between x and the gate of the output, 128 by default. */
  gateRank?: number;
  /** In the norm of the output, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<LightNetAttentionOptions> = {
  ...TENSOR_OPTIONS,
  keyDim: true,
  convSize: true,
  gateRank: true,
  normEps: true,
};

/** S [B, H, K, V] and the logarithms of the sums of its keys [B, H, K], -Infinity before the first token. */
type Memories = { state: Tensor; logSum: Tensor };

/** `lightNet` with silu on q, and a norm of all heads together in front of a gate of low rank (Qin et al. 2024). */
export class LightNetAttention extends MemoriesMixer<QkvInputs, Memories> {
  /** Queries, weight [H K, hidden], no bias. */
  q_proj: Linear;
  /** Keys, weight [H K, hidden], no bias. */
  k_proj: Linear;
  /** Values, weight [hidden, hidden], no bias. */
  v_proj: Linear;
  /** Over the queries, weight [H K, 1, convSize]; null without `convSize`. */
  q_conv1d: ShortConvolution | null;
  /** Over the keys, weight [H K, 1, convSize]; null without `convSize`. */
  k_conv1d: ShortConvolution | null;
  /** Over the values, weight [hidden, 1, convSize]; null without `convSize`. */
  v_conv1d: ShortConvolution | null;
  /** To the gate of the output before its silu, weights [gateRank, hidden] and [hidden, gateRank]. */
  g_proj: Sequential;
  /** Of all heads' outputs together, weight [hidden]. */
  g_norm: GatedRMSNorm;
  /** To the output, weight [hidden, hidden], no bias. */
  o_proj: Linear;
  protected readonly rule = lightNet as unknown as MemoriesRule<QkvInputs, Memories>;
  protected readonly shapes: { state: readonly number[]; logSum: readonly number[] };

  constructor(
    hiddenSize: number,
    /** A divisor of hiddenSize. */
    readonly numHeads: number,
    options: LightNetAttentionOptions = {},
  ) {
    super();
    const where = 'LightNetAttention';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    const { keyDim = hiddenSize / numHeads, convSize = null, gateRank = 128, normEps = 1e-5, ...on } = options;
    const keys = numHeads * checkInteger(where, 'keyDim', keyDim, 1);
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...on });
    const conv = (width: number): ShortConvolution | null =>
      convSize === null ? null : new ShortConvolution(width, convSize, { activation: null, ...on });
    this.shapes = { state: [numHeads, keyDim, hiddenSize / numHeads], logSum: [numHeads, keyDim] };
    this.q_proj = linear(hiddenSize, keys);
    this.k_proj = linear(hiddenSize, keys);
    this.v_proj = linear(hiddenSize, hiddenSize);
    this.q_conv1d = conv(keys);
    this.k_conv1d = conv(keys);
    this.v_conv1d = conv(hiddenSize);
    this.g_proj = new Sequential(linear(hiddenSize, gateRank), linear(gateRank, hiddenSize));
    this.g_norm = new GatedRMSNorm(hiddenSize, { eps: normEps, ...on });
    this.o_proj = linear(hiddenSize, hiddenSize);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected override blank(batch: number, where: { device: Device; dtype: DType }): Memories {
    const { state, logSum } = super.blank(batch, where);
    return { state, logSum: full(logSum.shape, -Infinity, where) };
  }

  protected inputs(x: Tensor, past: Past): QkvInputs {
    const part = (name: string, proj: Linear, conv: ShortConvolution | null): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), this.numHeads);
    return {
      q: part('q', this.q_proj, this.q_conv1d).silu(),
      k: part('k', this.k_proj, this.k_conv1d),
      v: part('v', this.v_proj, this.v_conv1d),
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    return this.o_proj.forward(this.g_norm.forward(mergeHeads(output), this.g_proj.forward(x)));
  }
}
