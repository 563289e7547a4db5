// A run from its configuration: model, data and folder, new or resumed.
import { argumentError, checkOptions, type Device, type OptionNames, withSeed } from '../core';
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
import { readTrainerState, type TrainerState } from './checkpoint';
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

/** Makes run folder, data and model. Nothing is left on disk of a run that cannot begin. */
export async function startRun(given: RunConfig, dir: string): Promise<Run> {
  const config = checkRunConfig(given, 'startRun');
  checkModelName('startRun', config.model.name);
  const folder = await RunFolder.create(dir, config);
  try {
    const data = openData(config.data, config.training.seed);
    return assemble(config, folder, makeModel(config, data.vocabSize), data);
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

/** Requires a run to be one that could begin now, as far as that can be told without its data. */
export async function checkStart(given: RunConfig, dir: string): Promise<void> {
  const config = checkRunConfig(given, 'startRun');
  checkModelName('startRun', config.model.name);
  await RunFolder.checkFree(dir);
  makeModel(config, 1).dispose();
}

function makeModel({ model, training, device, dtype = 'float32' }: RunConfig, vocabSize: number): LanguageModel {
  const { name, ...options } = model as ModelConfigOf<ModelName>;
  return withSeed(training.seed, () => createModel(name, { ...options, vocabSize, device, dtype }));
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
  checkLength(training, await readTrainerState(checkpoint));
  const data = openData(config.data, config.training.seed);
  const model = await AutoModelForCausalLM.fromPretrained(checkpoint, { device, dtype: config.dtype });
  const run = assemble(config, folder, model, data);
  await run.trainer.restore(checkpoint);
  if (Object.keys(training).length > 0 || device !== before.device) await folder.writeConfig(config);
  return run;
}

/** A new length is that of the whole run. */
function checkLength({ steps, minutes }: Partial<TrainingConfig>, { step, seconds }: TrainerState): void {
  const fail = (name: string, done: string, found: number): never => {
    throw argumentError('INVALID_ARGUMENT', 'resumeRun', name, `at least the ${done} that are done`, String(found));
  };
  if (typeof steps === 'number' && steps < step) fail('steps', `${step}`, steps);
  if (typeof minutes === 'number' && minutes * 60 < seconds) fail('minutes', (seconds / 60).toPrecision(3), minutes);
}
