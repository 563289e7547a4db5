// Kimi Delta Attention: the delta rule with a decay per key channel (Kimi Team 2025; spec 2.13.10).
import { checkObject, type Tensor } from '../../core';
import { noGrad } from '../../autograd';
import { GatedRMSNorm, Linear } from '../../nn';
import { kdaGate, type TensorOptions } from '../../ops';
import { deltaRule } from '../../rules';
import { CausalLM } from '../common/causalLM';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import type { Past, RuleInputs } from '../common/fastWeightMixer';
import type { Count, EitherSpelling, Flag } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { FlaDecoder } from './skeleton';
import {
  GATED_DELTA_KEYS,
  type GatedDeltaConfiguration,
  type GatedDeltaKeys,
  GatedDeltaMixer,
  type NegativeEigenvalueKeys,
  readGatedDelta,
} from './gatedDelta';
import { logUniform, timeStepBias } from '../common/initialize';
import { mergeHeads, splitHeads } from '../common/mixer';

export interface KimiDeltaKeys extends GatedDeltaKeys<'kda'>, NegativeEigenvalueKeys {
  lowerBound?: Count;
  safeGate?: Flag;
}

/** What `KDAForCausalLM` reads from its keys, with the defaults filled in. */
export interface KimiDeltaConfiguration extends GatedDeltaConfiguration {
  /** With it the log decay lies between it and 0. */
  readonly lowerBound: number | null;
}

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
export class KimiDeltaAttention extends GatedDeltaMixer<KimiDeltaConfiguration> {
  /**
   * To the decay through rank valueDim: weights [valueDim, hiddenSize] and [numValueHeads * keyDim, valueDim], no
   * biases.
   */
  f_proj: [Linear, Linear];
  /**
   * Log of each head's rate of decay, [numValueHeads]; float32 also in a bfloat16 model. New rates are uniform in (1,
   * 16), or all 1 where there is a `lowerBound`.
   */
  A_log: Tensor;
  /**
   * Added to `f_proj` x, [numValueHeads * keyDim]; float32 also in a bfloat16 model. New time steps softplus(dt_bias)
   * are log-uniform in (0.001, 0.1).
   */
  dt_bias: Tensor;
  /**
   * To the gate of the output through rank valueDim: weights [valueDim, hiddenSize] and, with a bias, [numValueHeads *
   * valueDim, valueDim].
   */
  g_proj: [Linear, Linear];
  /** Of each head's output, times sigmoid of the gate; weight [valueDim] for all heads. */
  o_norm: GatedRMSNorm;
  protected readonly rule = deltaRule;

  constructor(config: KimiDeltaConfiguration, options: TensorOptions = {}) {
    super(config, options);
    checkObject(new.target.name, 'config', config);
    const { hiddenSize, numValueHeads, keyDim, valueDim, normEps, lowerBound } = config;
    const bare = { bias: false, ...options };
    this.f_proj = [new Linear(hiddenSize, valueDim, bare), new Linear(valueDim, numValueHeads * keyDim, bare)];
    this.A_log = logUniform(numValueHeads, 1, 16, options);
    if (lowerBound !== null) noGrad(() => this.A_log.fill_(0));
    this.dt_bias = timeStepBias(numValueHeads * keyDim, options);
    this.g_proj = [new Linear(hiddenSize, valueDim, bare), new Linear(valueDim, numValueHeads * valueDim, options)];
    this.o_norm = new GatedRMSNorm(valueDim, { eps: normEps, activation: 'sigmoid', ...options });
  }

  protected inputs(x: Tensor, past: Past): RuleInputs {
    return this.deltaInputs(x, past);
  }

  /** -exp(A_log) softplus(f + dt_bias), or lowerBound sigmoid(exp(A_log) (f + dt_bias)); [..., HV, K] */
  protected logDecay(x: Tensor): Tensor {
    const [down, up] = this.f_proj;
    const { numValueHeads, lowerBound } = this.config;
    const f = splitHeads(up.forward(down.forward(x)), numValueHeads);
    return kdaGate(f, this.A_log, this.dt_bias, { lowerBound });
  }

  protected readout(output: Tensor, x: Tensor): Tensor {
    const [down, up] = this.g_proj;
    const gate = splitHeads(up.forward(down.forward(x)), this.config.numValueHeads);
    return this.o_proj.forward(mergeHeads(this.o_norm.forward(output, gate)));
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
