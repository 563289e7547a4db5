// From a configuration or a folder to the model it describes: model_type names the family.
import { defaultDevice, getBackend, WEIGHT_FORMATS, type WeightFormat } from '../backends';
import { Pace, warn } from '../platform';
import {
  argumentError,
  bytesPerElement,
  checkChoice,
  checkFunction,
  checkOptions,
  describe,
  FastWeightsError,
  type OptionNames,
  type Tensor,
  withinBytes,
  withSeed,
} from '../core';
import { findFolder, readModelFolder } from '../io';
import { hasLora, loadLora, Quantizer, withBlankWeights } from '../nn';
import { checkTensorOptions, type TensorOptions } from '../ops';
import type { CausalLM } from './common/causalLM';
import { PublishedConfiguration, withFileKeys } from './common/configuration';
import { readGeneration } from './common/generation';
import { folderWeights, readQuantization } from './common/folderWeights';
import {
  CONFIG,
  type Entries,
  GENERATION,
  headWeight,
  type LoadProgress,
  loadWeights,
  readConfig,
  readGenerationConfig,
  untiedName,
} from './common/pretrained';
import { familyFor, languageConfig } from './common/registry';
import type { ConfigurationInput } from './families';

/** What `AutoModelForCausalLM.fromPretrained` takes beside the folder. */
export interface PretrainedOptions {
  /** Where the weights lie and the model computes; `defaultDevice()` by default. */
  device?: TensorOptions['device'];
  /** What the weights are cast to; float32 by default. */
  dtype?: 'float32' | 'bfloat16' | 'float64';
  /**
   * What the weights of projections are kept in, for inference, as by `quantize` of a model; only with float32. Each is packed
   * as soon as it is read, so that on `cpu` loading takes the memory of the packed weights and of one tensor.
   */
  weights?: WeightFormat;
  /** Called after each tensor that was read; an error that it throws ends the reading. */
  onProgress?: (progress: LoadProgress) => void;
}

/** A model that takes no more is made whatever the weights are. */
const SMALL_MODEL_BYTES = 64 * 1024 * 1024;

const OPTIONS: OptionNames<PretrainedOptions> = { device: true, dtype: true, weights: true, onProgress: true };

function fromConfig(config: ConfigurationInput, options: TensorOptions = {}): CausalLM {
  checkTensorOptions('fromConfig', options);
  return modelOf(config, options);
}

function modelOf(config: ConfigurationInput | PublishedConfiguration, options: TensorOptions): CausalLM {
  const json = config instanceof PublishedConfiguration ? config.json : withFileKeys(config);
  const { model: Model } = familyFor('AutoModelForCausalLM', json);
  // The class refuses what is no configuration of its own.
  return new Model(config as PublishedConfiguration, options);
}

