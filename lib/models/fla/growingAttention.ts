// Layers of attention whose memory grows with the text: their base, forgetting attention and PaTH, with the weight names of
// flash-linear-attention.
import { checkInteger, checkOptions, FastWeightsError, type OptionNames, type Tensor } from '../../core';
import { Linear, RMSNorm, Sequential, ShortConvolution } from '../../nn';
import { l2Norm, rmsNorm, TENSOR_OPTIONS, type TensorOptions, toFloat32 } from '../../ops';
import { forgettingAttention, pathAttention } from '../../rules';
import { MemoriesMixer, type MemoriesRule, type QkvInputs } from '../common/memoriesMixer';
import {
  type Placed,
  checkHeads,
  checkSequence,
  mergeHeads,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
} from '../common/mixer';
import type { Past, WithRecent } from '../common/ruleMixer';

/** Keys and values of every token so far, [B, S, H, D]. */
export type Growing = { keys: Tensor; values: Tensor };
/** The sums of gates behind each key beside them, [B, S, HQ]. */
type Decaying = Growing & { decays?: Tensor };

/** Projections to q, k, v, with biases if they are asked for, and of the output, without one. */
export abstract class GrowingAttention<I extends QkvInputs, M extends Growing> extends MemoriesMixer<I, M> {
  /** Queries, weight [hidden, hidden]. */
  q_proj: Linear;
  /** Keys, weight [numKvHeads * D, hidden]. */
  k_proj: Linear;
  /** Values, weight [numKvHeads * D, hidden]. */
  v_proj: Linear;
  /** To the output, weight [hidden, hidden]. */
  o_proj: Linear;

