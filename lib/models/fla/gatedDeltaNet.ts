// Gated DeltaNet: the delta rule with one decay per head and token (Yang et al. 2024; spec 2.13.9).
import type { Tensor } from '../../core';
import { GatedRMSNorm, Linear, RMSNorm } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FlaDecoder } from './skeleton';
import {
  GATED_DELTA_KEYS,
  type GatedDeltaConfiguration,
  type GatedDeltaKeys,
  GatedDeltaMixer,
  type GatedDeltaSizes,
  readGatedDelta,
} from './gatedDelta';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';

export interface GatedDeltaNetKeys extends GatedDeltaKeys<'gated_deltanet'> {
  useGate?: Flag;
}

/** What a `GatedDeltaNet` layer is made of. */
export interface GatedDeltaNetShape extends GatedDeltaSizes {
  /** Gates the output. */
  readonly useGate: boolean;
}

/** What `GatedDeltaNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface GatedDeltaNetConfiguration extends GatedDeltaConfiguration, GatedDeltaNetShape {}

function readConfiguration(input: object): GatedDeltaNetConfiguration {
  const reader = ConfigurationReader.of(input, gatedDeltaNetFamily);
  return {
    ...readGatedDelta(reader, gatedDeltaNetFamily, { headDim: 256, numHeads: 6, expandV: 2 }),
    useGate: reader.flag('use_gate', true),
  };
}

/**
 * The delta rule with one learned decay per head and token (Yang et al. 2024, "Gated Delta Networks: Improving Mamba2
 * with Delta Rule"): log decay -exp(A_log) softplus(a_proj x + dt_bias), q and k of unit length.
 */
export class GatedDeltaNet extends GatedDeltaMixer<GatedDeltaNetShape> {
  /** The part of the decay that depends on the token, weight [numValueHeads, hiddenSize], no bias. */
  a_proj: Linear;
  /**
   * Log of each head's rate of decay, [numValueHeads]; float32 also in a bfloat16 model. New rates are uniform in
   * (0.001, 16).
   */
  A_log: Tensor;
  /**
   * Added to `a_proj` x in front of the softplus, [numValueHeads]; float32 also in a bfloat16 model. New time steps
   * softplus(dt_bias) are log-uniform in (0.001, 0.1).
   */
  dt_bias: Tensor;
  /**
   * To the gate of the output before its silu, weight [numValueHeads * valueDim, hiddenSize]; null without `useGate`.
   */
  g_proj: Linear | null;
  /** Of each head's output, weight [valueDim] for all heads; times silu of the gate with `useGate`. */
  o_norm: RMSNorm | GatedRMSNorm;

  constructor(config: GatedDeltaNetShape, options: TensorOptions = {}) {
    super(config, options);
    const { hiddenSize, numValueHeads, valueDim, normEps, useGate } = config;
    const bare = { bias: false, ...options };
    this.a_proj = new Linear(hiddenSize, numValueHeads, bare);
    this.A_log = logUniform(numValueHeads, 0, 16, options);
    this.dt_bias = timeStepBias(numValueHeads, options);
    this.g_proj = useGate ? new Linear(hiddenSize, numValueHeads * valueDim, bare) : null;
    this.o_norm = useGate
      ? new GatedRMSNorm(valueDim, { eps: normEps, ...options })
      : new RMSNorm(valueDim, { eps: normEps, ...options });
  }

  /** -exp(A_log) softplus(a + dt_bias), [..., HV] */
  protected decay(x: Tensor): Tensor {
    const rate = toFloat32(this.A_log).exp();
    return toFloat32(this.a_proj.forward(x)).add(toFloat32(this.dt_bias)).softplus().mul(rate.neg());
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

/**
 * Language model of `GatedDeltaNet` layers under the weight names of flash-linear-attention's GatedDeltaNetForCausalLM,
 * `model_type` 'gated_deltanet'; 24 layers of width 2048 with 6 heads of 256 keys and 512 values by default.
 */
export class GatedDeltaNetForCausalLM extends CausalLM<GatedDeltaNetConfiguration> {
  constructor(input: EitherSpelling<GatedDeltaNetKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new GatedDeltaNet(config, options), options), options);
  }
}

export const gatedDeltaNetFamily: ModelDefinition<GatedDeltaNetKeys, 'gated-deltanet'> = {
  modelType: 'gated_deltanet',
  name: 'gated-deltanet',
  architecture: 'GatedDeltaNetForCausalLM',
  description: 'Gated DeltaNet: the delta rule with a learned decay per head (Yang et al. 2024)',
  keys: { ...GATED_DELTA_KEYS, useGate: 'flag' },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
  }),
  model: GatedDeltaNetForCausalLM,
};
