// Kimi Delta Attention: the delta rule with a decay per key channel (Kimi Team 2025; spec 2.13.10).
import type { Tensor } from '../../core';
import type { TensorOptions } from '../../ops';
import { deltaRule } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { ChannelDecayMixer, type ChannelDecaySizes } from './channelDecay';
import {
  GATED_DELTA_KEYS,
  type GatedDeltaConfiguration,
  type GatedDeltaKeys,
  type NegativeEigenvalueKeys,
  readGatedDelta,
} from './gatedDelta';
import { FlaDecoder } from './skeleton';

export interface KimiDeltaKeys extends GatedDeltaKeys<'kda'>, NegativeEigenvalueKeys {
  lowerBound?: Count;
  safeGate?: Flag;
}

/** What `KDAForCausalLM` reads from its keys, with the defaults filled in. */
export interface KimiDeltaConfiguration extends GatedDeltaConfiguration, ChannelDecaySizes {}

function readConfiguration(input: object): KimiDeltaConfiguration {
  const reader = ConfigurationReader.of(input, kdaFamily);
  return {
    ...readGatedDelta(reader, kdaFamily, { headDim: 128, numHeads: 16, expandV: 1 }),
    lowerBound: reader.optionalBound('lower_bound'),
  };
}

/**
 * The delta rule with a learned decay per key channel and token (Kimi Team 2025, "Kimi Linear"): log decay -exp(A_log)
 * softplus(f_proj x + dt_bias), or between `lowerBound` and 0; the gate of the output is a sigmoid.
 */
export class KimiDeltaAttention extends ChannelDecayMixer<KimiDeltaConfiguration> {
  protected readonly rule = deltaRule;

  constructor(config: KimiDeltaConfiguration, options: TensorOptions = {}) {
    super(config, options);
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    return this.deltaInputs(x, past);
  }
}

/**
 * Language model of `KimiDeltaAttention` layers under the weight names of flash-linear-attention's KDAForCausalLM,
 * `model_type` 'kda'; 24 layers of width 2048 with 16 heads of 128 by default.
 */
export class KDAForCausalLM extends CausalLM<KimiDeltaConfiguration> {
  constructor(input: EitherSpelling<KimiDeltaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new KimiDeltaAttention(config, options), options), options);
  }
}

export const kdaFamily: ModelDefinition<KimiDeltaKeys, 'kda'> = {
  modelType: 'kda',
  name: 'kda',
  architecture: 'KDAForCausalLM',
  description: 'Kimi Delta Attention: the delta rule with a learned decay per key channel (Kimi Team 2025)',
  keys: { ...GATED_DELTA_KEYS, allowNegEigval: 'flag', lowerBound: true, safeGate: 'flag' },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
  }),
  model: KDAForCausalLM,
};
