// `train`: a model on a text or a task, from the command line to the report.
import { join, parse, resolve } from '../platform';
import { Command, Option } from 'commander';
import type { Device } from '../core';
import { readJson } from '../io';
import { findModel, modelFamilies, type ModelName } from '../models';
import type { ReportRun } from '../viz';
import { type TaskName, tasks } from '../data';
import {
  checkRunConfig,
  checkStart,
  compareRuns,
  fillTraining,
  resumeRun,
  type Run,
  type RunConfig,
  RunFolder,
  startRun,
  type TaskData,
  type TextData,
  type TrainingConfig,
  withKnownModel,
} from '../train';
import { type Acts, checkFlags, UsageError } from './flags';
import { addImportOption, type ImportOptions, importsOf } from './imports';
import { withInterrupt } from './interrupt';
import {
  addDeviceOptions,
  assignments,
  chooseDevice,
  describeDevice,
  type DeviceOptions,
  freeFolder,
  somePath,
  wholeNumber,
} from './options';
import { textProgress } from './progress';
import {
  addTokenOptions,
  addTrainingOptions,
  announce,
  checkTokens,
  defined,
  givenTraining,
  modelList,
  modelNames,
  notePrecision,
  reading,
  textOf,
  type TokenOptions,
  tokensOf,
  type TrainingOptions,
} from './trainingOptions';
import { resumeNotes, trainRun, type Watch } from './trainRun';

export interface TrainCommandOptions extends DeviceOptions, ImportOptions, TokenOptions, TrainingOptions {
  text?: string;
  task?: TaskName;
  taskOptions?: Record<string, number>;
  model?: string;
  hiddenSize?: number;
  layers?: number;
  heads?: number;
  out?: string;
  resume?: string;
  config?: string;
  json?: boolean;
}

/** Where a run comes from. */
const SOURCES = ['text', 'task', 'config', 'resume'] as const;
type Source = (typeof SOURCES)[number];

const NEW: readonly Source[] = ['text', 'task', 'config'];

/** A run that goes on keeps what its data, its model and its steps so far depend on. */
const ACTS: Acts<TrainCommandOptions, Source> = {
  text: ['text', 'resume'],
  task: ['task'],
  config: ['config'],
  resume: ['resume'],
  tokens: ['text', 'config'],
  tokenizer: ['text', 'config'],
  encoding: ['text', 'config'],
  length: ['text', 'config'],
  taskOptions: ['task', 'config'],
  model: NEW,
  hiddenSize: NEW,
  layers: NEW,
  heads: NEW,
  batch: NEW,
  accumulate: NEW,
  optimizer: NEW,
  schedule: NEW,
  warmup: NEW,
  dtype: NEW,
  seed: NEW,
  out: NEW,
  steps: SOURCES,
  minutes: SOURCES,
  lr: SOURCES,
  weightDecay: SOURCES,
  clip: SOURCES,
  matmulPrecision: SOURCES,
  gradientCheckpointing: SOURCES,
  validateEvery: SOURCES,
  checkpointEvery: SOURCES,
  device: SOURCES,
  threads: SOURCES,
  json: SOURCES,
  import: SOURCES,
};

const WITH: Record<Source, string> = {
  text: 'with --text',
  task: 'with --task',
  config: 'with --config',
  resume: 'with --resume',
};

const DEFAULT_MODEL = 'deltanet';

/** Of a text run whose length is not given: all of it, the final validation included, stays below ten minutes. */
const TEXT_MINUTES = 9;

