// What a run is made of, as plain JSON with every default filled in: a run repeats from it.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  describe,
  type Device,
  FastWeightsError,
  type OptionNames,
} from '../core';
import { type CreateOptions, findModel, knownModels, type ModelName } from '../models';
import { checkDevice, MATMUL_PRECISIONS, type MatmulPrecision } from '../backends';
import { isJsonObject } from '../io';
import { type OptionsOf, type TaskName, tasks, TEXT_ENCODINGS, type TextEncoding } from '../data';
import { type OptimizerName, OPTIMIZERS, type ScheduleName, SCHEDULES } from './optimizer';

/** How to train. */
export interface TrainingConfig {
  /** Optimiser steps; null with `minutes`: as many as fit. */
  steps: number | null;
  /**
   * Budget of training and of every validation, the last included; not of reading the data. The schedule follows steps or
   * time, whichever is further.
   */
  minutes: number | null;
  /** Sequences in a batch. */
  batchSize: number;
  /** Batches whose gradients are summed for one step. */
  accumulate: number;
  /**
   * 'adamw' by default. 'muon' takes the matrices inside the model, with the step size matched to that of AdamW, which
   * takes everything else.
   */
  optimizer: OptimizerName;
  /**
   * How the learning rate goes over the run: 'cosine' by default, 'linear', 'constant', 'oneCycle' (PyTorch's, momentum
   * included), 'reduceOnPlateau'; all but 'oneCycle' behind the warm-up.
   */
  schedule: ScheduleName;
  /** Peak step size; 2e-3 by default, of SGD 0.1, of Lion 3e-4, of Adafactor, relative to the parameter, 1e-2. */
  learningRate: number;
  /** Of Adam, AdamW and Lion; momentum of SGD. 0.9 by default. */
  beta1: number;
  /** Of Adam, AdamW and Lion; 0.95 by default, of Lion 0.99. */
  beta2: number;
  /** On matrices only; vectors (norms, biases, gates) have none. */
  weightDecay: number;
  /** Steps of linear warm-up; a tenth of the run by default, at most 100. 'oneCycle' has none. */
  warmup: number;
  /** Where the schedule ends at the lowest, as a share of the peak; 'constant' has no end. */
  floor: number;
  /** Of 'reduceOnPlateau': validations in a row that may be no better. */
  patience: number;
  /** Of 'reduceOnPlateau': what the learning rate is multiplied by then, 0 to 1. */
  plateauFactor: number;
  /** Largest joint norm of the gradients, above 0; null for none. */
  clip: number | null;
  /** Of matrix products in steps, see `setFloat32MatmulPrecision`; validation is always exact. */
  matmulPrecision: MatmulPrecision;
  /** Whether activations are computed again in the backward pass, see `CausalLM.gradientCheckpointing`; false by default. */
  gradientCheckpointing: boolean;
  /** Of parameters, data and dropout. */
  seed: number;
  /** Steps between validations. */
  validateEvery: number;
  /** Batches of a validation on the way; the last one takes the whole set. */
  validationBatches: number;
  /** Steps between checkpoints. */
  checkpointEvery: number;
  /** Minutes after which a checkpoint is due in any case. */
  checkpointMinutes: number;
}

/** A text file to learn from. */
export interface TextData {
  /** Its path. */
  text: string;
  /** Without it, and without `tokenizer`, chosen when the run starts: characters if fewer than 256 are different. */
  tokens?: 'bytes' | 'characters';
  /** Instead of `tokens`: a folder with a published tokenizer. */
  tokenizer?: string;
  /** Of the text; without it UTF-8 or, where a byte order mark says so, UTF-16. */
  encoding?: TextEncoding;
  sequenceLength: number;
  validationFraction: number;
  /** Of the text's bytes, and how many there are: filled in when the run starts; another text is refused from then on. */
  sha256?: string;
  bytes?: number;
}

/** A built-in task with its options. */
export type TaskData = { [N in TaskName]: { task: N; options: Omit<OptionsOf<N>, 'seed'> } }[TaskName];

export type ModelConfigOf<N extends ModelName> = { name: N } & Partial<
  Omit<CreateOptions<N>, 'vocabSize' | 'device' | 'dtype' | 'gradientCheckpointing'>
>;

/** Name and sizes of a model, as `createModel` takes them. */
export type ModelConfig = { [N in ModelName]: ModelConfigOf<N> }[ModelName];

