// A run from its configuration: model, data and folder, new or resumed.
import { argumentError, checkOptions, type Device, type OptionNames, withSeed } from '../core';
import { AutoModelForCausalLM, createModel, type ModelName } from '../models';
import { checkRunConfig, type ModelConfigOf, type RunConfig, type TrainingConfig, withKnownModel } from './config';
import { loadTokenizer } from '../io';
import { readTrainerState, type TrainerState } from './checkpoint';
import { type OpenDataOptions, prepareData, type RunData, withRemedy } from './data';
import { RunFolder } from './runFolder';
import { Trainer } from './trainer';

type LanguageModel = ReturnType<typeof createModel>;

/** A trainer with the things it works on. */
export interface Run {
  config: RunConfig;
  folder: RunFolder;
  model: LanguageModel;
  /** That of a large text holds a file open until its `close` is called. */
  data: RunData;
  trainer: Trainer;
}

function assemble(config: RunConfig, folder: RunFolder, model: LanguageModel, data: RunData): Run {
  const tokenizer = 'tokenizer' in data ? data.tokenizer : undefined;
  return {
    config,
    folder,
    model,
    data,
    trainer: new Trainer({ model, data, folder, tokenizer, training: config.training }),
  };
}

/** How the text of a run is opened, if it has one. */
export type TextRunOptions = Pick<OpenDataOptions, 'memoryLimit' | 'signal' | 'onText'>;

const TEXT_RUN: OptionNames<TextRunOptions> = { memoryLimit: true, signal: true, onText: true };

/**
 * Makes run folder, data and model. What was found of a text, its tokens, size and hash, becomes part of the run's
 * configuration. Nothing is left on disk of a run that cannot begin.
 */
export async function startRun(given: RunConfig, dir: string, options: TextRunOptions = {}): Promise<Run> {
  checkOptions('startRun', options, TEXT_RUN);
  const asked = withKnownModel('startRun', checkRunConfig(given, 'startRun'));
  const folder = await RunFolder.create(dir, asked);
  try {
    const { seed } = asked.training;
    const prepared = await prepareData(asked.data, seed, options);
    const config = { ...asked, data: prepared.config };
    await folder.writeConfig(config);
    const model = makeModel(config, prepared.vocabSize);
    try {
      return assemble(config, folder, model, await prepared.open(folder.tokens));
    } catch (error) {
      model.dispose();
      throw error;
    }
  } catch (error) {
    await folder.discard();
    throw error;
  }
}

/** Requires a run to be one that could begin now, as far as that can be told without its data. */
export async function checkStart(given: RunConfig, dir: string): Promise<void> {
  const config = withKnownModel('startRun', checkRunConfig(given, 'startRun'));
  await RunFolder.checkFree(dir);
  makeModel(config, 1).dispose();
}

function makeModel({ model, training, device, dtype = 'float32' }: RunConfig, vocabSize: number): LanguageModel {
  const { name, ...options } = model as ModelConfigOf<ModelName>;
  return withSeed(training.seed, () => createModel(name, { ...options, vocabSize, device, dtype }));
}

/** Options of `resumeRun`. */
export interface ResumeOptions extends TextRunOptions {
  /** That of the run by default. */
  device?: Device;
  /** Where the run's text is now, if it was moved. */
  text?: string;
  /** The modules that registered the run's model now; those that the run remembers by default. */
  imports?: readonly string[];
}

const RESUME: OptionNames<ResumeOptions> = { ...TEXT_RUN, device: true, text: true, imports: true };

const MOVED = 'if it was moved, say where it is now: --resume <dir> --text <file> (option text of resumeRun)';

/**
 * Opens a run at its newest checkpoint; settings in `training` replace those of the run, and it may go on on another
 * device. The tokenizer is the checkpoint's, and a text that has changed since the run began is refused; a run without
 * the hash of its text, from an earlier version, goes on with whatever the file holds.
 */