export function trainCommand(): Command {
  const number = (flags: string, description: string, parser: (text: string) => number): Option =>
    new Option(flags, description).argParser(parser);
  const command = new Command('train')
    .description('Trains a model on a text or on a built-in task, with checkpoints and a report in a run folder.')
    .option(
      '--text <file>',
      'a text; its last tenth is for validation; with --resume, where the text of the run is now',
      somePath,
    );
  addTokenOptions(command)
    .addOption(new Option('--task <name>', 'a built-in task').choices(Object.keys(tasks)))
    .addOption(
      new Option('--task-options <list>', 'settings of the task, for example pairs=16,replaced=8').argParser(
        assignments,
      ),
    )
    .option(
      '--model <name>',
      `${modelList()}, or the model_type of one; several, separated by commas, are compared at these sizes; \`compare\` gives all as many parameters (default: ${DEFAULT_MODEL})`,
    )
    .addOption(number('--hidden-size <n>', 'width (default: 256 for text, 128 for tasks; 64 on js)', wholeNumber(1)))
    .addOption(number('--layers <n>', 'blocks (default: 4 for text, 2 for tasks and on js)', wholeNumber(1)))
    .addOption(number('--heads <n>', 'heads (default: one for 64 of the width)', wholeNumber(1)));
  addTrainingOptions(command, {
    steps: 'as many as fit in the minutes; 1000 for tasks',
    minutes: `${TEXT_MINUTES} for text without --steps`,
    batch: '8 for text, 32 for tasks',
    seed: 'of parameters and data',
  })
    .option('--out <dir>', 'the run folder (default: runs/<model>-<data>)', somePath)
    .option(
      '--resume <dir>',
      'go on with a run that was stopped; --steps, --minutes, --lr, --weight-decay, --clip, --matmul-precision, --gradient-checkpointing, --validate-every, --checkpoint-every, --device and --threads may be given anew, and --text where it was moved',
      somePath,
    )
    .option('--config <file>', 'repeat a run from its config.json; other options go before what it says', somePath)
    .option('--json', 'print the result as JSON');
  return addDeviceOptions(addImportOption(command))
    .addHelpText(
      'after',
      `
Ctrl-C saves a checkpoint and stops; --resume goes on from it with the same results as an uninterrupted run.

Examples:
  fast-weights train --text book.txt
  fast-weights train --text book.txt --model deltanet,linear-transformer --minutes 3
  fast-weights train --text book.txt --device cuda --dtype bfloat16
  fast-weights train --text book.txt --import ./my-model.mjs --model my-model
  fast-weights train --task associativeRecall --task-options pairs=16,replaced=8 --steps 500
  fast-weights train --resume runs/deltanet-book`,
    )
    .action(run);
}

async function run(options: TrainCommandOptions, command: Command): Promise<void> {
  const given = SOURCES.filter((name) => options[name] !== undefined);
  const sources = given.filter((name) => name !== 'text' || options.resume === undefined);
  if (sources.length !== 1) throw new UsageError('give one of --text, --task, --resume and --config');
  checkFlags(command, ACTS, sources[0], WITH);
  checkTokens(options);
  await withInterrupt(async (signal, say) => {
    if (options.resume !== undefined) return resume(options.resume, options, { signal, say });
    return train(await configsOf(options, command), options, { signal, say });
  });
}

async function resume(dir: string, options: TrainCommandOptions, watch: Watch): Promise<void> {
  const { signal } = watch;
  const folder = await RunFolder.open(dir);
  const path = `${dir}/config.json`;
  const before = withKnownModel(path, checkRunConfig(await folder.config(), path));
  const device = chooseDevice(options, before.device);
  const text = options.text === undefined ? undefined : resolve(options.text);
  const imports = importsOf(options);
  const opened = await reading((onText) =>
    resumeRun(dir, givenTraining(options), { device, text, imports, signal, onText }),
  );
  console.error(`${dir}: going on at step ${opened.trainer.step} on ${describeDevice(device)}`);
  for (const note of await resumeNotes(opened, before.training)) console.error(note);
  notePrecision(opened.config);
  const outcome = await trainRun(opened, watch);
  finish(resolve(dir), options, [outcome.json]);
}

async function train(configs: RunConfig[], options: TrainCommandOptions, watch: Watch): Promise<void> {
  const { signal } = watch;
  const out = resolve(options.out ?? folderFor(configs));
  const results: object[] = [];
  const trainNew = async (run: Run): Promise<ReportRun> => {
    announce(run);
    const { report, json } = await trainRun(run, watch);
    results.push(json);
    return report;
  };
  if (configs.length === 1) {
    await trainNew(await reading((onText) => startRun(configs[0], out, { signal, onText })));
    return finish(out, options, results);
  }
  await RunFolder.checkFree(out);
  for (const config of configs) await checkStart(config, join(out, config.model.name));
  const text = textProgress();
  const train = (run: Run): Promise<ReportRun> => {
    text.done();
    return trainNew(run);
  };
  await compareRuns({ folder: out, configs, signal, onText: text.take, train }).finally(text.done);
  finish(out, options, results);
}

/** Prints where everything is. */
function finish(out: string, options: TrainCommandOptions, results: object[]): void {
  if (options.json) console.log(JSON.stringify(results.length > 1 ? results : results[0], null, 2));
  else {
    console.log(`report      ${join(out, 'report.html')}`);
    console.log(`checkpoint  ${out}`);
  }
}

