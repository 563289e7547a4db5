// Models to train from scratch, by short names and a few sizes.
import { argumentError, checkInteger, checkOptions, describe, type OptionNames } from '../core';
import type { TensorOptions } from '../ops';
import { AutoModelForCausalLM } from './auto';
import type { CausalLM } from './common/causalLM';
import { checkSpellings, inEitherSpelling, withFileKeys } from './common/configuration';
import { type ConfigurationInput, KEYS, type KeysByType } from './keys';

export interface ModelSizes {
  vocabSize: number;
  /** 256 by default. */
  hiddenSize?: number;
  /** 4 by default. */
  numLayers?: number;
  /** A divisor of the hidden size; 4 by default. */
  numHeads?: number;
  /** Width of the feed-forward; 8/3 of the hidden size, rounded up to a multiple of 64, by default. */
  intermediateSize?: number;
}

/** The `model_type` of each family's configuration. */
interface ModelTypes {
  'linear-transformer': 'linear_attn';
  retnet: 'retnet';
  gla: 'gla';
  deltanet: 'delta_net';
  'deltanet-2021': 'delta_net_2021';
  'gated-deltanet': 'gated_deltanet';
  kda: 'kda';
  transformer: 'llama';
  lstm: 'lstm';
}

/** The names that `createModel` knows. */
export type ModelName = keyof ModelTypes;

type CreateKeys = ModelSizes &
  Pick<TensorOptions, 'device' | 'dtype'> & {
    /** The property of the model, see `CausalLM`; false by default. */
    gradientCheckpointing?: boolean;
  };

/** Sizes and place, and any further key of the family's configuration, which goes before the default. */
export type CreateOptions<N extends ModelName = ModelName> = N extends ModelName
  ? CreateKeys & Omit<KeysByType[ModelTypes[N]], keyof CreateKeys | 'modelType'>
  : never;

const CREATE_KEYS: OptionNames<CreateKeys> = {
  vocabSize: true,
  hiddenSize: true,
  numLayers: true,
  numHeads: true,
  intermediateSize: true,
  device: true,
  dtype: true,
  gradientCheckpointing: 'flag',
};

type Sizes = Required<Omit<ModelSizes, 'intermediateSize'>> & {
  intermediateSize?: number;
  /** Of a gated feed-forward where none is given. */
  feedForward: number;
  headDim: number;
};

interface Family<N extends ModelName> {
  description: string;
  modelType: ModelTypes[N];
  configuration(sizes: Sizes): KeysByType[ModelTypes[N]];
}

