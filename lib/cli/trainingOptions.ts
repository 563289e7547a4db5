// What `train` and `compare` are told of models, data and training: options, and what becomes of them.
import { type Command, Option } from 'commander';
import { resolve } from '../platform';
import { MATMUL_PRECISIONS, type MatmulPrecision } from '../backends';
import { type Device, FastWeightsError, nearest } from '../core';
import type { TextEncoding, TextProgress } from '../data';
import { findModel, modelFamilies, type ModelName } from '../models';
import {
  type OptimizerName,
  OPTIMIZERS,
  type Run,
  RUN_DTYPES,
  type RunConfig,
  type RunDtype,
  type ScheduleName,
  SCHEDULES,
  type TextData,
  type TrainingConfig,
} from '../train';
import { UsageError } from './flags';
import { isAborted } from './interrupt';
import { addEncodingOption, decimal, describeDevice, roundsProducts, somePath, wholeNumber } from './options';
import { textProgress } from './progress';

/** How a text becomes tokens. */
export interface TokenOptions {
  tokens?: 'bytes' | 'characters';
  tokenizer?: string;
  encoding?: TextEncoding;
}

/** How to train. */
export interface TrainingOptions {
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
}

const number = (flags: string, description: string, parser: (text: string) => number): Option =>
  new Option(flags, description).argParser(parser);

export function addTokenOptions(command: Command): Command {
  const tokens = new Option(
    '--tokens <kind>',
    'what a token is (default: characters if there are fewer than 256 different ones)',
  ).choices(['bytes', 'characters']);
  return addEncodingOption(command.addOption(tokens)).option(
    '--tokenizer <dir>',
    'a folder with a published tokenizer (tokenizer.json), instead of --tokens',
    somePath,
  );
}

/** `defaults` are said of what commands do not agree in. */
export function addTrainingOptions(
  command: Command,
  defaults: { steps: string; minutes: string; batch: string; seed: string },
): Command {
  return command
    .addOption(number('--length <n>', 'tokens of a training window (default: 256; 128 on js)', wholeNumber(1)))
    .addOption(number('--steps <n>', `optimiser steps (default: ${defaults.steps})`, wholeNumber()))
    .addOption(
      number(
        '--minutes <x>',
        `budget of training and validation, in which reading the text does not count (default: ${defaults.minutes})`,
        decimal(0, Infinity, true),
      ),
    )
    .addOption(number('--batch <n>', `sequences in a batch (default: ${defaults.batch})`, wholeNumber(1)))
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
    .addOption(number('--seed <n>', `${defaults.seed} (default: 0)`, wholeNumber()))
    .addOption(number('--validate-every <n>', 'steps between validations (default: 250)', wholeNumber(1)))
    .addOption(
      number(
        '--checkpoint-every <n>',
        'steps between checkpoints (default: 500; also every 2 minutes)',
        wholeNumber(1),
      ),
    );
}

/** The names of the models that there are now. */
export function modelList(): string {
  return modelFamilies.map(({ name }) => name).join(', ');
}

/** The families of a list, each under its name in the registry. */
export function modelNames(flag: string, list: string): ModelName[] {
  const families = list.split(',').map((text) => {
    const word = text.trim();
    const family = findModel(word);
    if (family) return family;
    const names = modelFamilies.flatMap(({ name, modelType }) => [name, modelType]);
    const near = nearest(word, names);
    const known = near ? `did you mean ${near}? ` : '';
    const own = 'one of your own comes from a module that is given with --import';
    throw new UsageError(`${flag}: unknown model '${word}'; ${known}there are ${modelList()}; ${own}`);
  });
  const twice = families.find((family, i) => families.indexOf(family) < i);
  if (twice) throw new UsageError(`${flag}: ${twice.name} is named twice`);
  return families.map(({ name }) => name as ModelName);
}

export function textOf(text: string, options: TokenOptions & TrainingOptions, device: Device): TextData {
  return {
    text: resolve(text),
    ...tokensOf(options),
    sequenceLength: options.length ?? (device === 'js' ? 128 : 256),
    validationFraction: 0.1,
  };
}

/** What the options say of a text's tokens. */
export function tokensOf({ tokens, tokenizer, encoding }: TokenOptions): Partial<TextData> {
  return defined({ tokens, tokenizer: tokenizer === undefined ? undefined : resolve(tokenizer), encoding });
}

export function checkTokens({ tokens, tokenizer, encoding }: TokenOptions): void {
  if (tokens !== undefined && tokenizer !== undefined) {
    throw new UsageError('--tokens cannot be given with --tokenizer');
  }
  if (tokens === 'bytes' && encoding !== undefined) {
    throw new UsageError("--encoding cannot be given with --tokens bytes, which takes the file's bytes as they are");
  }
}

/** The settings of training that were given. */
export function givenTraining(options: TrainingOptions): Partial<TrainingConfig> {
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

export function defined<T extends object>(given: T): Partial<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Runs what reads a text; its progress is shown meanwhile. */
export async function reading<T>(open: (onText: (progress: TextProgress) => void) => Promise<T>): Promise<T> {
  const shown = textProgress();
  try {
    return await open(shown.take);
  } catch (error) {
    throw isAborted(error) ? new FastWeightsError('ABORTED', 'stopped while the text was read') : error;
  } finally {
    shown.done();
  }
}

/** Says which model begins, on what, and a wish for faster products that the device cannot meet. */
export function announce({ config, model, data }: Run): void {
  const size = model.parameterCount.toLocaleString('en');
  const dtype = config.dtype === 'bfloat16' ? ', bfloat16' : '';
  console.error(
    `${config.model.name}, ${size} parameters, on ${data.description}; ${describeDevice(config.device)}${dtype}`,
  );
  notePrecision(config);
}

/** A wish for faster products that the device cannot meet. */
export function notePrecision({ device, training: { matmulPrecision } }: RunConfig): void {
  if (matmulPrecision === 'highest' || roundsProducts(device)) return;
  console.error(`--matmul-precision ${matmulPrecision}: ${describeDevice(device)} multiplies as exactly as without it`);
}
