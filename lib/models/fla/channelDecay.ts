// Delta mixers with a learned decay per key channel and token, and a norm of the output whose gate is a sigmoid: Kimi Delta
// Attention and its relatives.
import type { Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { GatedRMSNorm, Linear } from '../../nn';
import { kdaGate, type TensorOptions } from '../../ops';
import type { RuleInputs } from '../common/fastWeightMixer';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';
import { GatedDeltaMixer, type GatedDeltaSizes } from './gatedDelta';

/** What such a layer is made of. */
export interface ChannelDecaySizes extends GatedDeltaSizes {
  /** With it the log decay lies between it and 0. */
  readonly lowerBound: number | null;
}

/** What the mixers differ by beside their configurations. */
export interface ChannelDecayParts {
  /** Of new rates of decay, 1 by default. */
  leastRate?: number;
  /** Strengths of a token, as `GatedDeltaMixer` has them. */
  strengths?: number;
}

export abstract class ChannelDecayMixer<
  C extends ChannelDecaySizes,
  I extends RuleInputs = RuleInputs,
> extends GatedDeltaMixer<C, I> {
  /**
   * To the decay through rank valueDim: weights [valueDim, hiddenSize] and [numValueHeads * keyDim, valueDim], no
   * biases.
   */
  f_proj: [Linear, Linear];
  /**
   * Log of each head's rate of decay, [numValueHeads]; float32 also in a bfloat16 model. New rates are uniform up to 16, or all 1
   * where there is a `lowerBound`.
   */
  A_log: Tensor;
  /**
   * Added to `f_proj` x, [numValueHeads * keyDim]; float32 also in a bfloat16 model. New time steps softplus(dt_bias)
   * are log-uniform in (0.001, 0.1).
   */
  dt_bias: Tensor;
  /**
   * To the gate of the output through rank valueDim: weights [valueDim, hiddenSize] and, with a bias, [numValueHeads *
   * valueDim, valueDim].
   */
  g_proj: [Linear, Linear];
  /** Of each head's output, times sigmoid of the gate; weight [valueDim] for all heads. */
  o_norm: GatedRMSNorm;

  constructor(config: C, options: TensorOptions, { leastRate = 1, strengths }: ChannelDecayParts = {}) {
    super(config, options, { strengths });
    const { hiddenSize, numValueHeads, keyDim, valueDim, normEps, lowerBound } = config;
    const bare = { bias: false, ...options };
    this.f_proj = [new Linear(hiddenSize, valueDim, bare), new Linear(valueDim, numValueHeads * keyDim, bare)];
    this.A_log = logUniform(numValueHeads, leastRate, 16, options);
    if (lowerBound !== null) noGrad(() => this.A_log.fill_(0));
    this.dt_bias = timeStepBias(numValueHeads * keyDim, options);
    this.g_proj = [new Linear(hiddenSize, valueDim, bare), new Linear(valueDim, numValueHeads * valueDim, options)];
    this.o_norm = new GatedRMSNorm(valueDim, { eps: normEps, activation: 'sigmoid', ...options });
  }

  /** -exp(A_log) softplus(f + dt_bias), or lowerBound sigmoid(exp(A_log) (f + dt_bias)); [..., HV, K] */
  protected logDecay(x: Tensor): Tensor {
    const [down, up] = this.f_proj;
    const { numValueHeads, lowerBound } = this.config;
    const f = splitHeads(up.forward(down.forward(x)), numValueHeads);
    return kdaGate(f, this.A_log, this.dt_bias, { lowerBound });
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const [down, up] = this.g_proj;
    const gate = splitHeads(up.forward(down.forward(x)), this.config.numValueHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
  }
}
