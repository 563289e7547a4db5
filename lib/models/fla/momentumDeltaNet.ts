// The layer of Momentum DeltaNet, with the weight names of flash-linear-attention (2026).
import { checkInteger, checkOptions, type OptionNames, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, ShortConvolution } from '../../nn';
import { gatedDeltaNetGate, l2Norm, TENSOR_OPTIONS, type TensorOptions, toFloat32 } from '../../ops';
import { momentumDeltaRule } from '../../rules';
import { logUniform, timeStepBias } from '../common/initialize';
import { MemoriesMixer, type MemoriesRule, type QkvInputs } from '../common/memoriesMixer';
import { type Placed, checkHeads, mergeHeads, splitHeads } from '../common/mixer';
import type { Past } from '../common/ruleMixer';

/** Options of `MomentumDeltaNet`, those that a tensor is made with among them. */
export interface MomentumDeltaNetOptions extends TensorOptions {
  /** K, width of a head's keys; hiddenSize / numHeads by default. */
  keyDim?: number;
  /** V, width of a head's values; K by default. */
  valueDim?: number;
  /** Tokens that the convolutions of q, k and v see, 4 by default. */
  convSize?: number;
  /** In the norm of the output, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<MomentumDeltaNetOptions> = {
  ...TENSOR_OPTIONS,
  keyDim: true,
  valueDim: true,
  convSize: true,
  normEps: true,
};

/** S and M, [B, H, K, V]. */
type Memories = { state: Tensor; momentum: Tensor };

type Inputs = QkvInputs & { p: Tensor; gate: Tensor; momentumGate: Tensor; beta: Tensor; eta: Tensor };

/** The least logarithm of what is left of the momentum. */
const LEAST_MOMENTUM = -2;

/**
 * `momentumDeltaRule` (arXiv 2605.05838) as flash-linear-attention parametrises it: q and k of unit length behind convolutions,
 * q less exp(D_log) k before; eta = 1 + tanh(e_proj x / sqrt(hidden)), e = eta exp(log_factor), beta = sigmoid(b_proj x)
 * e^2 / (1 + e^2), log decays those of Gated DeltaNet less log(1 + e^2), of the momentum the same form, -2 at least; p is k
 * decayed. A gated norm of each head's output.
 */
export class MomentumDeltaNet extends MemoriesMixer<Inputs, Memories> {
  /** Queries, weight [H K, hidden], no bias, as all projections. */
  q_proj: Linear;
  /** Keys, weight [H K, hidden]. */
  k_proj: Linear;
  /** Values, weight [H V, hidden]. */
  v_proj: Linear;
  /** Over the queries, weight [H K, 1, convSize], with silu. */
  q_conv1d: ShortConvolution;
  /** Over the keys, weight [H K, 1, convSize], with silu. */
  k_conv1d: ShortConvolution;
  /** Over the values, weight [H V, 1, convSize], with silu. */
  v_conv1d: ShortConvolution;
  /** To beta before its sigmoid, weight [H, hidden]. */
  b_proj: Linear;
  /** To the decay of S, weight [H, hidden]. */
  a_proj: Linear;
  /** To the decay of M, weight [H, hidden]. */
  m_proj: Linear;
  /** To eta, weight [H, hidden]. */
  e_proj: Linear;
  /** Log of the rates of decay of S [H]; this and the next five are float32 also in a bfloat16 model. */
  A_log: Tensor;
  /** In front of the softplus of the decay of S [H]. */
  dt_bias: Tensor;
  /** Log of the rates of decay of M [H]. */
  Mu_log: Tensor;
  /** In front of the softplus of the decay of M [H]. */
  mu_bias: Tensor;
  /** Log of what eta is multiplied by for e [H]. */
  log_factor: Tensor;
  /** Log of the share of the key that is taken off the query [H]. */
  D_log: Tensor;
  /** To the gate of the output before its silu, weight [H V, hidden]. */
  g_proj: Linear;
  /** Of each head's output, weight [V] for all heads. */
  o_norm: GatedRMSNorm;
  /** To the output, weight [hidden, H V]. */
  o_proj: Linear;
  protected readonly rule = momentumDeltaRule as unknown as MemoriesRule<Inputs, Memories>;
  protected readonly shapes: { state: readonly number[]; momentum: readonly number[] };

