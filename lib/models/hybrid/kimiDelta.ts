// The linear attention of Kimi Linear: Kimi Delta Attention under the names of its published files (spec 2.13.10).
import type { Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { GatedRMSNorm, Linear, parameter } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';
import { GatedDeltaMixer, type GatedDeltaSizes } from '../fla/gatedDelta';

/**
 * The delta rule with a learned decay per key channel and token (Kimi Team 2025): log decay -exp(A_log) softplus(f + dt_bias),
 * f and the gate of the output through a rank of one head's width, without biases.
 */
export class KimiLinearAttention extends GatedDeltaMixer<GatedDeltaSizes> {
  /** weight [keyDim, hiddenSize] */
  f_a_proj: Linear;
  /** weight [numHeads * keyDim, keyDim] */
  f_b_proj: Linear;
  /** Log of each head's rate of decay, [1, 1, numHeads, 1]; float32 also in a bfloat16 model. */
  A_log: Tensor;
  /** [numHeads * keyDim]; float32 also in a bfloat16 model. */
  dt_bias: Tensor;
  /** weight [valueDim, hiddenSize] */
  g_a_proj: Linear;
  /** weight [numHeads * valueDim, valueDim] */
  g_b_proj: Linear;
  /** Of each head's output, times sigmoid of the gate; weight [valueDim] for all heads. */
  o_norm: GatedRMSNorm;

  constructor(config: GatedDeltaSizes, options: TensorOptions = {}) {
    super(config, options);
    const { hiddenSize, numHeads, keyDim, valueDim, normEps } = config;
    const bare = { bias: false, ...options };
    this.f_a_proj = new Linear(hiddenSize, keyDim, bare);
    this.f_b_proj = new Linear(keyDim, numHeads * keyDim, bare);
    this.A_log = parameter(noGrad(() => logUniform(numHeads, 1, 16, options).reshape(1, 1, numHeads, 1)));
    this.dt_bias = timeStepBias(numHeads * keyDim, options);
    this.g_a_proj = new Linear(hiddenSize, valueDim, bare);
    this.g_b_proj = new Linear(valueDim, numHeads * valueDim, bare);
    this.o_norm = new GatedRMSNorm(valueDim, { eps: normEps, activation: 'sigmoid', ...options });
  }

  /** [..., H, K] */
  protected decay(x: Tensor): Tensor {
    const { numHeads } = this.config;
    const projected = toFloat32(this.f_b_proj.forward(this.f_a_proj.forward(x)));
    const rate = toFloat32(this.A_log).exp().neg().reshape(numHeads, 1);
    return splitHeads(projected.add(toFloat32(this.dt_bias)), numHeads)
      .softplus()
      .mul(rate);
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const gate = splitHeads(this.g_b_proj.forward(this.g_a_proj.forward(x)), this.config.numHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
  }
}
