// The linear attention of Qwen: Gated DeltaNet with one convolution over queries, keys and values together (spec 2.13.9).
import type { Tensor } from '../../core';
import { GatedRMSNorm, Linear, parameter, ShortConvolution } from '../../nn';
import { gatedDeltaNetGate, ones, split, type TensorOptions, toFloat32 } from '../../ops';
import { deltaRule } from '../../rules';
import type { ConfigurationReader } from '../common/configuration';
import { FastWeightMixer, type Past, type RuleInputs } from '../common/fastWeightMixer';
import { logUniform } from '../common/initialize';
import type { Count } from '../common/keys';
import { type Placed, mergeHeads, splitHeads } from '../common/mixer';

/** Sizes of the linear attention. */
export interface QwenLinearKeys {
  /** Tokens that the convolution sees, 4 by default. */
  linearConvKernelDim?: Count;
  /** Width of a key, 128 by default. */
  linearKeyHeadDim?: Count;
  /** Width of a value, 128 by default. */
  linearValueHeadDim?: Count;
  /** Heads of queries and keys, 16 by default. */
  linearNumKeyHeads?: Count;
  /** Heads of values, a multiple of them, 32 by default. */
  linearNumValueHeads?: Count;
}

/** What a layer is made of. */
export interface QwenLinearShape {
  readonly hiddenSize: number;
  /** H and K: heads and widths of queries and keys. */
  readonly keyHeads: number;
  readonly keyDim: number;
  /** HV and V; value head h reads key head floor(h H / HV). */
  readonly valueHeads: number;
  readonly valueDim: number;
  /** Tokens that the convolution sees. */
  readonly convSize: number;
  readonly normEps: number;
}

export function readLinearShape(reader: ConfigurationReader, hiddenSize: number, normEps: number): QwenLinearShape {
  const keyHeads = reader.size('linear_num_key_heads', 16);
  const valueHeads = reader.size('linear_num_value_heads', 32);
  reader.divides(valueHeads, 'linear_num_key_heads', keyHeads);
  return {
    hiddenSize,
    keyHeads,
    keyDim: reader.size('linear_key_head_dim', 128),
    valueHeads,
    valueDim: reader.size('linear_value_head_dim', 128),
    convSize: reader.size('linear_conv_kernel_dim', 4),
    normEps,
  };
}

/** Projections of x [..., hidden]. */
export interface QwenProjections {
  /** [all queries | all keys | all values], [..., 2 H K + HV V], before the convolution. */
  qkv: Tensor;
  /** Gate of the output [..., HV, V]. */
  z: Tensor;
  /** Strength and decay before their functions, [..., HV]. */
  b: Tensor;
  a: Tensor;
}

/**
 * The delta rule with one learned decay per head and token (Yang et al. 2024) as in Qwen3-Next: one convolution, q and k of
 * unit length, norm(output) * silu(z). How the projections lie in the weights is left to the families.
 */
export abstract class QwenDeltaNet extends FastWeightMixer {
  /** Over queries, keys and values, weight [2 H K + HV V, 1, convSize], then silu. */
  conv1d: ShortConvolution;
  /** [HV], ones at first; float32 also in a bfloat16 model. */
  dt_bias: Tensor;
  /** Log of each head's rate of decay, [HV]; float32 also in a bfloat16 model. New rates are uniform in (0.001, 16). */
  A_log: Tensor;
  /** Of each head's output, weight [V] for all heads, times silu of the gate. */
  norm: GatedRMSNorm;
  /** weight [hiddenSize, HV V] */
  out_proj: Linear;
  protected readonly rule = deltaRule;

  constructor(
    readonly shape: QwenLinearShape,
    options: TensorOptions = {},
  ) {
    const { hiddenSize, keyHeads, keyDim, valueHeads, valueDim, convSize, normEps } = shape;
    super({ heads: valueHeads, keyDim, valueDim });
    this.conv1d = new ShortConvolution(2 * keyHeads * keyDim + valueHeads * valueDim, convSize, options);
    const dtype = options.dtype === 'bfloat16' ? 'float32' : options.dtype;
    this.dt_bias = parameter(ones([valueHeads], { ...options, dtype }));
    this.A_log = logUniform(valueHeads, 0, 16, options);
    this.norm = new GatedRMSNorm(valueDim, { eps: normEps, ...options });
    this.out_proj = new Linear(valueHeads * valueDim, hiddenSize, { bias: false, ...options });
  }

  protected get reference(): Placed {
    return this.out_proj;
  }

  protected override get convolutions(): Record<string, ShortConvolution> {
    return { qkv: this.conv1d };
  }

  protected override get keptInFloat32(): readonly string[] {
    return ['A_log', 'dt_bias'];
  }

  protected abstract project(x: Tensor): QwenProjections;

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { keyHeads, keyDim, valueHeads, valueDim } = this.shape;
    const { qkv, z, b, a } = this.project(x);
    const keys = keyHeads * keyDim;
    const [q, k, v] = split(past.convolve('qkv', this.conv1d, qkv), [keys, keys, valueHeads * valueDim], -1);
    return {
      q: splitHeads(q, keyHeads),
      k: splitHeads(k, keyHeads),
      v: splitHeads(v, valueHeads),
      beta: toFloat32(b).sigmoid(),
      gate: gatedDeltaNetGate(a, this.A_log, this.dt_bias),
      qkL2Norm: true,
      carry: z,
    };
  }

  protected readout(output: Tensor, _x: Tensor, { carry }: RuleInputs): Tensor {
    return this.out_proj.forward(mergeHeads(this.norm.forward(output, carry!)));
  }
}
