// Mamba in the layout of transformers (Gu and Dao 2023).
import type { OptionNames } from '../../core';
import type { TensorOptions } from '../../ops';
import { ConfigurationReader, type PublishedConfiguration } from '../common/configuration';
import { initializeResidual } from '../common/initialize';
import type { CommonKeys, Count, EitherSpelling, Flag, Name } from '../common/keys';
import type { ModelDefinition } from '../common/registry';
import { type MambaConfiguration as SkeletonConfiguration, MambaLM, readTimeSteps } from './backbone';
import { MambaMixer, type MambaShape } from './mambaMixer';

/** Keys of its layers. */
export interface MambaLayerKeys {
  /** Entries of the state for each channel, 16 by default. */
  stateSize?: Count;
  /** Channels inside a layer over hiddenSize, a whole number; 2 by default. */
  expand?: Count;
  /** Channels inside a layer; what `expand` gives, and nothing else. */
  intermediateSize?: Count;
  /** 'auto' and null: hiddenSize / 16, rounded up. */
  timeStepRank?: number | 'auto' | null;
  /** Tokens that the convolutions see, 4 by default. */
  convKernel?: Count;
  /** Of the projections into the layers and out of them; false by default. */
  useBias?: Flag;
  /** Steps in time of new weights, before `timeStepFloor`. */
  timeStepMin?: Count;
  timeStepMax?: Count;
  timeStepFloor?: Count;
  /** Of new weights of their projection: uniform in +-timeStepScale / sqrt(timeStepRank), or that number. */
  timeStepInitScheme?: Name<'random' | 'constant'>;
  timeStepScale?: Count;
  /** Changes nothing here: sums of the residual have the dtype of the weights. It is saved again. */
  residualInFp32?: Flag;
}

export const MAMBA_LAYER_KEYS: OptionNames<MambaLayerKeys> = {
  stateSize: true,
  expand: true,
  intermediateSize: true,
  timeStepRank: true,
  convKernel: true,
  useBias: 'flag',
  timeStepMin: true,
  timeStepMax: true,
  timeStepFloor: true,
  timeStepInitScheme: true,
  timeStepScale: true,
  residualInFp32: 'flag',
};

export interface MambaKeys extends CommonKeys<'mamba'>, MambaLayerKeys {
  useConvBias?: Flag;
  hiddenAct?: Name<'silu' | 'swish'>;
  layerNormEpsilon?: Count;
  /** Whether new `out_proj` are divided by the root of the number of layers, false by default. */
  rescalePrenormResidual?: Flag;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  useMambapy?: Flag;
  /** Changes nothing here: it chooses between kernels that compute the same. It is saved again. */
  useAssociativeScan?: Flag;
}

/** What is read of the keys of layers. */
export interface MambaLayer {
  /** The same in every layer. */
  readonly mixer: MambaShape;
  /** Of new projections to the steps in time. */
  readonly timeSteps: { readonly scale: number; readonly constant: boolean };
}

/** Reads them; `convBias` says whether convolutions have biases. */
export function readMambaLayer(reader: ConfigurationReader, hiddenSize: number, convBias: boolean): MambaLayer {
  const innerSize = hiddenSize * reader.size('expand', 2, 2 ** 10);
  reader.equals('intermediate_size', reader.size('intermediate_size', innerSize), innerSize);
  return {
    timeSteps: {
      scale: reader.number('time_step_scale', 1),
      constant: reader.choice('time_step_init_scheme', 'random', ['random', 'constant']) === 'constant',
    },
    mixer: {
      hiddenSize,
      innerSize,
      stateSize: reader.size('state_size', 16),
      timeStepRank: reader.autoSize('time_step_rank') ?? Math.ceil(hiddenSize / 16),
      convSize: reader.size('conv_kernel', 4),
      convBias,
      bias: reader.flag('use_bias', false),
      newTimeSteps: readTimeSteps(reader, 'time_step_min', 'time_step_max', 'time_step_floor'),
    },
  };
}

/** What `MambaForCausalLM` reads from its keys, with the defaults filled in. */
export interface MambaConfiguration extends SkeletonConfiguration, MambaLayer {
  /** Layers that a new `out_proj` counts with, 1 without `rescale_prenorm_residual`. */
  readonly residualLayers: number;
}

function readConfiguration(input: object): MambaConfiguration {
  const reader = ConfigurationReader.of(input, mambaFamily);
  const common = reader.common(mambaFamily, { vocabSize: 50280, hiddenSize: 768, numHiddenLayers: 32 });
  const { hiddenSize, numHiddenLayers } = common;
  reader.supported('hidden_act', 'silu', ['silu', 'swish']);
  return {
    ...common,
    ...readMambaLayer(reader, hiddenSize, reader.flag('use_conv_bias', true)),
    tieWordEmbeddings: reader.flag('tie_word_embeddings', true),
    initializerRange: reader.number('initializer_range', 0.1),
    normEps: reader.number('layer_norm_epsilon', 1e-5),
    residualLayers: reader.flag('rescale_prenorm_residual', false) ? numHiddenLayers : 1,
  };
}

/**
 * Language model of `MambaMixer` layers under the weight names of transformers' MambaForCausalLM, `model_type` 'mamba'; 32 layers
 * of width 768 with 16 entries of the state for each of 1536 channels by default. Embedding and head are one tensor.
 */
export class MambaForCausalLM extends MambaLM<MambaConfiguration, MambaMixer> {
  constructor(input: EitherSpelling<MambaKeys> | PublishedConfiguration, options: TensorOptions = {}) {
    const config = readConfiguration(input);
    super(config, () => new MambaMixer(config.mixer, options), options);
    for (const mixer of this.mixers) {
      initializeResidual(mixer.out_proj, config.residualLayers);
      mixer.initializeTimeSteps(config.timeSteps);
    }
  }
}

export const mambaFamily: ModelDefinition<MambaKeys, 'mamba'> = {
  modelType: 'mamba',
  name: 'mamba',
  architecture: 'MambaForCausalLM',
  description: 'Mamba: a selective state space, a decay for every entry of its state (Gu and Dao 2023)',
  keys: {
    ...MAMBA_LAYER_KEYS,
    useConvBias: 'flag',
    hiddenAct: true,
    layerNormEpsilon: true,
    rescalePrenormResidual: 'flag',
    useMambapy: 'flag',
    useAssociativeScan: 'flag',
  },
  configuration: () => ({}),
  model: MambaForCausalLM,
};
