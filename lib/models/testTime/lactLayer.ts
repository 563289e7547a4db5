// A layer of LaCT: a SwiGLU per head that learns the text in large chunks (Zhang et al. 2025).
import { checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { GatedRMSNorm, Linear, parameter, ShortConvolution } from '../../nn';
import { l2Norm, randn, split, TENSOR_OPTIONS, type TensorOptions, toFloat32, zeros } from '../../ops';
import { lact } from '../../rules';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import { type ChunkedPast, type ChunkedRule, type Operands, TestTimeMixer } from './mixer';

/** Options of `LactLayer`. */
export interface LactLayerOptions extends TensorOptions {
  /** Tokens between two changes of the networks, 2048 by default. */
  chunkSize?: number;
  /** Width M of each head's network, that of the head by default. */
  innerSize?: number | null;
  /** Whether a step is the gradient made orthogonal, as in Muon: true by default. */
  muon?: boolean;
  /** Whether a step takes some of the last one along: true by default. */
  momentum?: boolean;
  /** Tokens that the convolutions of q, k and v see, 4 by default. */
  convSize?: number;
  /** The largest rate of a token, before it is divided by `chunkSize`: 1 by default. */
  baseRate?: number;
  /** In the norm of each head's output, 1e-6 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<LactLayerOptions> = {
  ...TENSOR_OPTIONS,
  chunkSize: true,
  innerSize: true,
  muon: 'flag',
  momentum: 'flag',
  convSize: true,
  baseRate: true,
  normEps: true,
};

/** The place in a chunk stands in its `tally` already. */
const rule: ChunkedRule = Object.assign(
  (q: Tensor, k: Tensor, v: Tensor, { position: _, ...options }: Parameters<ChunkedRule>[3]) =>
    lact(q, k, v, options as Parameters<typeof lact>[3]),
  {
    step: (q: Tensor, k: Tensor, v: Tensor, { position: _, ...options }: Parameters<ChunkedRule['step']>[3]) =>
      lact.step(q, k, v, options as unknown as Parameters<typeof lact.step>[3]),
  },
);

/**
 * o_proj(RMSNorm(y) silu(g_proj x)), y the output of `lact` per head: q, k and v behind convolutions with silu, q and k of unit
 * length. Choices made here: the rates of the three weights are baseRate sigmoid(rate_proj x) / chunkSize, so that a chunk teaches
 * a mean, momentum is sigmoid(momentum_proj x), and the networks that a text begins with, w0, w2 [H, M, D] and w1 [H, D, M], are
 * trained. Within a chunk tokens see each other through the convolutions alone; the paper's models have attention to a window
 * beside such a layer.
 */
export class LactLayer extends TestTimeMixer {
  /** Queries, weight [hidden, hidden], no bias. */
  q_proj: Linear;
  /** Keys, weight [hidden, hidden], no bias. */
  k_proj: Linear;
  /** Values, weight [hidden, hidden], no bias. */
  v_proj: Linear;
  /** Over the queries, weight [hidden, 1, convSize], with silu. */
  q_conv1d: ShortConvolution;
  /** Over the keys, weight [hidden, 1, convSize], with silu. */
  k_conv1d: ShortConvolution;
  /** Over the values, weight [hidden, 1, convSize], with silu. */
  v_conv1d: ShortConvolution;
  /** To the rates of w0, w1 and w2 before their sigmoid, weight [3 H, hidden]. */
  rate_proj: Linear;
  /** To the share of the last step that is taken along, before its sigmoid, weight [H, hidden]; null without momentum. */
  momentum_proj: Linear | null;
  /** Before the silu of the network, at first: [H, M, D]. */
  w0: Tensor;
  /** Out of the network, at first: [H, D, M]. */
  w1: Tensor;
  /** What the silu is multiplied by, at first: [H, M, D]. */
  w2: Tensor;
  /** To the gate of the output before its silu, weight [hidden, hidden]. */
  g_proj: Linear;
  /** Weight [D], for all heads. */
  o_norm: GatedRMSNorm;
  /** From the heads to the output, weight [hidden, hidden]. */
  o_proj: Linear;
  protected readonly rule = rule;
  protected readonly settings: { chunkSize: number; muon: boolean };
  protected readonly chunk: number;
  private readonly baseRate: number;

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** A divisor of hiddenSize; each has a network of its own. */
    readonly numHeads: number,
    options: LactLayerOptions = {},
  ) {
    super();
    const name = 'LactLayer';
    checkOptions(name, options, OPTIONS);
    const { chunkSize = 2048, innerSize, muon = true, momentum = true, ...rest } = options;
    const { convSize = 4, baseRate = 1, normEps = 1e-6, ...where } = rest;
    checkInteger(name, 'numHeads', numHeads, 1);
    this.chunk = checkInteger(name, 'chunkSize', chunkSize, 1);
    this.settings = { chunkSize, muon };
    this.baseRate = checkNumber(name, 'baseRate', baseRate);
    const [H, D] = [numHeads, hiddenSize / numHeads];
    const M = checkInteger(name, 'innerSize', innerSize ?? D, 1);
    const project = (width: number): Linear => new Linear(hiddenSize, width, { bias: false, ...where });
    const convolution = (): ShortConvolution => new ShortConvolution(hiddenSize, convSize, where);
    const draw = (rows: number, columns: number): Tensor =>
      parameter(noGrad(() => randn([H, rows, columns], { std: columns ** -0.5, ...where })));
    this.q_proj = project(hiddenSize);
    this.k_proj = project(hiddenSize);
    this.v_proj = project(hiddenSize);
    this.q_conv1d = convolution();
    this.k_conv1d = convolution();
    this.v_conv1d = convolution();
    this.rate_proj = project(3 * H);
    this.momentum_proj = momentum ? project(H) : null;
    this.w0 = draw(M, D);
    this.w1 = draw(D, M);
    this.w2 = draw(M, D);
    this.g_proj = project(hiddenSize);
    this.o_norm = new GatedRMSNorm(D, { eps: normEps, ...where });
    this.o_proj = project(hiddenSize);
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected starts(): { [name: string]: [string, Tensor] } {
    const [H, M, D] = this.w0.shape;
    const { device } = this.w0;
    const dtype = this.w0.dtype === 'bfloat16' ? 'float32' : this.w0.dtype;
    const none = (...shape: number[]): Tensor => zeros(shape, { device, dtype });
    return {
      shift: ['Shift', none(H, M, 3 * D)],
      pending: ['Pending', none(H, M, 3 * D)],
      tally: ['Tally', none(H, 2)],
      ...(this.momentum_proj && { direction: ['Direction', none(H, M, 3 * D)] as [string, Tensor] }),
    };
  }

  protected inputs(x: Tensor, past: ChunkedPast): Operands {
    const { numHeads: H, baseRate, chunk, momentum_proj, w0, w1, w2 } = this;
    const part = (name: string, proj: Linear, conv: ShortConvolution): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), H);
    const gate = (proj: Linear): Tensor => toFloat32(proj.forward(x)).sigmoid();
    const rates = gate(this.rate_proj).mul(baseRate / chunk);
    const [rate0, rate1, rate2] = split(rates, [H, H, H], -1);
    return {
      q: l2Norm(part('q', this.q_proj, this.q_conv1d)),
      k: l2Norm(part('k', this.k_proj, this.k_conv1d)),
      v: part('v', this.v_proj, this.v_conv1d),
      rate0,
      rate1,
      rate2,
      ...(momentum_proj && { momentum: gate(momentum_proj) }),
      w0,
      w1,
      w2,
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const gate = splitHeads(this.g_proj.forward(x), this.numHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
  }
}
