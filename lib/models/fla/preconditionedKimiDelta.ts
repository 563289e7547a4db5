// Preconditioned Kimi Delta Attention: the delta rule with a decay per key channel, along keys that a running curvature rescales
// (Tumma et al. 2026; spec 2.13.12).
import type { Tensor } from '../../core';
import { Linear } from '../../nn';
import { repeatInterleave, type TensorOptions } from '../../ops';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Past } from '../common/fastWeightMixer';
import { logUniform, timeStepBias } from '../common/initialize';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { notPositive, orNull } from '../common/shapeChecks';
import { ChannelDecayMixer, type ChannelDecaySizes } from './channelDecay';
import { type GatedDeltaConfiguration, readGatedDelta } from './gatedDelta';
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

export interface PreconditionedKimiDeltaKeys extends PreconditionedKeys<'precond_kda'> {
  lowerBound?: Count;
  safeGate?: Flag;
}

/** What a layer is made of. */
export interface PreconditionedKimiDeltaSizes extends ChannelDecaySizes, PreconditionerSizes {}

/** What `PrecondKDAForCausalLM` reads from its keys, with the defaults filled in. */
export interface PreconditionedKimiDeltaConfiguration extends GatedDeltaConfiguration, PreconditionedKimiDeltaSizes {}

function readConfiguration(input: object): PreconditionedKimiDeltaConfiguration {
  const reader = ConfigurationReader.of(input, precondKdaFamily);
  return {
    ...readGatedDelta(reader, precondKdaFamily, { headDim: 128, numHeads: 16, expandV: 1 }),
    ...readPreconditioner(reader, 1),
    lowerBound: reader.optionalBound('lower_bound'),
  };
}

/**
 * `KimiDeltaAttention` around `preconditionedDeltaRule` (Tumma et al. 2026, "Preconditioned DeltaNet"): the curvature of each head
 * of values decays by -exp(A_log_atk) softplus(a_proj x + dt_bias_atk) and grows by sigmoid(b_atk_proj x) k^2, log_atk_scale is its
 * centre. Strengths come by head of keys. A state holds the curvature as `preconditioner` [B, HV, K].
 */
export class PreconditionedKimiDelta extends ChannelDecayMixer<PreconditionedKimiDeltaSizes, PreconditionedInputs> {
  /** To the decay of the curvature, weight [numValueHeads, hiddenSize], no bias. */
  a_proj: Linear;
  /** To the strength of what is added to it, weight [numValueHeads, hiddenSize], no bias. */
  b_atk_proj: Linear;
  /**
   * Log of its rates of decay [numValueHeads]; this and the next two are float32 also in a bfloat16 model. New rates are uniform up
   * to 16.
   */
  A_log_atk: Tensor;
  /** In front of the softplus of its decays [numValueHeads]; new ones are as `dt_bias`. */
  dt_bias_atk: Tensor;
  /** Log of the curvature that does not rescale a key [numValueHeads]. */
  log_atk_scale: Tensor;
  protected readonly rule = preconditionedRule;
  protected override readonly preconditions: number;

  constructor(config: PreconditionedKimiDeltaSizes, options: TensorOptions = {}) {
    checkPreconditioned(new.target.name, config, { lowerBound: orNull(notPositive) });
    const { hiddenSize, numHeads, numValueHeads, leastRate, newCenter } = config;
    super(config, options, { leastRate, strengths: numHeads });
    const perHead = (): Linear => new Linear(hiddenSize, numValueHeads, { bias: false, ...options });
    this.preconditions = numValueHeads;
    this.a_proj = perHead();
    this.b_atk_proj = perHead();
    this.A_log_atk = logUniform(numValueHeads, leastRate, 16, options);
    this.dt_bias_atk = timeStepBias(numValueHeads, options);
    this.log_atk_scale = newCenters(numValueHeads, newCenter, options);
  }

  protected override get keptInFloat32(): readonly string[] {
    return [...super.keptInFloat32, 'A_log_atk', 'dt_bias_atk', 'log_atk_scale'];
  }

  protected inputs(x: Tensor, past: Past): PreconditionedInputs {
    const { q, k, beta, ...rest } = this.deltaInputs(x, past);
    const { numHeads, numValueHeads } = this.config;
    const perValue = (t: Tensor, dim: number): Tensor =>
      numHeads === numValueHeads ? t : repeatInterleave(t, numValueHeads / numHeads, dim);
    const inputs = { ...rest, q: perValue(q, -2), k: perValue(k, -2), beta: perValue(beta!, -1) };
    return preconditionedInputs(inputs, x, this.a_proj, this);
  }
}

/**
 * Language model of `PreconditionedKimiDelta` layers under the weight names of flash-linear-attention's PrecondKDAForCausalLM,
 * `model_type` 'precond_kda'; 24 layers of width 2048 with 16 heads of 128 by default.
 */
export class PrecondKDAForCausalLM extends CausalLM<PreconditionedKimiDeltaConfiguration> {
  constructor(
    input: EitherSpelling<PreconditionedKimiDeltaKeys> | PublishedConfiguration,
    options: TensorOptions = {},
  ) {
    const config = readConfiguration(input);
    super(config, new FlaDecoder(config, () => new PreconditionedKimiDelta(config, options), options), options);
  }
}

export const precondKdaFamily: ModelDefinition<PreconditionedKimiDeltaKeys, 'precond-kda'> = {
  modelType: 'precond_kda',
  name: 'precond-kda',
  architecture: 'PrecondKDAForCausalLM',
  description: 'Preconditioned KDA: Kimi Delta Attention along keys rescaled by curvature (Tumma et al. 2026)',
  keys: { ...PRECONDITIONED_KEYS, lowerBound: true, safeGate: 'flag' },
  configuration: ({ numHeads, headDim, feedForward }) => ({
    numHeads,
    headDim,
    intermediateSize: feedForward,
    expandV: 1,
  }),
  model: PrecondKDAForCausalLM,
};
