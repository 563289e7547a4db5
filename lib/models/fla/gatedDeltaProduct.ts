// Gated DeltaProduct: several delta steps per token (Siems et al. 2025; spec 2.13.12).
import { checkObject, type Tensor } from '../../core';
import type { TensorOptions } from '../../ops';
import { deltaProduct } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { GATED_DELTA_KEYS, type GatedDeltaKeys, type NegativeEigenvalueKeys, readGatedDelta } from './gatedDelta';
import { type HeadDecayConfiguration, HeadDecayMixer } from './headDecay';
import { FlaDecoder } from './skeleton';

export interface GatedDeltaProductKeys extends GatedDeltaKeys<'gated_deltaproduct'>, NegativeEigenvalueKeys {
  useOutputGate?: Flag;
  useForgetGate?: Flag;
  numHouseholder?: Count;
}

/** What `GatedDeltaProductForCausalLM` reads from its keys, with the defaults filled in. */
export interface GatedDeltaProductConfiguration extends HeadDecayConfiguration {
  /** Gates the output (`use_output_gate`, true by default). */
  readonly useGate: boolean;
  /** Whether heads decay, once per token (`use_forget_gate`, false by default). */
  readonly useForgetGate: boolean;
  /** Delta steps per token (`num_householder`, 1 by default). */
  readonly numHouseholder: number;
}

/** `num_v_heads` never reaches the layers of the published program. */
function readConfiguration(input: object): GatedDeltaProductConfiguration {
  const reader = ConfigurationReader.of(input, gatedDeltaProductFamily);
  const defaults = { headDim: 256, numHeads: 6, expandV: 2, numHiddenLayers: 21 };
  return {
    ...readGatedDelta(reader, gatedDeltaProductFamily, { ...defaults, valueHeads: false }),
    useGate: reader.flag('use_output_gate', true),
    useForgetGate: reader.flag('use_forget_gate', false),
    numHouseholder: reader.size('num_householder', 1),
  };
}

type ProductInputs = RuleInputs & { numHouseholder: number };

/**
 * Several delta steps per token, each with a key, a value and a strength of its own, then one read (Siems et al. 2025,
 * "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products"). The rows of `k_proj`, `v_proj` and
 * `b_proj` are those of the first step, then those of the second, and so on.
 */
export class GatedDeltaProduct extends HeadDecayMixer<GatedDeltaProductConfiguration, ProductInputs> {
  protected readonly rule = deltaProduct;

  constructor(config: GatedDeltaProductConfiguration, options: TensorOptions = {}) {
    checkObject(new.target.name, 'config', config);
    super(config, options, { decays: config.useForgetGate, writes: config.numHouseholder });
  }

  protected inputs(x: Tensor, past: Past): ProductInputs {
    return { ...this.deltaInputs(x, past), numHouseholder: this.config.numHouseholder };
  }
}

/**
 * Language model of `GatedDeltaProduct` layers under the weight names of flash-linear-attention's
 * GatedDeltaProductForCausalLM, `model_type` 'gated_deltaproduct'; 21 layers of width 2048 with 6 heads of 256 keys and 512
 * values, one step per token and no decay by default.
 */
export class GatedDeltaProductForCausalLM extends CausalLM<GatedDeltaProductConfiguration> {
  constructor(input: EitherSpelling<GatedDeltaProductKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new GatedDeltaProduct(config, options), options), options);
  }
}

export const gatedDeltaProductFamily: ModelDefinition<GatedDeltaProductKeys, 'gated-deltaproduct'> = {
  modelType: 'gated_deltaproduct',
  name: 'gated-deltaproduct',
  architecture: 'GatedDeltaProductForCausalLM',
  description: 'Gated DeltaProduct: several delta steps per token, a learned decay per head (Siems et al. 2025)',
  keys: {
    ...GATED_DELTA_KEYS,
    allowNegEigval: 'flag',
    useOutputGate: 'flag',
    useForgetGate: 'flag',
    numHouseholder: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
    numHouseholder: 2,
    useForgetGate: true,
    allowNegEigval: true,
  }),
  model: GatedDeltaProductForCausalLM,
};
