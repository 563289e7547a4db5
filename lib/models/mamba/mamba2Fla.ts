// Mamba-2 in the layout of flash-linear-attention: the weights of transformers, other keys (spec 2.13.6).
import type { OptionNames } from '../../core';
import type { TensorOptions } from '../../ops';
import { ConfigurationReader, type JsonObject, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { type MambaConfiguration, MambaLM } from './backbone';
import { Mamba2Mixer, type Mamba2Shape } from './mamba2Mixer';

/** Mamba-2 and its log-linear form in flash-linear-attention; T is their `model_type`. */
export interface Mamba2FlaKeys<T extends string = 'mamba2'> extends CommonKeys<T> {
  headDim?: Count;
  stateSize?: Count;
  /** The width inside a layer over hiddenSize, 2 by default. */
  expand?: Count;
  nGroups?: Count;
  convKernel?: Count;
  useConvBias?: Flag;
  useBias?: Flag;
  hiddenAct?: Name<'silu' | 'swish'>;
  normEps?: Count;
  /** Least and largest step in time. */
  dtLimit?: readonly number[] | null;
  /** Whether D has a weight for every value of a head, false by default. */
  DHasHdim?: Flag;
  /** Whether the output has a norm, true by default. */
  rmsnorm?: Flag;
  /** Whether its gate multiplies the norm, false by default: what is normed. */
  normBeforeGate?: Flag;
  /** Rates of decay of new weights, uniform between two numbers. */
  AInitRange?: readonly number[] | null;
  /** Steps in time of new weights, before `dtInitFloor`. */
  dtMin?: Count;
  dtMax?: Count;
  dtInitFloor?: Count;
  /** Whether new `out_proj` are divided by the root of the number of layers, true by default. */
  rescalePrenormResidual?: Flag;
  /** Expansion and headDim give it; another number is refused. */
  numHeads?: Count;
  /** Changes nothing here: new convolutions are drawn as PyTorch does it. It is saved again. */
  convInit?: Count;
  /** Changes nothing here: sums of the residual have the dtype of the weights. It is saved again. */
  residualInFp32?: Flag;
  /** Changes nothing here: it sizes pieces of a kernel. It is saved again. */
  chunkSize?: Count;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  fuseNorm?: Flag;
  /** Changes nothing here: it chooses a kernel of the loss. It is saved again. */
  fuseCrossEntropy?: Flag;
  /** Changes nothing here: logits are always returned. It is saved again. */
  fuseLinearCrossEntropy?: Flag;
  /** Changes nothing here: the loss has no such term. It is saved again. */
  useL2warp?: Flag;
}

export const MAMBA2_FLA_KEYS: OptionNames<Omit<Mamba2FlaKeys, keyof CommonKeys>> = {
  headDim: true,
  stateSize: true,
  expand: true,
  nGroups: true,
  convKernel: true,
  useConvBias: 'flag',
  useBias: 'flag',
  hiddenAct: true,
  normEps: true,
  dtLimit: true,
  DHasHdim: 'flag',
  rmsnorm: 'flag',
  normBeforeGate: 'flag',
  AInitRange: true,
  dtMin: true,
  dtMax: true,
  dtInitFloor: true,
  rescalePrenormResidual: 'flag',
  numHeads: true,
  convInit: true,
  residualInFp32: 'flag',
  chunkSize: true,
  fuseNorm: 'flag',
  fuseCrossEntropy: 'flag',
  fuseLinearCrossEntropy: 'flag',
  useL2warp: 'flag',
};

/** What the models with a layer of Mamba-2 in flash-linear-attention read from their keys, with the defaults filled in. */
export interface Mamba2FlaConfiguration extends MambaConfiguration {
  /** The same in every layer. */
  readonly mixer: Mamba2Shape;
  /** Whether projections onto the residual stream start smaller in deeper models. */
  readonly rescaleResidual: boolean;
}

/** Reads the keys that all of these models have. */
export function readMamba2Fla(reader: ConfigurationReader, family: ModelDefinition): Mamba2FlaConfiguration {
  const common = reader.common(family, { vocabSize: 32000, hiddenSize: 2048, numHiddenLayers: 48 });
  const { hiddenSize } = common;
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  const inner = reader.scaled('expand', hiddenSize * reader.number('expand', 2));
  const headDim = reader.size('head_dim', 64);
  const numHeads = reader.divides(inner, 'head_dim', headDim);
  reader.equals('num_heads', reader.size('num_heads', numHeads), numHeads);
  const numGroups = reader.size('n_groups', 1);
  reader.divides(numHeads, 'n_groups', numGroups);
  const normEps = reader.number('norm_eps', 1e-5);
  const bias = reader.flag('use_bias', false);
  const beforeGate = reader.flag('norm_before_gate', false);
  return {
    ...common,
    normEps,
    rescaleResidual: reader.flag('rescale_prenorm_residual', true),
    mixer: {
      hiddenSize,
      numHeads,
      headDim,
      stateSize: reader.size('state_size', 128),
      numGroups,
      convSize: reader.size('conv_kernel', 4),
      convBias: reader.flag('use_conv_bias', true),
      inputBias: bias,
      outputBias: bias,
      // Folders of the first versions have the key of transformers.
      timeStepLimit: reader.limits('dt_limit', reader.limits('time_step_limit', [0, Infinity])),
      skipPerValue: reader.flag('D_has_hdim', false),
      norm: reader.flag('rmsnorm', true) ? { eps: normEps, groups: numGroups, beforeGate } : null,
      newRates: reader.limits('A_init_range', [1, 16]),
      newTimeSteps: {
        low: reader.positive('dt_min', 1e-3),
        high: reader.positive('dt_max', 0.1),
        floor: reader.number('dt_init_floor', 1e-4),
      },
    },
  };
}

/** Keys by which a folder is told from one of transformers, which has the same `model_type`. */
const OWN_KEYS = ['norm_eps', 'dt_limit', 'rmsnorm', 'fuse_norm', 'norm_before_gate'];

/**
 * Language model of `Mamba2Mixer` layers under the weight names of flash-linear-attention's Mamba2ForCausalLM, which are those of
 * transformers; `model_type` 'mamba2' with keys of its own. 48 layers of width 2048 with 64 heads of 64 values and 128 keys by
 * default.
 */
export class Mamba2FlaForCausalLM extends MambaLM<Mamba2FlaConfiguration, Mamba2Mixer> {
  constructor(input: EitherSpelling<Mamba2FlaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readMamba2Fla(ConfigurationReader.of(input, mamba2FlaFamily), mamba2FlaFamily);
    super(config, () => new Mamba2Mixer(config.mixer, options), options);
    if (!config.rescaleResidual) return;
    for (const { out_proj } of this.mixers) initializeResidual(out_proj, config.numHiddenLayers);
  }
}

export const mamba2FlaFamily: ModelDefinition<Mamba2FlaKeys, 'mamba2-fla'> = {
  modelType: 'mamba2',
  claims: (config: JsonObject) => OWN_KEYS.some((key) => Object.hasOwn(config, key)),
  name: 'mamba2-fla',
  architecture: 'Mamba2ForCausalLM',
  description: 'Mamba-2 in the layout of flash-linear-attention',
  keys: MAMBA2_FLA_KEYS,
  configuration: ({ numHeads, headDim }) => ({ numHeads, headDim: 2 * headDim, stateSize: headDim, normEps: 1e-5 }),
  model: Mamba2FlaForCausalLM,
};
