// The layer of TTT under the names of the authors' program (Sun et al. 2024; spec 2.13.16).
import { checkChoice, checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { LayerNorm, Linear, parameter, ShortConvolution } from '../../nn';
import {
  gelu,
  linear,
  ones,
  randn,
  TENSOR_OPTIONS,
  type TensorOptions,
  tensor,
  toFloat32,
  zeros,
  zerosBeside,
} from '../../ops';
import { tttLinear, tttMlp } from '../../rules';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import { type ChunkedPast, type ChunkedRule, type Operands, TestTimeMixer } from './mixer';

/** Options of `TttLayer`. */
export interface TttLayerOptions extends TensorOptions {
  /** The inner network: 'linear', by default, or two layers, 'mlp'. */
  kind?: 'linear' | 'mlp';
  /** Tokens whose gradients are taken at the same weights, 16 by default. */
  miniBatchSize?: number;
  /** The largest inner learning rate, before it is divided by the width of a head: 1 by default. */
  baseRate?: number;
  /** Whether gelu(g_proj x) multiplies the output; false by default. */
  gate?: boolean;
  /** Whether queries and keys are one projection behind convolutions of their own; false by default. */
  shareQk?: boolean;
  /** Tokens that those convolutions see, 4 by default. */
  convSize?: number;
  /** Base of the rotary positions, which count within a mini-batch: 10000 by default. */
  rotaryBase?: number;
  /** In both norms, 1e-6 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<TttLayerOptions> = {
  ...TENSOR_OPTIONS,
  kind: true,
  miniBatchSize: true,
  baseRate: true,
  gate: 'flag',
  shareQk: 'flag',
  convSize: true,
  rotaryBase: true,
  normEps: true,
};

/**
 * o_proj(post_norm(y) [gelu(g_proj x)]), y the output of `tttLinear` or `tttMlp` per head: q and k turned by their place in the
 * mini-batch, the rate of token s baseRate sigmoid(w . x_s + b) / D per head, that of reading at place t of a mini-batch
 * max(0, 1 / t + learnable_token_idx_t). The weights that a text begins with, W1 [H, D, D] and b1 [H, 1, D] (with 'mlp' W1
 * [H, D, 4 D], b1, W2, b2), are trained.
 */
export class TttLayer extends TestTimeMixer {
  /** Queries, weight [hidden, hidden], no bias; keys, too, where they are shared. */
  q_proj: Linear;
  /** Keys, weight [hidden, hidden], no bias; null where queries and keys are shared. */
  k_proj: Linear | null;
  /** Values, weight [hidden, hidden], no bias. */
  v_proj: Linear;
  /** To the gate of the output before its gelu, weight [hidden, hidden]; null without a gate. */
  g_proj: Linear | null;
  /** From the heads to the output, weight [hidden, hidden], no bias. */
  o_proj: Linear;
  /** In front of the queries, weight [hidden, 1, W] with a bias; null unless queries and keys are shared. */
  conv_q: ShortConvolution | null;
  /** The same in front of the keys. */
  conv_k: ShortConvolution | null;
  /** The first inner weights that a text begins with, [H, D, D], of 'mlp' [H, D, 4 D]. */
  W1: Tensor;
  /** Their bias, [H, 1, D], of 'mlp' [H, 1, 4 D]. */
  b1: Tensor;
  /** Of 'mlp' the second ones, [H, 4 D, D]; else null. */
  W2: Tensor | null;
  /** Their bias, [H, 1, D], or null. */
  b2: Tensor | null;
  /** Inner rates before their sigmoid, [H, 1, hidden]. */
  learnable_ttt_lr_weight: Tensor;
  /** Bias of the inner rates before their sigmoid, [H, 1]. */
  learnable_ttt_lr_bias: Tensor;
  /** Added to 1 / t, t = 1 and on, for each place of a mini-batch, [miniBatchSize]. */
  learnable_token_idx: Tensor;
  /** Weight of the inner norm, [H, D]. */
  ttt_norm_weight: Tensor;
  /** Bias of the inner norm, [H, D]. */
  ttt_norm_bias: Tensor;
  /** Over the heads' outputs together, weight and bias [hidden]. */
  post_norm: LayerNorm;
  protected readonly rule: ChunkedRule;
  protected readonly settings: { miniBatchSize: number; eps: number };
  protected readonly chunk: number;
  protected override readonly ropeTheta: number;
  private readonly baseRate: number;

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** A divisor of hiddenSize; each learns a network of its own. */
    readonly numHeads: number,
    options: TttLayerOptions = {},
  ) {
    super();
    checkOptions('TttLayer', options, OPTIONS);
    const { kind = 'linear', gate = false, shareQk = false, normEps = 1e-6, ...rest } = options;
    const { miniBatchSize = 16, baseRate = 1, convSize = 4, rotaryBase = 10000, ...where } = rest;
    checkChoice('TttLayer', 'kind', kind, ['linear', 'mlp']);
    checkInteger('TttLayer', 'numHeads', numHeads, 1);
    this.rule = (kind === 'linear' ? tttLinear : tttMlp) as unknown as ChunkedRule;
    this.chunk = checkInteger('TttLayer', 'miniBatchSize', miniBatchSize, 1);
    this.settings = { miniBatchSize, eps: normEps };
    this.baseRate = checkNumber('TttLayer', 'baseRate', baseRate);
    this.ropeTheta = rotaryBase;
    const [H, D] = [numHeads, hiddenSize / numHeads];
    const project = (): Linear => new Linear(hiddenSize, hiddenSize, { bias: false, ...where });
    const convolution = (): ShortConvolution | null =>
      shareQk ? new ShortConvolution(hiddenSize, convSize, { bias: true, activation: null, ...where }) : null;
    const draw = (...shape: number[]): Tensor => parameter(noGrad(() => randn(shape, { std: 0.02, ...where })));
    const none = (...shape: number[]): Tensor => parameter(zeros(shape, where));
    const E = kind === 'mlp' ? 4 * D : D;
    this.q_proj = project();
    this.k_proj = shareQk ? null : project();
    this.v_proj = project();
    this.g_proj = gate ? project() : null;
    this.o_proj = project();
    this.conv_q = convolution();
    this.conv_k = convolution();
    this.W1 = draw(H, D, E);
    this.b1 = none(H, 1, E);
    this.W2 = kind === 'mlp' ? draw(H, E, D) : null;
    this.b2 = kind === 'mlp' ? none(H, 1, D) : null;
    this.learnable_ttt_lr_weight = draw(H, 1, hiddenSize);
    this.learnable_ttt_lr_bias = none(H, 1);
    this.learnable_token_idx = none(miniBatchSize);
    this.ttt_norm_weight = parameter(ones([H, D], where));
    this.ttt_norm_bias = none(H, D);
    this.post_norm = new LayerNorm(hiddenSize, { eps: normEps, ...where });
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { q: this.conv_q, k: this.conv_k };
  }

  protected starts(): { [name: string]: [string, Tensor] } {
    const { W1, b1, W2, b2, chunk } = this;
    const all = Object.entries({ W1, b1, W2, b2 }).filter((entry): entry is [string, Tensor] => entry[1] !== null);
    const waiting = chunk > 1 ? all : [];
    return Object.fromEntries([
      ...all.map(([name, t]) => [name, [name, t]] as const),
      ...waiting.map(([name, t]) => [`${name}Gradient`, [`${name}Gradient`, zerosBeside(t)]] as const),
    ]) as { [name: string]: [string, Tensor] };
  }

  protected inputs(x: Tensor, past: ChunkedPast): Operands {
    const { numHeads: H, hiddenSize, conv_q, conv_k, chunk } = this;
    const shared = this.q_proj.forward(x);
    const q = past.convolve('q', conv_q, shared);
    const k = conv_k ? past.convolve('k', conv_k, shared) : this.k_proj!.forward(x);
    const [weight, bias] = [this.learnable_ttt_lr_weight.squeeze(1), this.learnable_ttt_lr_bias.squeeze(1)];
    const rate = toFloat32(linear(x, weight, bias)).sigmoid();
    const { device } = weight;
    const places = toFloat32(this.learnable_token_idx);
    const usual = tensor(
      Float64Array.from({ length: chunk }, (_, t) => 1 / (t + 1)),
      { dtype: places.dtype, device },
    );
    return {
      q: past.rotate(splitHeads(q, H)),
      k: past.rotate(splitHeads(k, H)),
      v: splitHeads(this.v_proj.forward(x), H),
      learningRate: rate.mul((this.baseRate * H) / hiddenSize),
      tokenScale: places.add(usual).maximum(0),
      normWeight: this.ttt_norm_weight,
      normBias: this.ttt_norm_bias,
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const normed = this.post_norm.forward(mergeHeads(output));
    return this.o_proj.forward(this.g_proj ? normed.mul(gelu(this.g_proj.forward(x), 'tanh')) : normed);
  }
}
