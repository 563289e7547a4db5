// Delta mixers with one learned decay per head and token, and a gated norm of the output: Gated DeltaNet and its relatives.
import { checkObject, type Tensor } from '../../core';
import { GatedRMSNorm, Linear, RMSNorm } from '../../nn';
import { gatedDeltaNetGate, type TensorOptions } from '../../ops';
import type { RuleInputs } from '../common/fastWeightMixer';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';
import { type GatedDeltaConfiguration, GatedDeltaMixer, type GatedDeltaSizes } from './gatedDelta';

/** What such a layer is made of. */
export interface HeadDecaySizes extends GatedDeltaSizes {
  /** Gates the output. */
  readonly useGate: boolean;
}

export interface HeadDecayConfiguration extends GatedDeltaConfiguration, HeadDecaySizes {}

/** What the mixers differ by beside their configurations. */
export interface HeadDecayParts {
  /** Of the output's gate, 'silu' by default. */
  gateActivation?: 'silu' | 'sigmoid';
  /** Whether there is a decay, true by default. */
  decays?: boolean;
  /** Of new rates of decay, 0.001 at least, which is the default. */
  leastRate?: number;
  /** Keys, values and strengths of a token, as `GatedDeltaMixer` has them. */
  writes?: number;
}

export abstract class HeadDecayMixer<
  C extends HeadDecaySizes,
  I extends RuleInputs = RuleInputs,
> extends GatedDeltaMixer<C, I> {
  /** The part of the decay that depends on the token, weight [numValueHeads, hiddenSize], no bias; null without a decay. */
  a_proj: Linear | null;
  /**
   * Log of each head's rate of decay, [numValueHeads]; float32 also in a bfloat16 model. New rates are uniform
   * up to 16. Null without a decay.
   */
  A_log: Tensor | null;
  /**
   * Added to `a_proj` x in front of the softplus, [numValueHeads]; float32 also in a bfloat16 model. New time steps
   * softplus(dt_bias) are log-uniform in (0.001, 0.1). Null without a decay.
   */
  dt_bias: Tensor | null;
  /**
   * To the gate of the output before its activation, weight [numValueHeads * valueDim, hiddenSize]; null without
   * `useGate`.
   */
  g_proj: Linear | null;
  /** Of each head's output, weight [valueDim] for all heads; times the gate with `useGate`. */
  o_norm: RMSNorm | GatedRMSNorm;

  constructor(config: C, options: TensorOptions, parts: HeadDecayParts = {}) {
    const { gateActivation = 'silu', decays = true, leastRate = 0, writes } = parts;
    super(config, options, { writes });
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numValueHeads, valueDim, normEps, useGate } = config;
    const bare = { bias: false, ...options };
    this.a_proj = decays ? new Linear(hiddenSize, numValueHeads, bare) : null;
    this.A_log = decays ? logUniform(numValueHeads, leastRate, 16, options) : null;
    this.dt_bias = decays ? timeStepBias(numValueHeads, options) : null;
    this.g_proj = useGate ? new Linear(hiddenSize, numValueHeads * valueDim, bare) : null;
    this.o_norm = useGate
      ? new GatedRMSNorm(valueDim, { eps: normEps, activation: gateActivation, ...options })
      : new RMSNorm(valueDim, { eps: normEps, ...options });
  }

  /** -exp(A_log) softplus(a + dt_bias), [..., HV] */
  protected logDecay(x: Tensor): Tensor | null {
    const { a_proj, A_log, dt_bias } = this;
    if (!a_proj || !A_log || !dt_bias) return null;
    return gatedDeltaNetGate(a_proj.forward(x), A_log, dt_bias);
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const { g_proj, o_norm } = this;
    const normed =
      o_norm instanceof GatedRMSNorm
        ? o_norm.forward(output, splitHeads(g_proj!.forward(x), this.config.numValueHeads))
        : o_norm.forward(output);
    return this.o_proj.forward(mergeHeads(normed));
  }
}