function folderFor(configs: readonly RunConfig[]): string {
  const [{ data }] = configs;
  const source = 'task' in data ? data.task : parse(data.text).name;
  return freeFolder(join('runs', `${configs.map((config) => config.model.name).join('-')}-${source}`));
}

/** One configuration per model, every default filled in. */
async function configsOf(options: TrainCommandOptions, command: Command): Promise<RunConfig[]> {
  const { config } = options;
  return config === undefined ? newConfigs(options) : repeatedConfigs(config, options, command);
}

async function newConfigs(options: TrainCommandOptions): Promise<RunConfig[]> {
  const names = modelNames('--model', options.model ?? DEFAULT_MODEL);
  const device = chooseDevice(options);
  const data = options.task ? taskOf(options, options.task) : textOf(options.text!, options, device);
  const training = trainingOf(options);
  const { dtype = 'float32' } = options;
  checkHeads(options, names);
  const common = { data, training, device, dtype, ...defined({ imports: importsOf(options) }) };
  return names.map((name) => ({ model: modelOf(name, options, device), ...common }));
}

/** The configurations of a file, with what the options say instead. */
async function repeatedConfigs(path: string, options: TrainCommandOptions, command: Command): Promise<RunConfig[]> {
  const read = checkRunConfig(await readJson(path), path, givenTraining(options));
  const base = options.model === undefined ? withKnownModel(path, read) : read;
  const { data, dtype = 'float32' } = base;
  const kind = 'task' in data ? 'task' : 'text';
  const phrases = { text: 'for a --config of a text', task: 'for a --config of a task' };
  checkFlags(command, { ...ACTS, config: NEW }, kind, phrases);
  const device = chooseDevice(options, base.device);
  const { length: sequenceLength, taskOptions, hiddenSize, layers: numLayers, heads: numHeads } = options;
  const changed =
    'task' in data
      ? { ...data, options: { ...data.options, ...taskOptions } }
      : { ...otherTokens(data, options), ...defined({ sequenceLength }) };
  const sizes = defined({ hiddenSize, numLayers, numHeads });
  const names = options.model === undefined ? [base.model.name] : modelNames('--model', options.model);
  checkHeads(options, names);
  return names.map((name) => ({
    ...base,
    model: { ...base.model, ...sizes, name } as RunConfig['model'],
    data: changed,
    device,
    dtype: options.dtype ?? dtype,
    ...defined({ imports: importsOf(options) }),
  }));
}

function checkHeads({ heads }: TrainCommandOptions, names: readonly ModelName[]): void {
  if (heads === undefined || names.some((name) => findModel(name)!.heads)) return;
  const headed = modelFamilies.filter((family) => family.heads).map(({ name }) => name);
  throw new UsageError(`--heads cannot be given with --model ${names.join(',')}, only with ${headed.join(', ')}`);
}

function taskOf(options: TrainCommandOptions, task: TaskName): TaskData {
  return { task, options: options.taskOptions ?? {} };
}

/** The text of a configuration with the tokens that the options say. */
function otherTokens(data: TextData, options: TrainCommandOptions): TextData {
  const { tokens, tokenizer, encoding, ...rest } = data;
  const own = options.tokens === undefined && options.tokenizer === undefined ? defined({ tokens, tokenizer }) : {};
  const read = options.tokens === 'bytes' ? {} : defined({ encoding });
  return { ...rest, ...own, ...read, ...tokensOf(options) };
}

function modelOf(name: ModelName, options: TrainCommandOptions, device: Device): RunConfig['model'] {
  const js = device === 'js';
  const hiddenSize = options.hiddenSize ?? (js ? 64 : options.task ? 128 : 256);
  const numLayers = options.layers ?? (js || options.task ? 2 : 4);
  const numHeads = options.heads ?? Math.max(1, Math.floor(hiddenSize / 64));
  // There are more families than the compiler tells apart.
  return { name, hiddenSize, numLayers, numHeads } as RunConfig['model'];
}

function trainingOf(options: TrainCommandOptions): TrainingConfig {
  const { steps, minutes, task } = options;
  return fillTraining({
    batchSize: task ? 32 : 8,
    ...(steps === undefined && minutes === undefined && (task ? { steps: 1000 } : { minutes: TEXT_MINUTES })),
    ...givenTraining(options),
  });
}