async function fromPretrained(dir: string, options: PretrainedOptions = {}): Promise<CausalLM> {
  checkOptions('fromPretrained', options, OPTIONS);
  const dtype = checkChoice('fromPretrained', 'dtype', options.dtype ?? 'float32', ['float32', 'bfloat16', 'float64']);
  const { device = defaultDevice(), weights, onProgress } = options;
  if (weights !== undefined) checkWeights(weights, dtype);
  if (onProgress !== undefined) checkFunction('fromPretrained', 'onProgress', onProgress);
  const folder = await findFolder(dir);
  const stored = (await readModelFolder(folder)).entries;
  const fractions = new Set<string>();
  const { config: published, block } = readQuantization(`${folder}/${CONFIG}`, await readConfig(folder, fractions));
  const generation = await readGenerationConfig(folder);
  const language = languageConfig(published);
  const family = familyFor('AutoModelForCausalLM', language);
  const entries = fromFile(folder, CONFIG, () => folderWeights(stored, language, family, block));
  const json = { ...language, ...family.fromWeights?.(entries.keys()) };
  const place = { device, dtype };
  const most = mostBytes(entries);
  let model = describedBy(folder, new PublishedConfiguration(json, fractions), place, most);
  try {
    const untied = await untiedName(model, entries);
    if (untied !== undefined) {
      model.dispose();
      const config = new PublishedConfiguration({ ...json, tie_word_embeddings: false }, fractions);
      model = describedBy(folder, config, place, most);
    }
    if (generation)
      model.generation = fromFile(folder, GENERATION, (where) => readGeneration(generation, where, model.config));
    const quantizer = weights && new Quantizer('fromPretrained', model, weights);
    await loadWeights(model, folder, entries, onProgress, quantizer && packingBy(quantizer));
    if (await hasLora(folder)) await loadLora(model, folder);
    quantizer?.finish();
    if (untied !== undefined) {
      const both = `config.json ties ${untied} and ${headWeight(model)}, but the weights hold different values of the two`;
      warn(`${folder}: ${both}, so they are not tied; "tie_word_embeddings": false says the same`);
    }
    return model.eval();
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function checkWeights(weights: WeightFormat, dtype: string): void {
  checkChoice('fromPretrained', 'weights', weights, WEIGHT_FORMATS);
  if (dtype === 'float32') return;
  throw argumentError('INVALID_ARGUMENT', 'fromPretrained', 'dtype', 'float32 beside weights', describe(dtype));
}

/** Packs tensors as they come, with turns for others. */
function packingBy(quantizer: Quantizer): (tensor: Tensor) => Promise<void> {
  const pace = new Pace();
  return async (tensor) => {
    for (const _ of quantizer.pack(tensor)) await pace.rest();
  };
}

type Place = Pick<PretrainedOptions, 'device' | 'dtype'>;

/** What the weights of a folder may become, with room for a small model that they do not fit, so that the error says why. */
function mostBytes(entries: Entries): number {
  let elements = 0;
  for (const { size } of entries.values()) elements += size;
  return elements * bytesPerElement('float64') + SMALL_MODEL_BYTES;
}

/**
 * A model with weights that are still to be read, and not drawn: the random numbers of the program stay as they are. A
 * configuration of much more than the weights is refused before it takes the memory.
 */
function describedBy(folder: string, config: PublishedConfiguration, options: Required<Place>, most: number): CausalLM {
  const make = (): CausalLM => modelOf(config, options);
  const refuse = (): Error => {
    const expected = `one of the model in its weights, which takes at most ${most} bytes`;
    return argumentError('FORMAT', `${folder}/${CONFIG}`, 'the configuration', expected, 'one of a larger model');
  };
  return withinBytes(getBackend(options.device), most, refuse, () =>
    fromFile(folder, CONFIG, () => withSeed(0, () => withBlankWeights(make))),
  );
}

/** A bad value in a file is an error of the file, and what is not supported names it. */
function fromFile<T>(folder: string, name: string, make: (where: string) => T): T {
  const path = `${folder}/${name}`;
  try {
    return make(path);
  } catch (error) {
    if (!(error instanceof FastWeightsError)) throw error;
    const { argument = name, expected = '', found = '' } = error;
    if (error.code === 'INVALID_ARGUMENT') throw argumentError('FORMAT', path, argument, expected, found);
    if (error.code !== 'UNSUPPORTED' || error.message.startsWith(path)) throw error;
    throw new FastWeightsError('UNSUPPORTED', `${path}: ${error.message}`, { argument, expected, found, cause: error });
  }
}

/** Makes models of any registered family. */
export const AutoModelForCausalLM = {
  /** A model with new weights from a configuration, whose `model_type` names the family. */
  fromConfig,
  /**
   * The model of a folder in the layout of the Python libraries, in one file or in shards, in evaluation mode: `train()`
   * turns dropout on. With the adapters of peft beside it (adapter_config.json) it has those, and the rest is frozen.
   */
  fromPretrained,
};