/** What weights and activations are stored in. With bfloat16 the optimiser and all states stay float32. */
export const RUN_DTYPES = ['float32', 'bfloat16'] as const;
export type RunDtype = (typeof RUN_DTYPES)[number];

/** Everything a run depends on. */
export interface RunConfig {
  model: ModelConfig;
  data: TextData | TaskData;
  training: TrainingConfig;
  device: Device;
  /** float32 by default. */
  dtype?: RunDtype;
  /** The modules that registered what the run uses: a note for whoever goes on with it. Nothing loads them from here. */
  imports?: readonly string[];
}

const RUN: OptionNames<RunConfig> = {
  model: true,
  data: true,
  training: true,
  device: true,
  dtype: true,
  imports: true,
};
const TEXT: OptionNames<TextData> = {
  text: true,
  tokens: true,
  tokenizer: true,
  encoding: true,
  sequenceLength: true,
  validationFraction: true,
  sha256: true,
  bytes: true,
};
const TASK: OptionNames<TaskData> = { task: true, options: true };

const TRAINING: OptionNames<TrainingConfig> = {
  steps: true,
  minutes: true,
  batchSize: true,
  accumulate: true,
  optimizer: true,
  schedule: true,
  learningRate: true,
  beta1: true,
  beta2: true,
  weightDecay: true,
  warmup: true,
  floor: true,
  patience: true,
  plateauFactor: true,
  clip: true,
  matmulPrecision: true,
  gradientCheckpointing: 'flag',
  seed: true,
  validateEvery: true,
  validationBatches: true,
  checkpointEvery: true,
  checkpointMinutes: true,
};

/** Defaults of everything but the length of the run and what depends on the optimiser. */
const DEFAULTS: Omit<TrainingConfig, 'steps' | 'minutes' | 'warmup' | 'learningRate' | 'beta1' | 'beta2'> = {
  batchSize: 8,
  accumulate: 1,
  optimizer: 'adamw',
  schedule: 'cosine',
  weightDecay: 0.1,
  floor: 0,
  patience: 10,
  plateauFactor: 0.1,
  clip: 1,
  matmulPrecision: 'highest',
  gradientCheckpointing: false,
  seed: 0,
  validateEvery: 250,
  validationBatches: 16,
  checkpointEvery: 500,
  checkpointMinutes: 2,
};

/** Fills in what is missing and checks the rest; 1000 steps where no length is given. */
export function fillTraining(given: Partial<TrainingConfig> = {}): TrainingConfig {
  const where = 'training';
  checkOptions<Partial<TrainingConfig>>(where, given, TRAINING);
  const minutes = given.minutes ?? null;
  const steps = given.steps ?? (minutes === null ? 1000 : null);
  const { optimizer = DEFAULTS.optimizer, schedule = DEFAULTS.schedule } = given;
  checkChoice(where, 'optimizer', optimizer, Object.keys(OPTIMIZERS) as OptimizerName[]);
  checkChoice(where, 'schedule', schedule, SCHEDULES);
  const warmup = schedule === 'oneCycle' ? 0 : Math.min(100, Math.floor((steps ?? 1000) / 10));
  const length = { steps, minutes };
  const config: TrainingConfig = { ...length, ...DEFAULTS, ...OPTIMIZERS[optimizer], warmup, ...given, ...length };
  if (steps !== null) checkInteger(where, 'steps', steps);
  if (minutes !== null) checkNumber(where, 'minutes', minutes, 0);
  for (const key of ['batchSize', 'accumulate', 'validateEvery', 'validationBatches', 'checkpointEvery'] as const) {
    checkInteger(where, key, config[key], 1);
  }
  for (const key of ['warmup', 'seed', 'patience'] as const) checkInteger(where, key, config[key]);
  if (schedule === 'oneCycle' && config.warmup > 0) {
    throw argumentError('INVALID_ARGUMENT', where, 'warmup', "0 with schedule 'oneCycle'", `${config.warmup}`);
  }
  for (const key of ['learningRate', 'weightDecay', 'checkpointMinutes'] as const) {
    checkNumber(where, key, config[key], 0);
  }
  const { clip } = config;
  if (clip !== null && !(typeof clip === 'number' && clip > 0 && clip < Infinity)) {
    throw argumentError('INVALID_ARGUMENT', where, 'clip', 'a number above 0, or null for none', describe(clip));
  }
  for (const key of ['beta1', 'beta2', 'floor', 'plateauFactor'] as const) checkNumber(where, key, config[key], 0, 1);
  checkChoice(where, 'matmulPrecision', config.matmulPrecision, MATMUL_PRECISIONS);
  return config;
}

