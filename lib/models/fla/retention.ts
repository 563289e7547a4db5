// RetNet: linear attention with a fixed decay per head and rotary positions (Sun et al. 2023; spec 2.13.2).
import type { Tensor } from '../../core';
import { repeatHeads, type TensorOptions } from '../../ops';
import { retention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { CONVOLUTION_KEYS, type ConvolutionKeys, FLA_KEYS, type FlaKeys, HEAD_KEYS, type HeadKeys } from './keys';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import { POINTWISE_MAPS } from './featureMaps';
import { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './skeleton';
import { splitHeads } from '../common/mixer';
import { GatedOutputMixer, type OutputGateConfiguration, readOutputGate } from '../common/outputGate';

export interface RetNetKeys extends FlaKeys<'retnet'>, HeadKeys, ConvolutionKeys {
  featureMap?: Name<'identity' | 'relu' | 'silu' | 'swish'>;
  useOutputGate?: Flag;
}

/** What `RetNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface RetNetConfiguration extends FlaConfiguration, OutputGateConfiguration {
  /** Of q and k in front of their rotation (`feature_map`, 'identity' by default); 'silu' and 'swish' are one. */
  readonly featureMap: 'identity' | 'relu' | 'silu' | 'swish';
}

function readConfiguration(input: object): RetNetConfiguration {
  const reader = ConfigurationReader.of(input, retNetFamily);
  const base = readFla(reader, retNetFamily, 2);
  return {
    ...base,
    ...readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 2, numHeads: 8 }),
    ...readOutputGate(reader),
    featureMap: reader.supported('feature_map', 'identity', ['identity', 'relu', 'silu', 'swish']),
  };
}

/**
 * Additive fast weights that head h multiplies by 1 - 2^(-5 - h) at each token, q and k turned by their positions (Sun
 * et al. 2023, "Retentive Network"). No weight among them is a decay.
 */
export class Retention extends GatedOutputMixer<RetNetConfiguration> {
  protected readonly rule = retention;

  constructor(config: RetNetConfiguration, options: TensorOptions = {}) {
    super(config, options);
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, numKvHeads, featureMap } = this.config;
    const phi = POINTWISE_MAPS[featureMap];
    const q = past.rotate(phi(splitHeads(this.q_proj.forward(x), numHeads)));
    const k = past.rotate(phi(splitHeads(this.k_proj.forward(x), numKvHeads)));
    const v = splitHeads(this.v_proj.forward(x), numKvHeads);
    return { q, k: repeatHeads(k, numHeads), v: repeatHeads(v, numHeads) };
  }
}

/**
 * Language model of `Retention` layers under the weight names of flash-linear-attention's RetNetForCausalLM,
 * `model_type` 'retnet'; 24 layers of width 2048 with 8 heads by default.
 */
export class RetNetForCausalLM extends CausalLM<RetNetConfiguration> {
  constructor(input: EitherSpelling<RetNetKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new Retention(config, options), options), options);
  }
}

export const retNetFamily: ModelDefinition<RetNetKeys, 'retnet'> = {
  modelType: 'retnet',
  name: 'retnet',
  architecture: 'RetNetForCausalLM',
  description: 'retention: a fixed decay per head, rotary positions (Sun et al. 2023)',
  keys: { ...FLA_KEYS, ...HEAD_KEYS, ...CONVOLUTION_KEYS, featureMap: true, useOutputGate: 'flag' },
  configuration: ({ numHeads, feedForward }) => ({ numHeads, intermediateSize: feedForward, expandK: 1, expandV: 2 }),
  model: RetNetForCausalLM,
};
