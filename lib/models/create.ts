// Models to train from scratch, by the name of their family and a few sizes.
import { argumentError, checkInteger, checkOptions, describe, FastWeightsError, type OptionNames } from '../core';
import type { TensorOptions } from '../ops';
import { AutoModelForCausalLM } from './auto';
import type { CausalLM } from './common/causalLM';
import { checkSpellings, inEitherSpelling, keysOf, withFileKeys } from './common/configuration';
import { findModel, knownModels } from './common/registry';
import { configureSizes, type ModelSizes, type SizeName } from './common/sizes';
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

/** Sizes that only some families have. */
const SOME = ['numHeads', 'intermediateSize'] as const;
type SomeSize = (typeof SOME)[number];

/**
 * The same without the sizes that a family does not have, which `createModel` would refuse; for programs that make models
 * of several families with the same ones. Of a name that is not known all are left.
 */
export function takenSizes<S extends object>(name: ModelName, sizes: S): Omit<S, SomeSize> & Partial<S> {
  const taken = findModel(name)?.sizes ?? SOME;
  const others: readonly string[] = SOME.filter((size) => !taken.includes(size));
  return Object.fromEntries(Object.entries(sizes).filter(([key]) => !others.includes(key))) as Omit<S, SomeSize> &
    Partial<S>;
}

/**
 * A model of a family with new weights, in the layout of its published weights. The name is the family's or its
 * `model_type`: 'gated-deltanet' or 'gated_deltanet'. A size that the family does not have, such as heads of an LSTM, is
 * refused: INVALID_ARGUMENT; `ModelFamily.sizes` tells which ones it has.
 */
export function createModel<N extends ModelName>(name: N, options: CreateOptions<N>): CausalLM {
  const where = 'createModel';
  const definition = findModel(name)?.definition;
  if (!definition) throw argumentError('INVALID_ARGUMENT', where, 'name', knownModels(name), describe(name));
  const { modelType: _, ...keys } = keysOf(definition) as Record<string, true | 'flag'>;
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
  const sizes = { vocabSize, hiddenSize, numLayers, numHeads, intermediateSize };
  const { config: configured, taken } = configureSizes(definition, sizes);
  for (const size of SOME) {
    if ((options[size] ?? null) !== null && !taken.includes(size)) refuseSize(name, size, taken);
  }
  const config = {
    ...withFileKeys({
      modelType: definition.modelType,
      vocabSize,
      hiddenSize,
      numHiddenLayers: numLayers,
      bosTokenId: null,
      eosTokenId: null,
      ...configured,
    }),
    ...withFileKeys(rest),
  } as unknown as ConfigurationInput;
  const model = AutoModelForCausalLM.fromConfig(config, { device, dtype });
  model.gradientCheckpointing = gradientCheckpointing ?? false;
  return model;
}

function refuseSize(name: string, size: SizeName, taken: readonly SizeName[]): never {
  const expected = taken.join(' | ');
  const message = `createModel: ${size} has no effect on ${name}, whose sizes are ${taken.join(', ')}`;
  throw new FastWeightsError('INVALID_ARGUMENT', message, { argument: size, expected, found: size });
}
