// Models to train from scratch, by the name of their family and a few sizes.
import { argumentError, checkInteger, checkOptions, describe, type OptionNames } from '../core';
import type { TensorOptions } from '../ops';
import { AutoModelForCausalLM } from './auto';
import type { CausalLM } from './common/causalLM';
import { checkSpellings, inEitherSpelling, keysOf, MAX_WIDTH, withFileKeys } from './common/configuration';
import { type FilledSizes, findModel, knownModels, type ModelDefinition, type ModelSizes } from './common/registry';
import type { ConfigurationInput, KeysOf, ModelName } from './families';

type CreateKeys = ModelSizes &
  Pick<TensorOptions, 'device' | 'dtype'> & {
    /** The property of the model, see `CausalLM`; false by default. */
    gradientCheckpointing?: boolean;
  };

/** Sizes and place, and any further key of the family's configuration, which goes before the default. */
export type CreateOptions<N extends ModelName = ModelName> = N extends ModelName
  ? CreateKeys & Omit<KeysOf<N>, keyof CreateKeys | 'modelType'>
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

/** What a family takes of the sizes that says nothing of them: the keys of these names. */
function usualConfiguration({ keys }: ModelDefinition, { numHeads, feedForward }: FilledSizes): object {
  return {
    ...('numHeads' in keys && { numHeads }),
    ...('intermediateSize' in keys && { intermediateSize: feedForward }),
  };
}

/**
 * A model of a family with new weights, in the layout of its published weights. The name is the family's or its
 * `model_type`: 'gated-deltanet' or 'gated_deltanet'. A size that a family does not have, such as heads of an LSTM, has no effect,
 * so that several families can be made with the same ones; `heads` of `modelFamilies` tells of those. INVALID_ARGUMENT names a size
 * that is none.
 */
export function createModel<N extends ModelName>(name: N, options: CreateOptions<N>): CausalLM {
  const where = 'createModel';
  const found = findModel(name);
  if (!found) throw argumentError('INVALID_ARGUMENT', where, 'name', knownModels(name), describe(name));
  const { definition } = found;
  const { modelType: _, ...keys } = keysOf(definition) as Record<string, true | 'flag'>;
  checkOptions<object>(where, options, { ...inEitherSpelling(keys), ...CREATE_KEYS });
  checkSpellings(where, options);
  const {
    vocabSize,
    hiddenSize = 256,
    numLayers = 4,
    numHeads = 4,
    intermediateSize: givenWidth,
    device,
    dtype,
    gradientCheckpointing = false,
    ...rest
  } = options;
  for (const [key, value] of Object.entries({ vocabSize, hiddenSize, numLayers, numHeads })) {
    checkInteger(where, key, value, 1);
  }
  // null is the default, as it is in a configuration.
  const intermediateSize = givenWidth ?? undefined;
  if (intermediateSize !== undefined) checkInteger(where, 'intermediateSize', intermediateSize, 1, MAX_WIDTH);
  if ((found.heads || options.numHeads !== undefined) && hiddenSize % numHeads !== 0) {
    throw argumentError('INVALID_ARGUMENT', where, 'numHeads', `a divisor of ${hiddenSize}`, String(numHeads));
  }
  const feedForward = intermediateSize ?? 64 * Math.ceil(hiddenSize / 24);
  const headDim = hiddenSize / numHeads;
  const sizes = { vocabSize, hiddenSize, numLayers, numHeads, intermediateSize, feedForward, headDim };
  const config = {
    ...withFileKeys({
      modelType: definition.modelType,
      vocabSize,
      hiddenSize,
      numHiddenLayers: numLayers,
      bosTokenId: null,
      eosTokenId: null,
      ...(definition.configuration?.(sizes) ?? usualConfiguration(definition, sizes)),
    }),
    ...withFileKeys(rest),
  } as unknown as ConfigurationInput;
  const model = AutoModelForCausalLM.fromConfig(config, { device, dtype });
  model.gradientCheckpointing = gradientCheckpointing ?? false;
  return model;
}
