// `train`: a model on a text or a task, from the command line to the report.
import { join, parse, resolve } from '../platform';
import { Command, Option } from 'commander';
import { MATMUL_PRECISIONS, type MatmulPrecision } from '../backends';
import { type Device, FastWeightsError } from '../core';
import { readJson, writeFileAtomic } from '../io';
import { findModel, modelFamilies, type ModelName } from '../models';
import { renderReport, type ReportRun } from '../viz';
import { type TaskName, tasks, type TextEncoding, type TextProgress } from '../data';
import {
  checkRunConfig,
  checkStart,
  fillTraining,
  resumeRun,
  type Run,
  OPTIMIZERS,
  type OptimizerName,
  RUN_DTYPES,
  type RunConfig,
  type RunDtype,
  RunFolder,
  type ScheduleName,
  SCHEDULES,
  startRun,
  type TaskData,
  type TextData,
  type TrainingConfig,
  withKnownModel,
} from '../train';
import { type Acts, checkFlags, UsageError } from './flags';
import { addImportOption, type ImportOptions, importsOf } from './imports';
import { isAborted, withInterrupt } from './interrupt';
import {
  addDeviceOptions,
  addEncodingOption,
  assignments,
  chooseDevice,
  decimal,
  describeDevice,
  type DeviceOptions,
  freeFolder,
  roundsProducts,
  somePath,
  wholeNumber,
} from './options';
import { textProgress } from './progress';
import { resumeNotes, trainRun, type Watch } from './trainRun';

export interface TrainCommandOptions extends DeviceOptions, ImportOptions {
  text?: string;
  tokens?: 'bytes' | 'characters';
  tokenizer?: string;
  encoding?: TextEncoding;
  task?: TaskName;
  taskOptions?: Record<string, number>;
  model?: string;
  hiddenSize?: number;
  layers?: number;
  heads?: number;
  length?: number;
  steps?: number;
  minutes?: number;
  batch?: number;
  accumulate?: number;
  optimizer?: OptimizerName;
  schedule?: ScheduleName;
  lr?: number;
  weightDecay?: number;
  clip?: number | 'none';
  warmup?: number;
  matmulPrecision?: MatmulPrecision;
  gradientCheckpointing?: boolean;
  dtype?: RunDtype;
  seed?: number;
  validateEvery?: number;
  checkpointEvery?: number;
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

/** The names of the models that there are now. */
function modelList(): string {
  return modelFamilies.map(({ name }) => name).join(', ');
}

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
    )
    .addOption(
      new Option(
        '--tokens <kind>',
        'what a token is (default: characters if there are fewer than 256 different ones)',
      ).choices(['bytes', 'characters']),
    )
    .option('--tokenizer <dir>', 'a folder with a published tokenizer (tokenizer.json), instead of --tokens', somePath)
    .addOption(new Option('--task <name>', 'a built-in task').choices(Object.keys(tasks)))
    .addOption(
      new Option('--task-options <list>', 'settings of the task, for example pairs=16,replaced=8').argParser(
        assignments,
      ),
    )
    .option(
      '--model <name>',
      `${modelList()}, or the model_type of one; several, separated by commas, are compared (default: ${DEFAULT_MODEL})`,
    )
    .addOption(number('--hidden-size <n>', 'width (default: 256 for text, 128 for tasks; 64 on js)', wholeNumber(1)))
    .addOption(number('--layers <n>', 'blocks (default: 4 for text, 2 for tasks and on js)', wholeNumber(1)))
    .addOption(number('--heads <n>', 'heads (default: one for 64 of the width)', wholeNumber(1)))
    .addOption(number('--length <n>', 'tokens of a training window (default: 256; 128 on js)', wholeNumber(1)))
    .addOption(
      number('--steps <n>', 'optimiser steps (default: as many as fit in the minutes; 1000 for tasks)', wholeNumber()),
    )
    .addOption(
      number(
        '--minutes <x>',
        `budget of training and validation, in which reading the text does not count (default: ${TEXT_MINUTES} for text without --steps)`,
        decimal(0, Infinity, true),
      ),
    )
    .addOption(number('--batch <n>', 'sequences in a batch (default: 8 for text, 32 for tasks)', wholeNumber(1)))
    .addOption(number('--accumulate <n>', 'batches per optimiser step (default: 1)', wholeNumber(1)))
    .addOption(
      new Option(
        '--optimizer <name>',
        'muon takes the matrices inside the model and AdamW the rest (default: adamw)',
      ).choices(Object.keys(OPTIMIZERS)),
    )
    .addOption(new Option('--schedule <name>', 'of the learning rate (default: cosine)').choices([...SCHEDULES]))
    .addOption(
      number(
        '--lr <x>',
        'peak learning rate (default: 0.002; sgd 0.1, lion 0.0003, adafactor 0.01)',
        decimal(0, Infinity, true),
      ),
    )
    .addOption(number('--weight-decay <x>', 'on matrices (default: 0.1)', decimal()))
    .addOption(
      new Option('--clip <x>', "largest joint norm of the gradients, or 'none' (default: 1)").argParser(
        (text: string): number | 'none' => (text === 'none' ? text : decimal(0, Infinity, true)(text)),
      ),
    )
    .addOption(number('--warmup <n>', 'steps of linear warm-up (default: 100, or a tenth of the steps)', wholeNumber()))
    .addOption(
      new Option(
        '--matmul-precision <name>',
        "of matrix products in steps: 'medium' rounds to bfloat16 where the processor multiplies that faster (default: highest)",
      ).choices([...MATMUL_PRECISIONS]),
    )
    .option(
      '--gradient-checkpointing',
      'compute activations again in the backward pass instead of keeping them: less memory, about a third more work, the same results',
    )
    .addOption(
      new Option(
        '--dtype <name>',
        'of weights and activations: bfloat16 takes half the memory; the optimiser keeps float32 weights beside it (default: float32)',
      ).choices([...RUN_DTYPES]),
    )
    .addOption(number('--seed <n>', 'of parameters and data (default: 0)', wholeNumber()))
    .addOption(number('--validate-every <n>', 'steps between validations (default: 250)', wholeNumber(1)))
    .addOption(
      number(
        '--checkpoint-every <n>',
        'steps between checkpoints (default: 500; also every 2 minutes)',
        wholeNumber(1),
      ),
    )
    .option('--out <dir>', 'the run folder (default: runs/<model>-<data>)', somePath)
    .option(
      '--resume <dir>',
      'go on with a run that was stopped; --steps, --minutes, --lr, --weight-decay, --clip, --matmul-precision, --gradient-checkpointing, --validate-every, --checkpoint-every, --device and --threads may be given anew, and --text where it was moved',
      somePath,
    )
    .option('--config <file>', 'repeat a run from its config.json; other options go before what it says', somePath)
    .option('--json', 'print the result as JSON');
  return addDeviceOptions(addImportOption(addEncodingOption(command)))
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

