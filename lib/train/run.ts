// A run from its configuration: model, data and folder, new or resumed.
import { checkOptions, type Device, type OptionNames, withSeed } from '../core';
import { AutoModelForCausalLM, createModel, type ModelName } from '../models';
import {
  checkModelName,
  checkRunConfig,
  openData,
  type ModelConfigOf,
  type RunConfig,
  type TrainingConfig,
} from './config';
import type { Dataset, TextDataset } from '../data';
import { RunFolder } from './runFolder';
import { Trainer } from './trainer';

type LanguageModel = ReturnType<typeof createModel>;

/** A trainer with the things it works on. */
export interface Run {
  config: RunConfig;
  folder: RunFolder;
  model: LanguageModel;
  data: Dataset | TextDataset;
  trainer: Trainer;
}

function assemble(config: RunConfig, folder: RunFolder, model: LanguageModel, data: Dataset | TextDataset): Run {
  const tokenizer = 'tokenizer' in data ? data.tokenizer : undefined;
  return {
    config,
    folder,
    model,
    data,
    trainer: new Trainer({ model, data, folder, tokenizer, training: config.training }),
  };
}

/** Makes data, run folder and model, in this order, so that nothing is written for a run that cannot begin. */
export async function startRun(given: RunConfig, dir: string): Promise<Run> {
  const config = checkRunConfig(given, 'startRun');
  checkModelName('startRun', config.model.name);
  const data = openData(config.data, config.training.seed);
  const folder = await RunFolder.create(dir, config);
  const { name, ...options } = config.model as ModelConfigOf<ModelName>;
  const { device, dtype = 'float32' } = config;
  const model = withSeed(config.training.seed, () =>
    createModel(name, { ...options, vocabSize: data.vocabSize, device, dtype }),
  );
  return assemble(config, folder, model, data);
}

export interface ResumeOptions {
  /** That of the run by default. */
  device?: Device;
}

const RESUME: OptionNames<ResumeOptions> = { device: true };

/**
 * Opens a run at its newest checkpoint; settings in `training` replace those of the run, and it may go on on another
 * device.
 */
export async function resumeRun(
  dir: string,
  training: Partial<TrainingConfig> = {},
  options: ResumeOptions = {},
): Promise<Run> {
  checkOptions('resumeRun', options, RESUME);
  const folder = await RunFolder.open(dir);
  const before = checkRunConfig(await folder.config(), `${dir}/config.json`, training);
  const { device = before.device } = options;
  const config = { ...before, device };
  const checkpoint = (await folder.latest()).dir;
  const data = openData(config.data, config.training.seed);
  const model = await AutoModelForCausalLM.fromPretrained(checkpoint, { device, dtype: config.dtype });
  if (Object.keys(training).length > 0 || device !== before.device) await folder.writeConfig(config);
  const run = assemble(config, folder, model, data);
  await run.trainer.restore(checkpoint);
  return run;
}
