// Comba: a delta rule whose error is fed back from the undecayed state (Hu et al. 2025; spec 2.13.11).
import type { Tensor } from '../../core';
import { parameter } from '../../nn';
import { l2Norm, ones, type TensorOptions } from '../../ops';
import { comba } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { computable, type Past, type RuleInputs } from '../common/fastWeightMixer';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { GATED_DELTA_KEYS, type GatedDeltaKeys, readGatedDelta } from './gatedDelta';
import { type HeadDecayConfiguration, HeadDecayMixer } from './headDecay';
import { FlaDecoder } from './skeleton';

export interface CombaKeys extends GatedDeltaKeys<'comba'> {
  useOutputGate?: Flag;
  useInnerDecay?: Flag;
  useOutputCorrection?: Flag;
  correctionFactor?: Count;
}

/** What `CombaForCausalLM` reads from its keys, with the defaults filled in. */
export interface CombaConfiguration extends HeadDecayConfiguration {
  /** Gates the output (`use_output_gate`, true by default). */
  readonly useGate: boolean;
}

/**
 * `use_inner_decay`, `use_output_correction` and `correction_factor` never reach the layers of the published program: there
 * both always are, the correction starting at 1.
 */
function readConfiguration(input: object): CombaConfiguration {
  const reader = ConfigurationReader.of(input, combaFamily);
  const defaults = { headDim: 256, numHeads: 6, expandV: 2, numHiddenLayers: 21 };
  const config = readGatedDelta(reader, combaFamily, { ...defaults, negativeEigenvalues: false });
  return { ...config, useGate: reader.flag('use_output_gate', true) };
}

type CombaInputs = RuleInputs & { p: Tensor };

/**
 * The error is what the key p = sigmoid(decay) k reads from the undecayed state, and the query q - D p (Hu et al. 2025,
 * "Improving Bilinear RNNs with Closed-loop Control"); q, k and p get unit length after that. Log decay -exp(A_log)
 * softplus(a_proj x + dt_bias); the gate of the output is a sigmoid.
 */
export class Comba extends HeadDecayMixer<CombaConfiguration, CombaInputs> {
  /** Of each head's key in front of the sigmoid, [numHeads], ones at first. */
  decay: Tensor;
  /** How much of p each head's query does without, [numHeads], ones at first. */
  D: Tensor;
  protected readonly rule = comba;

  constructor(config: CombaConfiguration, options: TensorOptions = {}) {
    super(config, options, { gateActivation: 'sigmoid' });
    this.decay = parameter(ones([config.numHeads], options));
    this.D = parameter(ones([config.numHeads], options));
  }

  protected inputs(x: Tensor, past: Past): CombaInputs {
    const inputs = this.deltaInputs(x, past);
    const p = inputs.k.mul(this.decay.sigmoid().unsqueeze(1));
    const q = inputs.q.sub(p.mul(this.D.unsqueeze(1)));
    return { ...inputs, q, p: l2Norm(computable(p)) };
  }
}

/**
 * Language model of `Comba` layers under the weight names of flash-linear-attention's CombaForCausalLM, `model_type`
 * 'comba'; 21 layers of width 2048 with 6 heads of 256 keys and 512 values by default.
 */
export class CombaForCausalLM extends CausalLM<CombaConfiguration> {
  constructor(input: EitherSpelling<CombaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new Comba(config, options), options), options);
  }
}

export const combaFamily: ModelDefinition<CombaKeys, 'comba'> = {
  modelType: 'comba',
  name: 'comba',
  architecture: 'CombaForCausalLM',
  description: 'Comba: the delta rule with its error read from the undecayed state (Hu et al. 2025)',
  keys: {
    ...GATED_DELTA_KEYS,
    useOutputGate: 'flag',
    useInnerDecay: 'flag',
    useOutputCorrection: 'flag',
    correctionFactor: true,
  },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
  }),
  model: CombaForCausalLM,
};
