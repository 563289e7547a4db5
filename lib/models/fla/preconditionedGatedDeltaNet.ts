// Preconditioned Gated DeltaNet: the gated delta rule along keys that a running curvature rescales (Tumma et al. 2026; spec
// 2.13.12).
import type { Tensor } from '../../core';
import { Linear } from '../../nn';
import type { TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Past } from '../common/fastWeightMixer';
import { logUniform, timeStepBias } from '../common/initialize';
import type { EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { flag } from '../common/shapeChecks';
import { readGatedDelta } from './gatedDelta';
import { type HeadDecayConfiguration, HeadDecayMixer, type HeadDecaySizes } from './headDecay';
import {
  checkPreconditioned,
  newCenters,
  PRECONDITIONED_KEYS,
  type PreconditionedInputs,
  preconditionedInputs,
  type PreconditionedKeys,
  preconditionedRule,
  type PreconditionerSizes,
  readPreconditioner,
} from './preconditioned';
import { FlaDecoder } from './skeleton';

export interface PreconditionedGatedDeltaKeys extends PreconditionedKeys<'precond_gated_deltanet'> {
  useGate?: Flag;
}

/** What a layer is made of. */
export interface PreconditionedGatedDeltaSizes extends HeadDecaySizes, PreconditionerSizes {}

/** What `PrecondGatedDeltaNetForCausalLM` reads from its keys, with the defaults filled in. */
export interface PreconditionedGatedDeltaConfiguration extends HeadDecayConfiguration, PreconditionerSizes {}

function readConfiguration(input: object): PreconditionedGatedDeltaConfiguration {
  const reader = ConfigurationReader.of(input, precondGatedDeltaNetFamily);
  const defaults = { headDim: 256, numHeads: 6, expandV: 2, numHiddenLayers: 21 };
  return {
    ...readGatedDelta(reader, precondGatedDeltaNetFamily, defaults),
    ...readPreconditioner(reader, 0),
    useGate: reader.flag('use_gate', true),
  };
}

/**
 * `GatedDeltaNet` around `preconditionedDeltaRule` (Tumma et al. 2026, "Preconditioned DeltaNet"): the curvature of each head of
 * keys decays by -exp(A_log_atk) softplus(a_atk_proj x + dt_bias_atk) and grows by sigmoid(b_atk_proj x) k^2, log_atk_scale is its
 * centre. A state holds it as `preconditioner` [B, H, K].
 */
export class PreconditionedGatedDeltaNet extends HeadDecayMixer<PreconditionedGatedDeltaSizes, PreconditionedInputs> {
  /** To the decay of the curvature, weight [numHeads, hiddenSize], no bias. */
  a_atk_proj: Linear;
  /** To the strength of what is added to it, weight [numHeads, hiddenSize], no bias. */
  b_atk_proj: Linear;
  /** Log of its rates of decay [numHeads]; this and the next two are float32 also in a bfloat16 model. New ones are as `A_log`. */
  A_log_atk: Tensor;
  /** In front of the softplus of its decays [numHeads]; new ones are as `dt_bias`. */
  dt_bias_atk: Tensor;
  /** Log of the curvature that does not rescale a key [numHeads]. */
  log_atk_scale: Tensor;
  protected readonly rule = preconditionedRule;
  protected override readonly preconditions: number;

  constructor(config: PreconditionedGatedDeltaSizes, options: TensorOptions = {}) {
    checkPreconditioned(new.target.name, config, { useGate: flag });
    const { hiddenSize, numHeads, leastRate, newCenter } = config;
    super(config, options, { leastRate });
    const perHead = (): Linear => new Linear(hiddenSize, numHeads, { bias: false, ...options });
    this.preconditions = numHeads;
    this.a_atk_proj = perHead();
    this.b_atk_proj = perHead();
    this.A_log_atk = logUniform(numHeads, leastRate, 16, options);
    this.dt_bias_atk = timeStepBias(numHeads, options);
    this.log_atk_scale = newCenters(numHeads, newCenter, options);
  }

  protected override get keptInFloat32(): readonly string[] {
    return [...super.keptInFloat32, 'A_log_atk', 'dt_bias_atk', 'log_atk_scale'];
  }

  protected inputs(x: Tensor, past: Past): PreconditionedInputs {
    return preconditionedInputs(this.deltaInputs(x, past), x, this.a_atk_proj, this);
  }
}

/**
 * Language model of `PreconditionedGatedDeltaNet` layers under the weight names of flash-linear-attention's
 * PrecondGatedDeltaNetForCausalLM, `model_type` 'precond_gated_deltanet'; 21 layers of width 2048 with 6 heads of 256 keys and 512
 * values by default.
 */
export class PrecondGatedDeltaNetForCausalLM extends CausalLM<PreconditionedGatedDeltaConfiguration> {
  constructor(
    input: EitherSpelling<PreconditionedGatedDeltaKeys> | PublishedConfiguration,
    options: TensorOptions = {},
  ) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new PreconditionedGatedDeltaNet(config, options), options), options);
  }
}

export const precondGatedDeltaNetFamily: ModelDefinition<PreconditionedGatedDeltaKeys, 'precond-gated-deltanet'> = {
  modelType: 'precond_gated_deltanet',
  name: 'precond-gated-deltanet',
  architecture: 'PrecondGatedDeltaNetForCausalLM',
  description: 'Preconditioned Gated DeltaNet: writes along keys that their curvature rescales (Tumma et al. 2026)',
  keys: { ...PRECONDITIONED_KEYS, useGate: 'flag' },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
  }),
  model: PrecondGatedDeltaNetForCausalLM,
};