/** Opens a run; the progress of reading its text is shown meanwhile. */
async function reading(open: (onText: (progress: TextProgress) => void) => Promise<Run>): Promise<Run> {
  const shown = textProgress();
  try {
    return await open(shown.take);
  } catch (error) {
    throw isAborted(error) ? new FastWeightsError('ABORTED', 'stopped while the text was read') : error;
  } finally {
    shown.done();
  }
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
  await finish(resolve(dir), [outcome.report], options, [outcome.json]);
}

/** A wish for faster products that the device cannot meet. */
function notePrecision({ device, training: { matmulPrecision } }: RunConfig): void {
  if (matmulPrecision === 'highest' || roundsProducts(device)) return;
  console.error(`--matmul-precision ${matmulPrecision}: ${describeDevice(device)} multiplies as exactly as without it`);
}

async function train(configs: RunConfig[], options: TrainCommandOptions, watch: Watch): Promise<void> {
  const { signal } = watch;
  const out = resolve(options.out ?? folderFor(configs));
  const several = configs.length > 1;
  const folderOf = ({ model }: RunConfig): string => (several ? join(out, model.name) : out);
  if (several) await RunFolder.checkFree(out);
  if (several) for (const config of configs) await checkStart(config, folderOf(config));
  const reports: ReportRun[] = [];
  const results: object[] = [];
  for (const config of configs) {
    const opened = await reading((onText) => startRun(config, folderOf(config), { signal, onText }));
    const size = opened.model.parameterCount.toLocaleString('en');
    console.error(
      `${config.model.name}, ${size} parameters, on ${opened.data.description}; ${describeDevice(config.device)}${config.dtype === 'bfloat16' ? ', bfloat16' : ''}`,
    );
    notePrecision(config);
    const outcome = await trainRun(opened, watch);
    reports.push(outcome.report);
    results.push(outcome.json);
    opened.trainer.dispose();
    opened.model.dispose();
    opened.data.close?.();
  }
  await finish(out, reports, options, results);
}