const FAMILIES: { readonly [N in ModelName]: Family<N> } = {
  'linear-transformer': {
    description: 'linear attention, elu + 1 features, divided by the sum of keys (Katharopoulos et al. 2020)',
    modelType: 'linear_attn',
    configuration: ({ numHeads, feedForward }) => ({
      numHeads,
      intermediateSize: feedForward,
      featureMap: 'elu',
      normFeatureMap: true,
    }),
  },
  retnet: {
    description: 'retention: a fixed decay per head, rotary positions (Sun et al. 2023)',
    modelType: 'retnet',
    configuration: ({ numHeads, feedForward }) => ({ numHeads, intermediateSize: feedForward, expandK: 1, expandV: 2 }),
  },
  gla: {
    description: 'gated linear attention: a learned decay per key channel (Yang et al. 2023)',
    modelType: 'gla',
    configuration: ({ numHeads, feedForward }) => ({
      numHeads,
      intermediateSize: feedForward,
      expandK: 0.5,
      expandV: 1,
    }),
  },
  deltanet: {
    description: 'DeltaNet: the delta rule with short convolutions and normalised keys (Yang et al. 2024)',
    modelType: 'delta_net',
    configuration: ({ numHeads, feedForward }) => ({
      numHeads,
      intermediateSize: feedForward,
      expandK: 1,
      expandV: 1,
      convSize: 4,
    }),
  },
  'deltanet-2021': {
    description: 'the first DeltaNet: elu + 1 features with sum-norm, no convolutions (Schlag et al. 2021)',
    modelType: 'delta_net_2021',
    configuration: ({ numHeads, hiddenSize, intermediateSize = 4 * hiddenSize }) => ({ numHeads, intermediateSize }),
  },
  'gated-deltanet': {
    description: 'Gated DeltaNet: the delta rule with a learned decay per head (Yang et al. 2024)',
    modelType: 'gated_deltanet',
    configuration: ({ numHeads, headDim, feedForward }) => ({
      numHeads,
      headDim,
      intermediateSize: feedForward,
      expandV: 1,
    }),
  },
  kda: {
    description: 'Kimi Delta Attention: the delta rule with a learned decay per key channel (Kimi Team 2025)',
    modelType: 'kda',
    configuration: ({ numHeads, headDim, feedForward }) => ({
      numHeads,
      headDim,
      intermediateSize: feedForward,
      expandV: 1,
    }),
  },
  transformer: {
    description: 'softmax attention with rotary positions, in the layout of Llama',
    modelType: 'llama',
    configuration: ({ numHeads, feedForward }) => ({
      numAttentionHeads: numHeads,
      numKeyValueHeads: numHeads,
      intermediateSize: feedForward,
    }),
  },
  lstm: {
    description: 'layers of LSTM (Hochreiter and Schmidhuber 1997)',
    modelType: 'lstm',
    configuration: () => ({}),
  },
};

/** The families that `createModel` knows: short name, what it is, and whether it has heads. */
export const modelFamilies: readonly { name: ModelName; description: string; heads: boolean }[] = Object.entries(
  FAMILIES,
).map(([name, { description, modelType }]) => {
  const keys = KEYS[modelType];
  return { name: name as ModelName, description, heads: 'numHeads' in keys || 'numAttentionHeads' in keys };
});

/** A model of a family with new weights, in the layout of its published checkpoints. */
export function createModel<N extends ModelName>(name: N, options: CreateOptions<N>): CausalLM {
  const where = 'createModel';
  if (!Object.hasOwn(FAMILIES, name)) {
    const expected = modelFamilies.map((family) => `'${family.name}'`).join(' | ');
    throw argumentError('INVALID_ARGUMENT', where, 'name', expected, describe(name));
  }
  const { modelType, configuration } = FAMILIES[name] as Family<ModelName>;
  const { modelType: _, ...keys } = KEYS[modelType];
  checkOptions<object>(where, options, { ...inEitherSpelling(keys), ...CREATE_KEYS });
  checkSpellings(where, options);
  const {
    vocabSize,
    hiddenSize = 256,
    numLayers = 4,
    numHeads = 4,
    intermediateSize,
    device,
    dtype,
    gradientCheckpointing = false,
    ...rest
  } = options;
  for (const [key, value] of Object.entries({ vocabSize, hiddenSize, numLayers, numHeads })) {
    checkInteger(where, key, value, 1);
  }
  if (hiddenSize % numHeads !== 0) {
    throw argumentError('INVALID_ARGUMENT', where, 'numHeads', `a divisor of ${hiddenSize}`, String(numHeads));
  }
  const feedForward = intermediateSize ?? 64 * Math.ceil(hiddenSize / 24);
  const headDim = hiddenSize / numHeads;
  const config = {
    ...withFileKeys({
      modelType,
      vocabSize,
      hiddenSize,
      numHiddenLayers: numLayers,
      bosTokenId: null,
      eosTokenId: null,
      ...configuration({ vocabSize, hiddenSize, numLayers, numHeads, intermediateSize, feedForward, headDim }),
    }),
    ...withFileKeys(rest),
  } as unknown as ConfigurationInput;
  const model = AutoModelForCausalLM.fromConfig(config, { device, dtype });
  model.gradientCheckpointing = gradientCheckpointing ?? false;
  return model;
}
