// From a configuration or a folder to the model it describes: model_type names the class.
import { argumentError, checkChoice, checkOptions, FastWeightsError, type OptionNames, withSeed } from '../core';
import { findFolder } from '../io';
import { checkTensorOptions, type TensorOptions } from '../ops';
import type { CausalLM } from './causalLM';
import { PublishedConfiguration, withFileKeys } from './configuration';
import { DeltaNetForCausalLM } from './deltaNet';
import { DeltaNet2021ForCausalLM } from './deltaNet2021';
import { GatedDeltaNetForCausalLM } from './gatedDeltaNet';
import { GLAForCausalLM } from './gatedLinearAttention';
import type { ConfigurationInput, ModelType } from './keys';
import { KDAForCausalLM } from './kimiDeltaAttention';
import { LinearAttentionForCausalLM } from './linearAttention';
import { LlamaForCausalLM } from './llama';
import { LstmForCausalLM } from './lstm';
import { loadWeights, readConfig } from './pretrained';
import { RetNetForCausalLM } from './retention';

type ModelClass = new (config: PublishedConfiguration, options?: TensorOptions) => CausalLM;

const CLASSES: Readonly<Record<ModelType, ModelClass>> = {
  linear_attn: LinearAttentionForCausalLM,
  retnet: RetNetForCausalLM,
  gla: GLAForCausalLM,
  delta_net: DeltaNetForCausalLM,
  delta_net_2021: DeltaNet2021ForCausalLM,
  gated_deltanet: GatedDeltaNetForCausalLM,
  kda: KDAForCausalLM,
  llama: LlamaForCausalLM,
  lstm: LstmForCausalLM,
};

export interface PretrainedOptions {
  device?: TensorOptions['device'];
  /** What the weights are cast to; float32 by default. */
  dtype?: 'float32' | 'bfloat16' | 'float64';
}

const OPTIONS: OptionNames<PretrainedOptions> = { device: true, dtype: true };

function fromConfig(config: ConfigurationInput, options: TensorOptions = {}): CausalLM {
  checkTensorOptions('fromConfig', options);
  return modelOf(config, options);
}

function modelOf(config: ConfigurationInput | PublishedConfiguration, options: TensorOptions): CausalLM {
  const { model_type: type } = config instanceof PublishedConfiguration ? config.json : withFileKeys(config);
  if (typeof type === 'string' && Object.hasOwn(CLASSES, type)) {
    // The class refuses what is no configuration of its own.
    return new CLASSES[type as ModelType](config as PublishedConfiguration, options);
  }
  const known = Object.keys(CLASSES).join(', ');
  const message = `AutoModelForCausalLM: model_type ${JSON.stringify(type)} is not supported; known are ${known}`;
  throw new FastWeightsError('UNSUPPORTED', message, {
    argument: 'model_type',
    expected: known,
    found: JSON.stringify(type),
  });
}

async function fromPretrained(dir: string, options: PretrainedOptions = {}): Promise<CausalLM> {
  checkOptions('fromPretrained', options, OPTIONS);
  const dtype = checkChoice('fromPretrained', 'dtype', options.dtype ?? 'float32', ['float32', 'bfloat16', 'float64']);
  const folder = await findFolder(dir);
  const config = new PublishedConfiguration(await readConfig(folder));
  // The weights that construction draws are overwritten: loading leaves the random numbers of the program alone.
  const model = withSeed(0, () => describedBy(folder, () => modelOf(config, { device: options.device, dtype })));
  try {
    await loadWeights(model, folder);
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/** A bad value in a file is an error of the file. */
function describedBy<T>(folder: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof FastWeightsError) || error.code !== 'INVALID_ARGUMENT') throw error;
    const { argument = 'config.json', expected = '', found = '' } = error;
    throw argumentError('FORMAT', `${folder}/config.json`, argument, expected, found);
  }
}

/** Makes models of any known class. */
export const AutoModelForCausalLM = {
  /** A model with new weights from a configuration, whose `model_type` names the class. */
  fromConfig,
  /** The model of a folder in the layout of the Python libraries, in one file or in shards. */
  fromPretrained,
};
