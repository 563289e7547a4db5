// Models to train from scratch, by short names and a few sizes.
import { argumentError, checkInteger } from '../core';
import type { TensorOptions } from '../ops';
import { AutoModelForCausalLM } from './auto';
import type { CausalLM } from './causalLM';
import type { ConfigurationInput } from './configuration';

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

/** Sizes and place, and any further key of the family's configuration, which goes before the default. */
export type CreateOptions = ModelSizes & Pick<TensorOptions, 'device' | 'dtype'> & ConfigurationInput;

type Sizes = Required<Omit<ModelSizes, 'intermediateSize'>> & { intermediateSize?: number; headDim: number };

interface Family {
  description: string;
  configuration(sizes: Sizes): ConfigurationInput;
}

const FAMILIES: Record<string, Family> = {
  'linear-transformer': {
    description: 'linear attention, elu + 1 features, divided by the sum of keys (Katharopoulos et al. 2020)',
    configuration: ({ numHeads }) => ({ modelType: 'linear_attn', numHeads, featureMap: 'elu', normFeatureMap: true }),
  },
  retnet: {
    description: 'retention: a fixed decay per head, rotary positions (Sun et al. 2023)',
    configuration: ({ numHeads }) => ({ modelType: 'retnet', numHeads, expandK: 1, expandV: 2 }),
  },
  gla: {
    description: 'gated linear attention: a learned decay per key channel (Yang et al. 2023)',
    configuration: ({ numHeads }) => ({ modelType: 'gla', numHeads, expandK: 0.5, expandV: 1 }),
  },
  deltanet: {
    description: 'DeltaNet: the delta rule with short convolutions and normalised keys (Yang et al. 2024)',
    configuration: ({ numHeads }) => ({ modelType: 'delta_net', numHeads, expandK: 1, expandV: 1, convSize: 4 }),
  },
  'deltanet-2021': {
    description: 'the first DeltaNet: elu + 1 features with sum-norm, no convolutions (Schlag et al. 2021)',
    configuration: ({ numHeads, hiddenSize, intermediateSize = 4 * hiddenSize }) => ({
      modelType: 'delta_net_2021',
      numHeads,
      intermediateSize,
    }),
  },
  'gated-deltanet': {
    description: 'Gated DeltaNet: the delta rule with a learned decay per head (Yang et al. 2024)',
    configuration: ({ numHeads, headDim }) => ({ modelType: 'gated_deltanet', numHeads, headDim, expandV: 1 }),
  },
  kda: {
    description: 'Kimi Delta Attention: the delta rule with a learned decay per key channel (Kimi Team 2025)',
    configuration: ({ numHeads, headDim }) => ({ modelType: 'kda', numHeads, headDim, expandV: 1 }),
  },
  transformer: {
    description: 'softmax attention with rotary positions, in the layout of Llama',
    configuration: ({ numHeads }) => ({ modelType: 'llama', numAttentionHeads: numHeads, numKeyValueHeads: numHeads }),
  },
  lstm: {
    description: 'layers of LSTM (Hochreiter and Schmidhuber 1997)',
    configuration: () => ({ modelType: 'lstm' }),
  },
};

/** The families that `createModel` knows: short name and what it is. */
export const modelFamilies: readonly { name: string; description: string }[] = Object.entries(FAMILIES).map(
  ([name, { description }]) => ({ name, description }),
);

/** A model of a family with new weights, in the layout of its published checkpoints. */
export function createModel(name: string, options: CreateOptions): CausalLM {
  const where = 'createModel';
  if (!Object.hasOwn(FAMILIES, name)) {
    const expected = modelFamilies.map((family) => `'${family.name}'`).join(' | ');
    throw argumentError('INVALID_ARGUMENT', where, 'name', expected, JSON.stringify(name));
  }
  const {
    vocabSize,
    hiddenSize = 256,
    numLayers = 4,
    numHeads = 4,
    intermediateSize,
    device,
    dtype,
    ...rest
  } = options;
  for (const [key, value] of Object.entries({ vocabSize, hiddenSize, numLayers, numHeads })) {
    checkInteger(where, key, value, 1);
  }
  if (hiddenSize % numHeads !== 0) {
    throw argumentError('INVALID_ARGUMENT', where, 'numHeads', `a divisor of ${hiddenSize}`, String(numHeads));
  }
  const sizes = { vocabSize, hiddenSize, numLayers, numHeads, intermediateSize, headDim: hiddenSize / numHeads };
  const config: ConfigurationInput = {
    vocabSize,
    hiddenSize,
    numHiddenLayers: numLayers,
    intermediateSize: intermediateSize ?? 64 * Math.ceil(hiddenSize / 24),
    bosTokenId: null,
    eosTokenId: null,
    ...FAMILIES[name].configuration(sizes),
    ...rest,
  };
  return AutoModelForCausalLM.fromConfig(config, { device, dtype });
}