/** Prints where everything is; several runs get a report that compares them. */
async function finish(
  out: string,
  reports: ReportRun[],
  options: TrainCommandOptions,
  results: object[],
): Promise<void> {
  const path = join(out, 'report.html');
  if (reports.length > 1) {
    const title = reports.map((report) => report.name).join(' and ');
    const html = renderReport({ title, runs: reports });
    await writeFileAtomic(path, (file) => file.writeFile(html));
  }
  if (options.json) console.log(JSON.stringify(results.length > 1 ? results : results[0], null, 2));
  else {
    console.log(`report      ${path}`);
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
  const names = modelNames(options.model ?? DEFAULT_MODEL);
  const device = chooseDevice(options);
  const data = options.task ? taskOf(options, options.task) : textOf(options, device);
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
  const names = options.model === undefined ? [base.model.name] : modelNames(options.model);
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

/** The families of a list, each under its name in the registry. */
function modelNames(list: string): ModelName[] {
  const families = list.split(',').map((word) => {
    const family = findModel(word.trim());
    if (family) return family;
    const own = 'one of your own comes from a module that is given with --import';
    throw new UsageError(`--model: unknown model '${word.trim()}'; there are ${modelList()}; ${own}`);
  });
  const twice = families.find((family, i) => families.indexOf(family) < i);
  if (twice) throw new UsageError(`--model: ${twice.name} is named twice`);
  return families.map(({ name }) => name as ModelName);
}

function taskOf(options: TrainCommandOptions, task: TaskName): TaskData {
  return { task, options: options.taskOptions ?? {} };
}

function textOf(options: TrainCommandOptions, device: Device): TextData {
  return {
    text: resolve(options.text!),
    ...tokensOf(options),
    sequenceLength: options.length ?? (device === 'js' ? 128 : 256),
    validationFraction: 0.1,
  };
}

/** The text of a configuration with the tokens that the options say. */
function otherTokens(data: TextData, options: TrainCommandOptions): TextData {
  const { tokens, tokenizer, encoding, ...rest } = data;
  const own = options.tokens === undefined && options.tokenizer === undefined ? defined({ tokens, tokenizer }) : {};
  const read = options.tokens === 'bytes' ? {} : defined({ encoding });
  return { ...rest, ...own, ...read, ...tokensOf(options) };
}

/** What the options say of a text's tokens. */
function tokensOf({ tokens, tokenizer, encoding }: TrainCommandOptions): Partial<TextData> {
  return defined({ tokens, tokenizer: tokenizer === undefined ? undefined : resolve(tokenizer), encoding });
}

function checkTokens({ tokens, tokenizer, encoding }: TrainCommandOptions): void {
  if (tokens !== undefined && tokenizer !== undefined) {
    throw new UsageError('--tokens cannot be given with --tokenizer');
  }
  if (tokens === 'bytes' && encoding !== undefined) {
    throw new UsageError("--encoding cannot be given with --tokens bytes, which takes the file's bytes as they are");
  }
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

/** The settings of training that were given. */
function givenTraining(options: TrainCommandOptions): Partial<TrainingConfig> {
  const { steps, minutes, accumulate, optimizer, schedule, clip, warmup, matmulPrecision, seed } = options;
  const { gradientCheckpointing } = options;
  const { batch: batchSize, lr: learningRate, weightDecay, validateEvery, checkpointEvery } = options;
  return defined({
    steps,
    minutes,
    batchSize,
    accumulate,
    optimizer,
    schedule,
    learningRate,
    weightDecay,
    clip: clip === 'none' ? null : clip,
    warmup,
    matmulPrecision,
    gradientCheckpointing,
    seed,
    validateEvery,
    checkpointEvery,
  });
}

function defined<T extends object>(given: T): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<T>;
}