export async function resumeRun(
  dir: string,
  training: Partial<TrainingConfig> = {},
  options: ResumeOptions = {},
): Promise<Run> {
  checkOptions('resumeRun', options, RESUME);
  const folder = await RunFolder.open(dir);
  await folder.lock();
  try {
    return await reopen(folder, training, options);
  } finally {
    // Its trainer takes it again while it runs.
    await folder.unlock();
  }
}

async function reopen(folder: RunFolder, training: Partial<TrainingConfig>, options: ResumeOptions): Promise<Run> {
  const found = await folder.config();
  const path = `${folder.dir}/config.json`;
  const before = withKnownModel(path, checkRunConfig(found, path, training));
  // Of which other settings may be refused by now, and given anew.
  const { steps = null, minutes = null } = (found as { training: Partial<TrainingConfig> }).training;
  const { device = before.device, text, imports = before.imports, ...reading } = options;
  const config = { ...before, device, data: moved(before.data, text), ...(imports && { imports }) };
  const checkpoint = (await folder.latest()).dir;
  const state = await readTrainerState(checkpoint);
  checkOptimizer(training, found);
  checkLength(training, state);
  checkActs(training, before.training, { steps, minutes }, state);
  const tokenizer = 'task' in config.data ? undefined : await loadTokenizer(checkpoint);
  const prepared = await withRemedy(MOVED, prepareData(config.data, config.training.seed, { ...reading, tokenizer }));
  const model = await AutoModelForCausalLM.fromPretrained(checkpoint, { device, dtype: config.dtype });
  let data: RunData | undefined;
  try {
    data = await prepared.open(folder.tokens);
    const run = assemble(config, folder, model, data);
    await run.trainer.restore(checkpoint);
    const kept = device === before.device && config.data === before.data && imports === before.imports;
    if (!kept || Object.keys(training).length > 0) await folder.writeConfig(config);
    return run;
  } catch (error) {
    data?.close?.();
    model.dispose();
    throw error;
  }
}

function moved(data: RunConfig['data'], text: string | undefined): RunConfig['data'] {
  if (text === undefined) return data;
  if (!('task' in data)) return { ...data, text };
  throw argumentError('INVALID_ARGUMENT', 'resumeRun', 'text', 'left out for the run of a task', text);
}

/** The state of one optimiser is nothing to another. */
function checkOptimizer({ optimizer }: Partial<TrainingConfig>, found: unknown): void {
  const { optimizer: own = 'adamw' } = (found as { training: Partial<TrainingConfig> }).training;
  if (optimizer === undefined || optimizer === own) return;
  throw argumentError('INVALID_ARGUMENT', 'resumeRun', 'optimizer', `that of the run, '${own}'`, `'${optimizer}'`);
}

/** A new length is that of the whole run. */
function checkLength({ steps, minutes }: Partial<TrainingConfig>, { step, seconds }: TrainerState): void {
  const fail = (name: string, done: string, found: number): never => {
    throw argumentError('INVALID_ARGUMENT', 'resumeRun', name, `at least the ${done} that are done`, String(found));
  };
  if (typeof steps === 'number' && steps < step) fail('steps', `${step}`, steps);
  if (typeof minutes === 'number' && minutes * 60 < seconds) fail('minutes', (seconds / 60).toPrecision(3), minutes);
}

type Length = Pick<TrainingConfig, 'steps' | 'minutes'>;

/** Settings of steps do nothing in a run that has none left, and neither does a length that changes nothing of that. */
function checkActs(given: Partial<TrainingConfig>, now: TrainingConfig, before: Length, state: TrainerState): void {
  if (!isReached(now, state)) return;
  const idle = Object.keys(given).filter(
    (name) => isReached(before, state) || (name !== 'steps' && name !== 'minutes'),
  );
  if (idle.length === 0) return;
  const name = idle[0] as keyof TrainingConfig;
  const expected = 'left out, or given with a larger length: the run has reached its own, and no step would follow';
  throw argumentError('INVALID_ARGUMENT', 'resumeRun', name, expected, String(given[name]));
}

function isReached({ steps, minutes }: Length, { step, seconds }: TrainerState): boolean {
  return (steps !== null && step >= steps) || (minutes !== null && seconds >= minutes * 60);
}