  constructor(
    /** Width of x. */
    readonly hiddenSize: number,
    /** H, a divisor of hiddenSize. */
    readonly numHeads: number,
    options: MomentumDeltaNetOptions = {},
  ) {
    super();
    const where = 'MomentumDeltaNet';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    checkHeads(where, 'numHeads', numHeads, hiddenSize);
    const { keyDim = hiddenSize / numHeads, valueDim = keyDim, convSize = 4, normEps = 1e-5, ...on } = options;
    const keys = numHeads * checkInteger(where, 'keyDim', keyDim, 1);
    const values = numHeads * checkInteger(where, 'valueDim', valueDim, 1);
    const linear = (to: number, from = hiddenSize): Linear => new Linear(from, to, { bias: false, ...on });
    const shape = [numHeads, keyDim, valueDim];
    this.shapes = { state: shape, momentum: shape };
    this.q_proj = linear(keys);
    this.k_proj = linear(keys);
    this.v_proj = linear(values);
    this.q_conv1d = new ShortConvolution(keys, convSize, on);
    this.k_conv1d = new ShortConvolution(keys, convSize, on);
    this.v_conv1d = new ShortConvolution(values, convSize, on);
    this.b_proj = linear(numHeads);
    this.a_proj = linear(numHeads);
    this.m_proj = linear(numHeads);
    this.e_proj = linear(numHeads);
    this.A_log = logUniform(numHeads, 0, 16, on);
    this.dt_bias = timeStepBias(numHeads, on);
    this.Mu_log = logUniform(numHeads, 0, 16, on);
    this.mu_bias = timeStepBias(numHeads, on);
    this.log_factor = logUniform(numHeads, 0, 4, on);
    this.D_log = logUniform(numHeads, 0, 1, on);
    this.g_proj = linear(values);
    this.o_norm = new GatedRMSNorm(valueDim, { eps: normEps, ...on });
    this.o_proj = linear(hiddenSize, values);
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias', 'Mu_log', 'mu_bias', 'log_factor', 'D_log'];
  }

  protected get reference(): Placed {
    return this.o_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution> {
    return { q: this.q_conv1d, k: this.k_conv1d, v: this.v_conv1d };
  }

  protected inputs(x: Tensor, past: Past): Inputs {
    const part = (name: string, proj: Linear, conv: ShortConvolution): Tensor =>
      splitHeads(past.convolve(name, conv, proj.forward(x)), this.numHeads);
    const number = (proj: Linear): Tensor => toFloat32(proj.forward(x));
    const key = toFloat32(part('k', this.k_proj, this.k_conv1d));
    const query = toFloat32(part('q', this.q_proj, this.q_conv1d)).sub(key.mul(this.D_log.exp().unsqueeze(1)));
    const k = l2Norm(key);
    const eta = number(this.e_proj).div(Math.sqrt(this.hiddenSize)).tanh().add(1);
    const square = eta.mul(this.log_factor.exp()).square();
    const gate = gatedDeltaNetGate(number(this.a_proj), this.A_log, this.dt_bias).sub(square.log1p());
    return {
      q: l2Norm(query),
      k,
      v: toFloat32(part('v', this.v_proj, this.v_conv1d)),
      p: k.mul(gate.exp().unsqueeze(-1)),
      gate,
      momentumGate: gatedDeltaNetGate(number(this.m_proj), this.Mu_log, this.mu_bias).clamp(LEAST_MOMENTUM),
      beta: number(this.b_proj)
        .sigmoid()
        .mul(square.div(square.add(1))),
      eta,
    };
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const gate = splitHeads(this.g_proj.forward(x), this.numHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
  }
}
