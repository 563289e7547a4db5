// Mamba-2 in the layout of transformers (Dao and Gu 2024; spec 2.13.6).
import type { TensorOptions } from '../../ops';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { type MambaConfiguration, MambaLM, readTimeSteps } from './backbone';
import { Mamba2Mixer, type Mamba2Shape } from './mamba2Mixer';

export interface Mamba2Keys extends CommonKeys<'mamba2'> {
  numHeads?: Count;
  headDim?: Count;
  stateSize?: Count;
  /** numHeads headDim over hiddenSize, 2 by default. */
  expand?: Count;
  nGroups?: Count;
  convKernel?: Count;
  useConvBias?: Flag;
  /** Of the projections into the layers and out of them; false by default. */
  useBias?: Flag;
  hiddenAct?: Name<'silu' | 'swish'>;
  layerNormEpsilon?: Count;
  /** Least and largest step in time. */
  timeStepLimit?: readonly number[] | null;
  /** Steps in time of new weights, before `timeStepFloor`. */
  timeStepMin?: Count;
  timeStepMax?: Count;
  timeStepFloor?: Count;
  /** Whether new `out_proj` are divided by the root of the number of layers, false by default. */
  rescalePrenormResidual?: Flag;
  /** Changes nothing here: the steps in time have no projection of their own. It is saved again. */
  timeStepRank?: number | string | null;
  /** Changes nothing here: there is a norm in any case. It is saved again. */
  rmsNorm?: Flag;
  /** Changes nothing here: sums of the residual have the dtype of the weights. It is saved again. */
  residualInFp32?: Flag;
  /** Changes nothing here: it sizes pieces of a kernel. It is saved again. */
  chunkSize?: Count;
}

/** What `Mamba2ForCausalLM` reads from its keys, with the defaults filled in. */
export interface Mamba2Configuration extends MambaConfiguration {
  /** The same in every layer. */
  readonly mixer: Mamba2Shape;
  /** Layers that a new `out_proj` counts with, 1 without `rescale_prenorm_residual`. */
  readonly residualLayers: number;
}

function readConfiguration(input: object): Mamba2Configuration {
  const reader = ConfigurationReader.of(input, mamba2Family);
  const common = reader.common(mamba2Family, { vocabSize: 32768, hiddenSize: 4096, numHiddenLayers: 64 });
  const { hiddenSize, numHiddenLayers } = common;
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  const numHeads = reader.size('num_heads', 128);
  const inner = reader.scaled('expand', hiddenSize * reader.expansion('expand', 2));
  const headDim = reader.size('head_dim', 64);
  reader.equals('head_dim', headDim, reader.divides(inner, 'num_heads', numHeads));
  const numGroups = reader.size('n_groups', 8);
  reader.divides(numHeads, 'n_groups', numGroups);
  const normEps = reader.number('layer_norm_epsilon', 1e-5);
  const bias = reader.flag('use_bias', false);
  return {
    ...common,
    initializerRange: reader.number('initializer_range', 0.1),
    normEps,
    residualLayers: reader.flag('rescale_prenorm_residual', false) ? numHiddenLayers : 1,
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
      timeStepLimit: reader.limits('time_step_limit', [0, Infinity]),
      skipPerValue: false,
      norm: { eps: normEps, groups: numGroups, beforeGate: false },
      newRates: null,
      newTimeSteps: readTimeSteps(reader, 'time_step_min', 'time_step_max', 'time_step_floor'),
    },
  };
}

/**
 * Language model of `Mamba2Mixer` layers under the weight names of transformers' Mamba2ForCausalLM, `model_type` 'mamba2', which
 * it shares with that of flash-linear-attention; 64 layers of width 4096 with 128 heads of 64 values and 128 keys by default.
 */
export class Mamba2ForCausalLM extends MambaLM<Mamba2Configuration, Mamba2Mixer> {
  constructor(input: EitherSpelling<Mamba2Keys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, () => new Mamba2Mixer(config.mixer, options), options);
    for (const { out_proj } of this.mixers) initializeResidual(out_proj, config.residualLayers);
  }
}

export const mamba2Family: ModelDefinition<Mamba2Keys, 'mamba2'> = {
  modelType: 'mamba2',
  name: 'mamba2',
  architecture: 'Mamba2ForCausalLM',
  description: 'Mamba-2: a learned step in time per head, in the layout of transformers (Dao and Gu 2024)',
  keys: {
    numHeads: true,
    headDim: true,
    stateSize: true,
    expand: true,
    nGroups: true,
    convKernel: true,
    useConvBias: 'flag',
    useBias: 'flag',
    hiddenAct: true,
    layerNormEpsilon: true,
    timeStepLimit: true,
    timeStepMin: true,
    timeStepMax: true,
    timeStepFloor: true,
    rescalePrenormResidual: 'flag',
    timeStepRank: true,
    rmsNorm: 'flag',
    residualInFp32: 'flag',
    chunkSize: true,
  },
  configuration: ({ numHeads, headDim }) => ({ numHeads, headDim: 2 * headDim, stateSize: headDim, nGroups: 1 }),
  model: Mamba2ForCausalLM,
};