/** Checks a configuration, given in a program or read from a file; settings in `replaced` go before its own. */
export function checkRunConfig(value: unknown, where: string, replaced: Partial<TrainingConfig> = {}): RunConfig {
  const config = section(value, where, 'the configuration');
  checkOptions<object>(where, config, RUN);
  const model = section(config.model, where, 'model');
  const data = section(config.data, where, 'data');
  const training = fillTraining({ ...section(config.training, where, 'training'), ...replaced });
  const device = checkDevice(where, 'device', config.device);
  const dtype = checkChoice(where, 'dtype', config.dtype ?? 'float32', RUN_DTYPES);
  if (typeof model.name !== 'string') {
    throw argumentError('FORMAT', where, 'model.name', 'a string', describe(model.name));
  }
  const imports = checkImports(where, config.imports ?? []);
  return {
    model: model as unknown as ModelConfig,
    data: checkData(data, where),
    training,
    device,
    dtype,
    ...(imports.length > 0 && { imports }),
  };
}

function checkImports(where: string, imports: unknown): readonly string[] {
  if (Array.isArray(imports) && imports.every((path) => typeof path === 'string')) return imports;
  throw argumentError('FORMAT', where, 'imports', 'a list of paths', describe(imports));
}

/** A run's configuration with its model under the name of the registry, which must know it; a report shows others, too. */
export function withKnownModel(where: string, config: RunConfig): RunConfig {
  const { model, imports } = config;
  const family = findModel(model.name);
  if (family) return { ...config, model: { ...model, name: family.name } as ModelConfig };
  const [expected, found] = [knownModels(model.name), describe(model.name)];
  const { message } = argumentError('INVALID_ARGUMENT', where, 'model.name', expected, found);
  const details = { argument: 'model.name', expected, found };
  throw new FastWeightsError('INVALID_ARGUMENT', message + importHint(imports), details);
}

/** What to do about a model that is not registered, as far as its run remembers. */
export function importHint(imports: readonly string[] = []): string {
  if (imports.length === 0) return '';
  const flags = imports.map((path) => `--import ${JSON.stringify(path)}`).join(' ');
  return `; the run was made with ${flags}: a folder chooses no code, so give it again`;
}

function checkData(data: Record<string, unknown>, where: string): TextData | TaskData {
  checkOptions<object>(`${where}: data`, data, data.task === undefined ? TEXT : TASK);
  if (data.task !== undefined) {
    const task = checkChoice(where, 'data.task', data.task, Object.keys(tasks) as TaskName[]);
    const options = section(data.options, where, 'data.options');
    if ('seed' in options) {
      throw argumentError('INVALID_ARGUMENT', where, 'data.options.seed', 'left out: it is that of training', 'one');
    }
    return { task, options };
  }
  if (typeof data.text !== 'string') throw argumentError('FORMAT', where, 'data.text', 'a path', describe(data.text));
  const { tokens, tokenizer, encoding, sha256, bytes } = data;
  if (tokens !== undefined) checkChoice(where, 'data.tokens', tokens, ['bytes', 'characters']);
  if (tokenizer !== undefined && (typeof tokenizer !== 'string' || tokens !== undefined)) {
    const expected = tokens === undefined ? 'the path of a folder' : 'left out beside data.tokens';
    throw argumentError('FORMAT', where, 'data.tokenizer', expected, describe(tokenizer));
  }
  if (encoding !== undefined) checkChoice(where, 'data.encoding', encoding, TEXT_ENCODINGS);
  if (sha256 !== undefined && !(typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256))) {
    throw argumentError('FORMAT', where, 'data.sha256', '64 lower-case hexadecimal digits', describe(sha256));
  }
  if (bytes !== undefined) checkInteger(where, 'data.bytes', bytes);
  checkInteger(where, 'data.sequenceLength', data.sequenceLength, 1);
  checkNumber(where, 'data.validationFraction', data.validationFraction, 0, 1);
  return data as unknown as TextData;
}

function section(value: unknown, where: string, name: string): Record<string, unknown> {
  if (!isJsonObject(value as never)) throw argumentError('FORMAT', where, name, 'an object', describe(value));
  return value as Record<string, unknown>;
}
