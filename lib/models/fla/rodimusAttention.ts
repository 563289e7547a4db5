// The layer of Rodimus, with the weight names of flash-linear-attention (He et al. 2024).
import { noGrad } from '../../autograd';
import { checkInteger, checkOptions, scope, type OptionNames, type Tensor } from '../../core';
import { GatedRMSNorm, init, Linear, parameter, Sequential, ShortConvolution } from '../../nn';
import { ones, rand, TENSOR_OPTIONS, type TensorOptions, toFloat32 } from '../../ops';
import { rodimus } from '../../rules';
import { timeStepBias } from '../common/initialize';
import { FastWeightMixer, type MixerRule, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { type Placed, splitHeads } from '../common/mixer';

/** Options of `RodimusAttention`, those that a tensor is made with among them. */
export interface RodimusAttentionOptions extends TensorOptions {
  /** K, width of the keys; 64 by default. */
  keyDim?: number;
  /** Width inside the gate of the values; hiddenSize / 64, 16 at least, by default. */
  gateRank?: number;
  /** Tokens that the convolution sees, 4 by default; null for none. */
  convSize?: number | null;
  /** In the norm of the output, 1e-5 by default. */
  normEps?: number;
}

const OPTIONS: OptionNames<RodimusAttentionOptions> = {
  ...TENSOR_OPTIONS,
  keyDim: true,
  gateRank: true,
  convSize: true,
  normEps: true,
};

type Inputs = RuleInputs & { gateLogit: Tensor; temperatureLogit: Tensor };

/**
 * With h = up_proj x and s = h behind a convolution with silu: q, k and both gates of `rodimus` are linear in s, v = h
 * sigmoid(i_gate_proj h), and the output is down_proj(RMSNorm((y + residual_weight s) silu(gate_proj x))), of one head as wide
 * as h, twice hiddenSize (He et al. 2024, "Rodimus*").
 */
export class RodimusAttention extends FastWeightMixer<Inputs> {
  /** Weight [inner, hidden], no bias; inner is twice hiddenSize, rounded up to a multiple of 8. */
  gate_proj: Linear;
  /** Weight [inner, hidden], no bias. */
  up_proj: Linear;
  /** Over h, weight [inner, 1, convSize] and bias [inner], with silu; null without `convSize`, where s = h. */
  short_conv: ShortConvolution | null;
  /** Weight [inner]; float32 also in a bfloat16 model. */
  residual_weight: Tensor;
  /** Queries, weight [K, inner], no bias. */
  q_proj: Linear;
  /** Keys, weight [K, inner], no bias. */
  k_proj: Linear;
  /** To the gate before its softplus, weight [K, inner] and a bias. */
  g_gate_proj: Linear;
  /** To the temperature before its sigmoid, weight [K, inner] and a bias. */
  tau_gate_proj: Linear;
  /** To the gate of the values before its sigmoid, weights [gateRank, inner] and [inner, gateRank] with a bias. */
  i_gate_proj: Sequential;
  /** Weight [inner]. */
  activation_norm: GatedRMSNorm;
  /** Weight [hidden, inner], no bias. */
  down_proj: Linear;
  protected readonly rule = rodimus as unknown as MixerRule<Inputs>;

  constructor(hiddenSize: number, options: RodimusAttentionOptions = {}) {
    const where = 'RodimusAttention';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    const { keyDim = 64, gateRank = Math.max(hiddenSize >> 6, 16), convSize = 4, normEps = 1e-5, ...on } = options;
    const inner = 8 * Math.ceil(hiddenSize / 4);
    super({ heads: 1, keyDim: checkInteger(where, 'keyDim', keyDim, 1), valueDim: inner });
    const linear = (from: number, to: number, bias = false): Linear => new Linear(from, to, { bias, ...on });
    this.gate_proj = linear(hiddenSize, inner);
    this.up_proj = linear(hiddenSize, inner);
    this.short_conv = convSize === null ? null : new ShortConvolution(inner, convSize, { bias: true, ...on });
    this.residual_weight = parameter(ones([inner], { ...on, dtype: on.dtype === 'bfloat16' ? 'float32' : on.dtype }));
    this.q_proj = linear(inner, keyDim);
    this.k_proj = linear(inner, keyDim);
    this.g_gate_proj = linear(inner, keyDim, true);
    this.tau_gate_proj = linear(inner, keyDim, true);
    this.i_gate_proj = new Sequential(linear(inner, gateRank), linear(gateRank, inner, true));
    this.activation_norm = new GatedRMSNorm(inner, { eps: normEps, normBeforeGate: false, ...on });
    this.down_proj = linear(inner, hiddenSize);
  }

  /**
   * As published: the weights of all gates small, uniform as Glorot and Bengio have it; softplus of the gate log-uniform in
   * [0.001, 0.1], sigmoid of the temperature uniform in [1/16, 0.9].
   */
  initialize(): void {
    const { g_gate_proj: gate, tau_gate_proj: temperature, i_gate_proj: values } = this;
    const { dtype, device } = gate.weight;
    noGrad(() =>
      scope(() => {
        const inner = values.parameters().filter(({ ndim }) => ndim === 2);
        for (const weight of [gate.weight, temperature.weight, ...inner]) init.xavierUniform_(weight, 2 ** -2.5);
        const K = this.sizes.keyDim;
        gate.bias!.copy_(timeStepBias(K, { dtype, device }, { low: 1e-3, high: 0.1, floor: 1e-4 }).to(dtype));
        const open = rand([K], { dtype, device, low: 1 / 16, high: 0.9 });
        temperature.bias!.copy_(open.div(open.neg().add(1)).log());
      }),
    );
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['residual_weight'];
  }

  protected get reference(): Placed {
    return this.down_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution | null> {
    return { h: this.short_conv };
  }

  protected inputs(x: Tensor, past: Past): Inputs {
    const h = this.up_proj.forward(x);
    const s = past.convolve('h', this.short_conv, h);
    const part = (proj: Linear): Tensor => splitHeads(proj.forward(s), 1);
    return {
      q: part(this.q_proj),
      k: part(this.k_proj),
      v: splitHeads(h.mul(this.i_gate_proj.forward(h).sigmoid()), 1),
      gateLogit: toFloat32(part(this.g_gate_proj)),
      temperatureLogit: toFloat32(part(this.tau_gate_proj)),
      carry: s,
    };
  }

  protected readout(output: Tensor, x: Tensor, { carry }: Inputs): Tensor {
    const shifted = toFloat32(carry!).mul(this.residual_weight);
    const y = toFloat32(output.squeeze(-2)).add(shifted).to(x.dtype);
    return this.down_proj.forward(this.activation_norm.forward(y, this.gate_proj.forward(x)));
  }
}
