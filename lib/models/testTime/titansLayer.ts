// A layer of Titans with a linear memory per head (Behrouz, Zhong, Mirrokni 2025; spec 2.13.17).
import { checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { GatedRMSNorm, Linear, parameter, ShortConvolution } from '../../nn';
import { full, l2Norm, randn, TENSOR_OPTIONS, type TensorOptions, toFloat32, zerosBeside } from '../../ops';
import { titans } from '../../rules';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';
import { type ChunkedPast, type ChunkedRule, type Operands, TestTimeMixer } from './mixer';

/** Options of `TitansLayer`. */
export interface TitansLayerOptions extends TensorOptions {
  /** Tokens whose gradients are taken at the same weights, 64 by default. */
  chunkSize?: number;
  /** Tokens that the convolutions of q, k and v see, 4 by default. */
  convSize?: number;
  /** The largest step that one chunk takes: 1 by default. */
  baseRate?: number;
  /** In the norm of each head's output, 1e-6 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<TitansLayerOptions> = {
  ...TENSOR_OPTIONS,
  chunkSize: true,
  convSize: true,
  baseRate: true,
  normEps: true,
};

/** Of what is forgotten per token at first: sigmoid(-5), 0.7 %. */
const FORGET_BIAS = -5;

/**
 * o_proj(RMSNorm(y) silu(g_proj x)), y the output of `titans` per head, as the paper describes its memory layer: q, k and v
 * behind convolutions with silu, q and k of unit length, and gates that are linear in x, eta = sigmoid(eta_proj x) and alpha =
 * sigmoid(alpha_proj x + alpha_bias). Choices made here: the loss is half the square, a linear memory M0 [H, D, D] that is trained
 * is where a text begins, and theta = baseRate sigmoid(theta_proj x) (1 - eta) / chunkSize, with which no chunk steps further
 * than its error. A deep memory is the rule `titansMlp`.
 */
export class TitansLayer extends TestTimeMixer {
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
  /** To the rate before its sigmoid, weight [H, hidden]. */
  theta_proj: Linear;
  /** To the share of the momentum that is left, before its sigmoid, weight [H, hidden]. */
  eta_proj: Linear;
  /** To what is forgotten, before `alpha_bias` and its sigmoid, weight [H, hidden]. */
  alpha_proj: Linear;
  /** Of what is forgotten, [H]; float32 also in a bfloat16 model. */
  alpha_bias: Tensor;
  /** What every memory begins as, [H, D, D]. */
  M0: Tensor;
  /** To the gate of the output before its silu, weight [hidden, hidden]. */
  g_proj: Linear;
  /** Weight [D], for all heads. */
  o_norm: GatedRMSNorm;
  /** From the heads to the output, weight [hidden, hidden]. */
  o_proj: Linear;
  protected readonly rule = titans as unknown as ChunkedRule;
  protected readonly settings: { chunkSize: number; lossScale: number };
  protected readonly chunk: number;
  private readonly baseRate: number;

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** A divisor of hiddenSize; each has a memory of its own. */
    readonly numHeads: number,
    options: TitansLayerOptions = {},
  ) {
    super();
    checkOptions('TitansLayer', options, OPTIONS);
    const { chunkSize = 64, convSize = 4, baseRate = 1, normEps = 1e-6, ...where } = options;
    checkInteger('TitansLayer', 'numHeads', numHeads, 1);
    this.chunk = checkInteger('TitansLayer', 'chunkSize', chunkSize, 1);
    this.settings = { chunkSize, lossScale: 0.5 };
    this.baseRate = checkNumber('TitansLayer', 'baseRate', baseRate);
    const [H, D] = [numHeads, hiddenSize / numHeads];
    const project = (width: number): Linear => new Linear(hiddenSize, width, { bias: false, ...where });
    const convolution = (): ShortConvolution => new ShortConvolution(hiddenSize, convSize, where);
    this.q_proj = project(hiddenSize);
    this.k_proj = project(hiddenSize);
    this.v_proj = project(hiddenSize);
    this.q_conv1d = convolution();
    this.k_conv1d = convolution();
    this.v_conv1d = convolution();
    this.theta_proj = project(H);
    this.eta_proj = project(H);
    this.alpha_proj = project(H);
    const exact = where.dtype === 'bfloat16' ? { ...where, dtype: 'float32' as const } : where;
    this.alpha_bias = parameter(full([H], FORGET_BIAS, exact));
    this.M0 = parameter(noGrad(() => randn([H, D, D], { std: 0.02, ...where })));
    this.g_proj = project(hiddenSize);
    this.o_norm = new GatedRMSNorm(D, { eps: normEps, ...where });
    this.o_proj = project(hiddenSize);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['alpha_bias'];
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected starts(): { [name: string]: [string, Tensor] } {
    const { M0, chunk } = this;
    return {
      state: ['State', M0],
      momentum: ['Momentum', zerosBeside(M0)],
      ...(chunk > 1 && { anchor: ['Anchor', zerosBeside(M0)] }),
    };
  }

  protected inputs(x: Tensor, past: ChunkedPast): Operands {
    const { numHeads, baseRate, chunk } = this;
    const part = (name: string, proj: Linear, conv: ShortConvolution): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), numHeads);
    const gate = (proj: Linear): Tensor => toFloat32(proj.forward(x));
    const eta = gate(this.eta_proj).sigmoid();
    const left = eta.neg().add(1);
    return {
      q: l2Norm(part('q', this.q_proj, this.q_conv1d)),
      k: l2Norm(part('k', this.k_proj, this.k_conv1d)),
      v: part('v', this.v_proj, this.v_conv1d),
      theta: gate(this.theta_proj)
        .sigmoid()
        .mul(left)
        .mul(baseRate / chunk),
      alpha: gate(this.alpha_proj).add(this.alpha_bias).sigmoid(),
      eta,
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const gate = splitHeads(this.g_proj.forward(x), this.numHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
  }
}