  protected constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** Heads of queries, a divisor of hiddenSize. */
    readonly numHeads: number,
    /** Heads of keys and values, a divisor of numHeads. */
    readonly numKvHeads: number,
    options: TensorOptions,
    bias = false,
  ) {
    super();
    const where = new.target.name;
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    checkHeads(where, 'numKvHeads', numKvHeads, numHeads);
    const narrow = (hiddenSize / numHeads) * numKvHeads;
    const linear = (width: number): Linear => new Linear(hiddenSize, width, { bias, ...options });
    this.q_proj = linear(hiddenSize);
    this.k_proj = linear(narrow);
    this.v_proj = linear(narrow);
    this.o_proj = new Linear(hiddenSize, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  override forward(x: Tensor, options: SequenceOptions<WithRecent<M>> = {}): SequenceResult<WithRecent<M>> {
    checkSequence(`${this.constructor.name}.forward`, options);
    if (options.cuSeqlens && (options.state || options.outputState)) {
      const message = `${this.constructor.name}: packed sequences have no state`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
    }
    return super.forward(x, options);
  }

  /** Memories of no tokens. */
  protected get empty(): { keys: readonly number[]; values: readonly number[] } {
    const shape = [0, this.numKvHeads, this.hiddenSize / this.numHeads];
    return { keys: shape, values: shape };
  }

  protected qkv(x: Tensor): QkvInputs {
    const { numHeads, numKvHeads } = this;
    return {
      q: splitHeads(this.q_proj.forward(x), numHeads),
      k: splitHeads(this.k_proj.forward(x), numKvHeads),
      v: splitHeads(this.v_proj.forward(x), numKvHeads),
    };
  }

  protected readout(output: Tensor, _x: Tensor): Tensor {
    return this.o_proj.forward(mergeHeads(output));
  }
}

/** RMS norm of each head by itself, with a weight for every channel of all of them; 1e-5 is added to the mean square. */
class HeadRMSNorm extends RMSNorm {
  constructor(dim: number, options: TensorOptions) {
    super(dim, { eps: 1e-5, ...options });
  }

  /** x [..., H, D] */
  override forward(x: Tensor): Tensor {
    return rmsNorm(x, null, { eps: this.eps }).mul(this.weight.reshape(...x.shape.slice(-2)));
  }
}

/** Options of `ForgettingAttention`, those that a tensor is made with among them. */
export interface ForgettingAttentionOptions extends TensorOptions {
  /** Heads of keys and values, as many as those of queries by default. */
  numKvHeads?: number;
  /** A token sees itself and the windowSize - 1 before it; all before it by default. */
  windowSize?: number | null;
  /** Whether the output is multiplied by sigmoid(g_proj x), false by default. */
  outputGate?: boolean;
  /** Whether the projections to q, k and v have biases, false by default. */
  qkvBias?: boolean;
  /** Whether q and k of each head have an RMS norm, false by default. */
  qkNorm?: boolean;
}

const FORGETTING: OptionNames<ForgettingAttentionOptions> = {
  ...TENSOR_OPTIONS,
  numKvHeads: true,
  windowSize: true,
  outputGate: 'flag',
  qkvBias: 'flag',
  qkNorm: 'flag',
};

type ForgettingInputs = QkvInputs & { gate: Tensor; windowSize: number | null };

/** `forgettingAttention` with log gates logsigmoid(f_proj x) (Lin et al. 2025, "Forgetting Transformer"). */
export class ForgettingAttention extends GrowingAttention<ForgettingInputs, Growing & { decays: Tensor }> {
  /** To the gates, weight [numHeads, hidden] and a bias. */
  f_proj: Linear;
  /** To the gate of the output before its sigmoid, weight [hidden, hidden]; null without one. */
  g_proj: Linear | null;
  /** Of the queries, weight [hidden]; null without `qkNorm`. */
  q_norm: RMSNorm | null;
  /** Of the keys, weight [numKvHeads * D]; null without `qkNorm`. */
  k_norm: RMSNorm | null;
  protected readonly rule = forgettingAttention as unknown as MemoriesRule<
    ForgettingInputs,
    Growing & { decays: Tensor }
  >;
  private readonly windowSize: number | null;

  constructor(hiddenSize: number, numHeads: number, options: ForgettingAttentionOptions = {}) {
    checkOptions('ForgettingAttention', options, FORGETTING);
    const {
      numKvHeads = numHeads,
      windowSize = null,
      outputGate = false,
      qkvBias = false,
      qkNorm = false,
      ...on
    } = options;
    super(hiddenSize, numHeads, numKvHeads, on, qkvBias);
    this.windowSize = windowSize === null ? null : checkInteger('ForgettingAttention', 'windowSize', windowSize, 1);
    this.f_proj = new Linear(hiddenSize, numHeads, on);
    this.g_proj = outputGate ? new Linear(hiddenSize, hiddenSize, { bias: false, ...on }) : null;
    this.q_norm = qkNorm ? new HeadRMSNorm(hiddenSize, on) : null;
    this.k_norm = qkNorm ? new HeadRMSNorm((hiddenSize / numHeads) * numKvHeads, on) : null;
  }

  protected get shapes(): { keys: readonly number[]; values: readonly number[]; decays: readonly number[] } {
    return { ...this.empty, decays: [0, this.numHeads] };
  }

  protected inputs(x: Tensor): ForgettingInputs {
    const gate = toFloat32(this.f_proj.forward(x)).logSigmoid();
    const { q, k, v } = this.qkv(x);
    const { q_norm, k_norm, windowSize } = this;
    return { q: q_norm?.forward(q) ?? q, k: k_norm?.forward(k) ?? k, v, gate, windowSize };
  }

  protected override readout(output: Tensor, x: Tensor): Tensor {
    const read = mergeHeads(output);
    return this.o_proj.forward(this.g_proj ? read.mul(this.g_proj.forward(x).sigmoid()) : read);
  }
}

/** Options of `PaTHAttention`, those that a tensor is made with among them. */
export interface PaTHAttentionOptions extends TensorOptions {
  /** Heads of keys and values, as many as those of queries by default. */
  numKvHeads?: number;
  /** Whether what lies back is forgotten, too, with logsigmoid(g_proj x), false by default. */
  forgetGate?: boolean;
  /** Width between x and w, 32 by default; null for one matrix. */
  rank?: number | null;
  /** Tokens that the convolution of w sees, 3 by default; null for none. */
  convSize?: number | null;
}

const PATH: OptionNames<PaTHAttentionOptions> = {
  ...TENSOR_OPTIONS,
  numKvHeads: true,
  forgetGate: 'flag',
  rank: true,
  convSize: true,
};

type PathInputs = QkvInputs & { w: Tensor; beta: Tensor; gate?: Tensor };

/**
 * `pathAttention` with w = w_proj x behind a convolution with silu, of unit length, and beta = 2 sigmoid(bt_proj x) (Yang et al.
 * 2025, "PaTH Attention").
 */
export class PaTHAttention extends GrowingAttention<PathInputs, Decaying> {
  /** To w, weights [rank, hidden] and [numKvHeads * D, rank], or one [numKvHeads * D, hidden]. */
  w_proj: Sequential | Linear;
  /** Over w, weight [numKvHeads * D, 1, convSize]; null without one. */
  w_conv1d: ShortConvolution | null;
  /** To the strengths, weight [numKvHeads, hidden] and a bias. */
  bt_proj: Linear;
  /** To the gates, weight [numHeads, hidden] and a bias; null without them. */
  g_proj: Linear | null;
  protected readonly rule = pathAttention as unknown as MemoriesRule<PathInputs, Decaying>;

  constructor(hiddenSize: number, numHeads: number, options: PaTHAttentionOptions = {}) {
    checkOptions('PaTHAttention', options, PATH);
    const { numKvHeads = numHeads, forgetGate = false, rank = 32, convSize = 3, ...on } = options;
    super(hiddenSize, numHeads, numKvHeads, on);
    const narrow = (hiddenSize / numHeads) * numKvHeads;
    const linear = (from: number, to: number): Linear => new Linear(from, to, { bias: false, ...on });
    this.w_proj =
      rank === null ? linear(hiddenSize, narrow) : new Sequential(linear(hiddenSize, rank), linear(rank, narrow));
    this.w_conv1d = convSize === null ? null : new ShortConvolution(narrow, convSize, on);
    this.bt_proj = new Linear(hiddenSize, numKvHeads, on);
    this.g_proj = forgetGate ? new Linear(hiddenSize, numHeads, on) : null;
  }

  protected get shapes(): { keys: readonly number[]; values: readonly number[]; decays?: readonly number[] } {
    return { ...this.empty, ...(this.g_proj && { decays: [0, this.numHeads] }) };
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { w: this.w_conv1d };
  }

  protected inputs(x: Tensor, past: Past): PathInputs {
    const w = past.convolve('w', this.w_conv1d, this.w_proj.forward(x));
    return {
      ...this.qkv(x),
      w: l2Norm(toFloat32(splitHeads(w, this.numKvHeads))),
      beta: toFloat32(this.bt_proj.forward(x)).sigmoid().mul(2),
      ...(this.g_proj && { gate: toFloat32(this.g_proj.forward(x)).logSigmoid() }),
    };
  }
}
