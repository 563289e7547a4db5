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
  readGatedDelta,
} from './gatedDelta';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';

export interface GatedDeltaNetKeys extends GatedDeltaKeys<'gated_deltanet'> {
  useGate?: Flag;
}

export interface GatedDeltaNetConfiguration extends GatedDeltaConfiguration {
  /** Gates the output. */
  readonly useGate: boolean;
}

function readConfiguration(input: object): GatedDeltaNetConfiguration {
  const reader = ConfigurationReader.of(input, gatedDeltaNetFamily);
  return {
    ...readGatedDelta(reader, gatedDeltaNetFamily, { headDim: 256, numHeads: 6, expandV: 2 }),
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
