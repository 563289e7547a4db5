// Gated DeltaNet: the delta rule with one decay per head and token (Yang et al. 2024; spec 2.13.9).
import type { Tensor } from '../../core';
import { GatedRMSNorm, Linear, RMSNorm } from '../../nn';
import { type TensorOptions, toFloat32 } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { type ConfigurationOf, KEYS } from '../keys';
import { FlaDecoder } from './skeleton';
import { type GatedDeltaConfiguration, GatedDeltaMixer, readGatedDelta } from './gatedDelta';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';

export interface GatedDeltaNetConfiguration extends GatedDeltaConfiguration {
  /** Gates the output. */
  readonly useGate: boolean;
}

function readConfiguration(input: object): GatedDeltaNetConfiguration {
  const reader = new ConfigurationReader(input, 'gated_deltanet', KEYS.gated_deltanet);
  const names = { modelType: 'gated_deltanet', architecture: 'GatedDeltaNetForCausalLM' };
  return {
    ...readGatedDelta(reader, names, { headDim: 256, numHeads: 6, expandV: 2 }),
    useGate: reader.flag('use_gate', true),
  };
}

export class GatedDeltaNet extends GatedDeltaMixer<GatedDeltaNetConfiguration> {
  a_proj: Linear;
  A_log: Tensor;
  dt_bias: Tensor;
  g_proj: Linear | null;
  o_norm: RMSNorm | GatedRMSNorm;

  constructor(config: GatedDeltaNetConfiguration, options: TensorOptions = {}) {
    super(config, options);
    const { hiddenSize, numValueHeads, valueDim, normEps, useGate } = config;
    const bare = { bias: false, ...options };
    this.a_proj = new Linear(hiddenSize, numValueHeads, bare);
    this.A_log = logUniform(numValueHeads, 0, 16, options);
    this.dt_bias = timeStepBias(numValueHeads, options);
    this.g_proj = useGate ? new Linear(hiddenSize, numValueHeads * valueDim, bare) : null;
    this.o_norm = useGate
      ? new GatedRMSNorm(valueDim, normEps, 'silu', options)
      : new RMSNorm(valueDim, normEps, options);
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

export class GatedDeltaNetForCausalLM extends CausalLM<GatedDeltaNetConfiguration> {
  constructor(input: ConfigurationOf<'gated_deltanet'> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new GatedDeltaNet(config, options), options), options);
  }
}
