// Gated DeltaNet: the delta rule with one decay per head and token (Yang et al. 2024; spec 2.13.9).
import { checkObject, type Tensor } from '../../core';
import type { TensorOptions } from '../../ops';
import { deltaRule } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import type { EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { GATED_DELTA_KEYS, type GatedDeltaKeys, type NegativeEigenvalueKeys, readGatedDelta } from './gatedDelta';
import { type HeadDecayConfiguration, HeadDecayMixer, type HeadDecaySizes } from './headDecay';
import { FlaDecoder } from './skeleton';

export interface GatedDeltaNetKeys extends GatedDeltaKeys<'gated_deltanet'>, NegativeEigenvalueKeys {
  useGate?: Flag;
  outputGateActivation?: Name<'swish' | 'silu' | 'sigmoid'>;
}

/** What a layer is made of. */
export interface GatedDeltaNetSizes extends HeadDecaySizes {
  /** Of the output's gate, 'silu' by default (`output_gate_activation`, where 'swish' is another name of it). */
  readonly gateActivation?: 'silu' | 'sigmoid';
}

/** What `GatedDeltaNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface GatedDeltaNetConfiguration extends HeadDecayConfiguration, GatedDeltaNetSizes {
  /** Gates the output (`use_gate`, true by default). */
  readonly useGate: boolean;
}

function readConfiguration(input: object): GatedDeltaNetConfiguration {
  const reader = ConfigurationReader.of(input, gatedDeltaNetFamily);
  const defaults = { headDim: 256, numHeads: 6, expandV: 2, numHiddenLayers: 21 };
  const activation = reader.choice('output_gate_activation', 'swish', ['swish', 'silu', 'sigmoid']);
  return {
    ...readGatedDelta(reader, gatedDeltaNetFamily, defaults),
    useGate: reader.flag('use_gate', true),
    gateActivation: activation === 'sigmoid' ? 'sigmoid' : 'silu',
  };
}

/**
 * The delta rule with one learned decay per head and token (Yang et al. 2024, "Gated Delta Networks: Improving Mamba2
 * with Delta Rule"): log decay -exp(A_log) softplus(a_proj x + dt_bias), q and k of unit length.
 */
export class GatedDeltaNet extends HeadDecayMixer<GatedDeltaNetSizes> {
  protected readonly rule = deltaRule;

  constructor(config: GatedDeltaNetSizes, options: TensorOptions = {}) {
    checkObject(new.target.name, 'config', config);
    super(config, options, { gateActivation: config.gateActivation });
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    return this.deltaInputs(x, past);
  }
}

/**
 * Language model of `GatedDeltaNet` layers under the weight names of flash-linear-attention's GatedDeltaNetForCausalLM,
 * `model_type` 'gated_deltanet'; 21 layers of width 2048 with 6 heads of 256 keys and 512 values by default.
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
  keys: { ...GATED_DELTA_KEYS, allowNegEigval: 'flag', useGate: 'flag', outputGateActivation: true },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
  }),
  model: GatedDeltaNetForCausalLM,
};
