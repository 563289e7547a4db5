// RetNet: linear attention with a fixed decay per head and rotary positions (Sun et al. 2023; spec 2.13.2).
import type { Tensor } from '../../core';
import type { TensorOptions } from '../../ops';
import { retention } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { type ConfigurationOf, KEYS } from '../keys';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import { ACTIVATIONS } from '../common/featureMaps';
import { type FlaConfiguration, FlaDecoder, readFla, readHeads } from './skeleton';
import { repeatHeads, splitHeads } from '../common/mixer';
import { GatedOutputMixer, type OutputGateConfiguration, readOutputGate } from '../common/outputGate';

export interface RetNetConfiguration extends FlaConfiguration, OutputGateConfiguration {
  readonly featureMap: 'identity' | 'relu' | 'silu' | 'swish';
}

function readConfiguration(input: object): RetNetConfiguration {
  const reader = new ConfigurationReader(input, 'retnet', KEYS.retnet);
  const base = readFla(reader, { modelType: 'retnet', architecture: 'RetNetForCausalLM' }, 2);
  return {
    ...base,
    ...readHeads(reader, base.hiddenSize, { expandK: 1, expandV: 2 }),
    ...readOutputGate(reader),
    featureMap: reader.supported('feature_map', 'identity', ['identity', 'relu', 'silu', 'swish']),
  };
}

export class Retention extends GatedOutputMixer<RetNetConfiguration> {
  protected readonly rule = retention;

  constructor(config: RetNetConfiguration, options: TensorOptions = {}) {
    super(config, options);
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    const { numHeads, numKvHeads, featureMap } = this.config;
    const groups = numHeads / numKvHeads;
    const phi = ACTIVATIONS[featureMap];
    const q = past.rotate(phi(splitHeads(this.q_proj.forward(x), numHeads)));
    const k = past.rotate(phi(splitHeads(this.k_proj.forward(x), numKvHeads)));
    const v = splitHeads(this.v_proj.forward(x), numKvHeads);
    return { q, k: repeatHeads(k, groups), v: repeatHeads(v, groups) };
  }
}

export class RetNetForCausalLM extends CausalLM<RetNetConfiguration> {
  constructor(input: ConfigurationOf<'retnet'> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new Retention(config, options), options), options);
  }
}
