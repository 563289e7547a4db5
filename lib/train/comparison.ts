// Several models on the same data in the same order, as many steps or minutes each, in one folder that can be gone on with:
//   comparison.json   report.html   <model>/ (a run folder)   <model>-seed-<n>/ (those of further seeds)
import { existsSync, join, processorModel } from '../platform';
import {
  argumentError,
  checkInteger,
  checkOptions,
  describe,
  type Device,
  FastWeightsError,
  memory,
  type OptionNames,
  resetPeakMemory,
} from '../core';
import { defaultDevice, getBackend, numThreads } from '../backends';
import { createFolder, isJsonObject, type Json, readOptionalJson, writeFileAtomic, writeJson } from '../io';
import { findModel, type ModelName, sizesFor } from '../models';
import { renderReport, type ReportRun } from '../viz';
import { comparisonReport, measuresOf } from './comparisonReport';
import {
  fillTraining,
  type ModelConfig,
  type RunConfig,
  type RunDtype,
  type TaskData,
  type TextData,
  type TrainingConfig,
} from './config';
import { prepareData } from './data';
import { checkAborted } from './evaluate';
import { bytesPerToken, stateBytesOf } from './measure';
import { resumeRun, type Run, startRun, type TextRunOptions } from './run';
import { RunFolder } from './runFolder';

/** What the runs of a comparison have in common. */
export interface ComparisonSettings {
  /** That every model has about as many of; null where sizes were given. */
  parameters: number | null;
  /** A text with what was found of it: its tokens, hash and size. */
  data: TextData | TaskData;
  /** But the seed, which is that of each run. */
  training: Omit<TrainingConfig, 'seed'>;
  /** Where the runs are computed. */
  device: Device;
  /** Of weights and activations. */
  dtype: RunDtype;
}

/** What one run of a comparison found. */
export interface ComparedRun {
  /** Name of the family. */
  model: string;
  /** Of parameters and data: runs of one seed see the same batches in the same order. */
  seed: number;
  /** As `createModel` takes them. */
  sizes: ModelConfig;
  /** How many the model really has. */
  parameters: number;
  /** Of the validation at the end, in nats per token. */
  loss: number;
  /** Of labels predicted right in it. */
  accuracy: number;
  /** The loss in bits per byte of text; null for a task. */
  bitsPerByte: number | null;
  /** Read in training. */
  tokens: number;
  /** In training: the median over steps. */
  tokensPerSecond: number;
  /** Of the optimiser. */
  steps: number;
  /** Of training and validation. */
  seconds: number;
  /** Bytes that one sequence of `sequenceLength` tokens is remembered in. */
  stateBytes: number;
  /** The most bytes of tensors that were live at once while it trained; after an interruption, since then. */
  peakBytes: number;
}

/** What the folder of a comparison holds: `comparison.json`. */
export interface Comparison {
  /** What all runs have in common. */
  settings: ComparisonSettings;
  /** Where the last of the runs was made, and on how many threads. */
  machine: { processor: string; threads: number; device: string };
  /** In the order in which they were made. */
  runs: ComparedRun[];
}

/** How the runs of a comparison are made. */
interface Making extends TextRunOptions {
  /** Made if need be. Runs that it holds are not made again, one that was interrupted goes on. */
  folder: string;
  /**
   * Trains a run, new or resumed, in place of `run.trainer.run({ signal })`; pictures and samples that it returns stand in the
   * report.
   */
  train?(run: Run): Promise<Pick<ReportRun, 'fastWeights' | 'writes' | 'samples'> | void>;
  /**
   * Of runs in minutes: each takes its minutes in so many turns, and all have had one before any has the next, so that what
   * slows the machine for a while slows all of them. Between turns a run lies in its folder. 1 by default.
   */
  turns?: number;
  /** Called before every turn of a run but its last, which is `train`'s; turns count from 1. */
  onTurn?(run: Run, turn: number): void;
  /** Called after every run that is made. */
  onResult?(result: ComparedRun): void;
}

/** Options of `compareModels`. */
export interface ComparisonOptions extends Making {
  /** Families by name or `model_type`, in the order of tables. */
  models: readonly ModelName[];
  /** How many parameters every model is to have, about. */
  parameters: number;
  /** A text or a task; what it was found to be becomes part of the settings. */
  data: TextData | TaskData;
  /** As `Trainer` takes it: steps for a comparison that can be repeated, or minutes. */
  training?: Partial<TrainingConfig>;
  /** How many seeds each model is trained under, from that of `training` on; 1 by default. */
  seeds?: number;
  /** The default device by default. */
  device?: Device;
  /** float32 by default. */
  dtype?: RunDtype;
  /** See `RunConfig`. */
  imports?: readonly string[];
}

const MAKING: OptionNames<Making> = {
  folder: true,
  train: true,
  turns: true,
  onTurn: true,
  onResult: true,
  memoryLimit: true,
  signal: true,
  onText: true,
};
const OPTIONS: OptionNames<ComparisonOptions> = {
  ...MAKING,
  models: true,
  parameters: true,
  data: true,
  training: true,
  seeds: true,
  device: true,
  dtype: true,
  imports: true,
};

const RECORD = 'comparison.json';

/**
 * Trains models of about as many parameters each (`sizesFor`) on the same batches in the same order, for the same steps or
 * minutes, and writes comparison.json after each and report.html at the end. Called again with the same folder it trains what
 * is missing, and goes on with a run that was interrupted; further models and seeds may be asked for then, other settings are
 * refused (INVALID_ARGUMENT). Aborting `signal` saves the run at hand and ends with ABORTED.
 */
export async function compareModels(options: ComparisonOptions): Promise<Comparison> {
  const where = 'compareModels';
  checkOptions(where, options, OPTIONS);
  const { models, parameters, data: given, training, seeds = 1, ...others } = options;
  const { device = defaultDevice(), dtype, imports, ...making } = others;
  checkInteger(where, 'parameters', parameters, 1);
  const { turns = 1 } = making;
  checkInteger(where, 'turns', turns, 1, 1000);
  checkInteger(where, 'seeds', seeds, 1, 1000);
  if (!Array.isArray(models) || models.length === 0) {
    throw argumentError('INVALID_ARGUMENT', where, 'models', 'a list of names, one at least', describe(models));
  }
  const filled = fillTraining(training);
  if (turns > 1 && filled.minutes === null) {
    throw argumentError('INVALID_ARGUMENT', where, 'turns', '1 for runs that are not in minutes', `${turns}`);
  }
  const reading = { signal: making.signal, memoryLimit: making.memoryLimit, onText: making.onText };
  const { config: data, vocabSize } = await prepareData(given, filled.seed, reading);
  const sized = (models as readonly ModelName[]).map((name) => {
    const { parameters: _, ...sizes } = sizesFor(name, parameters, vocabSize);
    return { name: findModel(name)!.name, ...sizes } as ModelConfig;
  });
  const configs = Array.from({ length: seeds }, (_, i) =>
    sized.map((model): RunConfig => ({
      model,
      data,
      training: { ...filled, seed: filled.seed + i },
      device,
      ...(dtype && { dtype }),
      ...(imports && { imports }),
    })),
  ).flat();
  return compareRuns({ ...making, configs, parameters });
}

/** Makes the runs of configurations that differ in model and seed alone. */
export async function compareRuns({
  folder,
  configs,
  parameters = null,
  train,
  turns = 1,
  onTurn,
  onResult,
  ...reading
}: Making & { configs: readonly RunConfig[]; parameters?: number | null }): Promise<Comparison> {
  const { signal } = reading;
  const [{ data, training, device, dtype = 'float32' }] = configs;
  const { seed: first, ...shared } = training;
  const settings: ComparisonSettings = { parameters, data, training: shared, device, dtype };
  const { name } = getBackend(device);
  const machine = { processor: processorModel(), threads: numThreads(device), device: name };
  await createFolder(folder);
  const file = join(folder, RECORD);
  const record: Comparison = { settings, machine, runs: await runsIn(file, settings) };
  const parts = new Map<ComparedRun, Partial<ReportRun>>();
  // Before the first run, which may be interrupted: what it is of must be known then.
  await writeJson(file, record);
  const missing = configs.filter(
    ({ model, training }) => !record.runs.some((run) => run.model === model.name && run.seed === training.seed),
  );
  const opened = async <T>(config: RunConfig, use: (run: Run) => Promise<T>): Promise<T> => {
    checkAborted(signal, 'compare');
    const run = await open(config, runFolder(folder, config, first), reading);
    try {
      return await use(run);
    } finally {
      run.trainer.dispose();
      run.model.dispose();
      run.data.close?.();
    }
  };
  for (let turn = 1; turn < turns; turn++) {
    for (const config of missing) {
      await opened(config, async (run) => {
        if (run.trainer.progress >= turn / turns) return;
        onTurn?.(run, turn);
        await trainUntil(run, turn / turns, signal);
      });
    }
  }
  for (const config of missing) {
    resetPeakMemory();
    await opened(config, async (run) => {
      const shown = train ? await train(run) : void (await run.trainer.run({ signal }));
      const result = await resultOf(run, signal);
      record.runs.push(result);
      if (shown) parts.set(result, shown);
      await writeJson(file, record);
      onResult?.(result);
    });
  }
  const report = await comparisonReport(record, (run) => runFolder(folder, run, first), parts);
  const html = renderReport(report);
  await writeFileAtomic(join(folder, 'report.html'), (handle) => handle.writeFile(html));
  return record;
}

/** Trains to a share of the minutes, and leaves the run in its folder. */
async function trainUntil({ trainer }: Run, progress: number, signal?: AbortSignal): Promise<void> {
  const over = new AbortController();
  const onMetrics = (): void => {
    if (trainer.progress >= progress) over.abort();
  };
  try {
    await trainer.run({ signal: AbortSignal.any([over.signal, ...(signal ? [signal] : [])]), onMetrics });
  } catch (error) {
    if (!over.signal.aborted || signal?.aborted) throw error;
  }
}

/** The folder of the run of a model and seed; the first seed goes without saying. */
function runFolder(folder: string, run: RunConfig | ComparedRun, first: number): string {
  const [name, seed] = 'training' in run ? [run.model.name, run.training.seed] : [run.model, run.seed];
  return join(folder, seed === first ? name : `${name}-seed-${seed}`);
}

/** Starts a run, or goes on with it where it has a checkpoint. */
async function open(config: RunConfig, dir: string, reading: TextRunOptions): Promise<Run> {
  const { data, device, imports } = config;
  const begun = existsSync(join(dir, 'config.json')) && (await hasCheckpoint(dir));
  if (!begun) return startRun(config, dir, reading);
  const text = 'task' in data ? undefined : data.text;
  return resumeRun(dir, {}, { ...reading, device, ...(text !== undefined && { text }), ...(imports && { imports }) });
}

async function hasCheckpoint(dir: string): Promise<boolean> {
  const folder = await RunFolder.open(dir);
  return (await folder.listCheckpoints()).length > 0;
}

async function resultOf({ config, folder, model, data }: Run, signal?: AbortSignal): Promise<ComparedRun> {
  const measured = measuresOf(await folder.metrics(), config, data.sequenceLength);
  const perToken = bytesPerToken(data);
  const { peakBytes = 0 } = memory().devices.find(({ device }) => device === config.device) ?? {};
  const { loss } = measured;
  return {
    model: config.model.name,
    seed: config.training.seed,
    sizes: config.model,
    parameters: model.parameterCount,
    ...measured,
    bitsPerByte: perToken === null ? null : loss / Math.LN2 / perToken,
    stateBytes: await stateBytesOf(model, data, signal),
    peakBytes,
  };
}

/** The runs that a folder holds, all of these settings but for the place of the text. */
async function runsIn(file: string, settings: ComparisonSettings): Promise<ComparedRun[]> {
  const record = await readOptionalJson(file);
  if (record === undefined) return [];
  if (!isJsonObject(record) || !isJsonObject(record.settings) || !Array.isArray(record.runs)) {
    throw new FastWeightsError('FORMAT', `${file} is not of a comparison; name another folder`);
  }
  const [found, wanted] = [record.settings, settings].map((one) => leaves(one as unknown as Json));
  const names = new Set([...found.keys(), ...wanted.keys()]);
  names.delete('data.text');
  for (const name of names) {
    if (found.get(name) === wanted.get(name)) continue;
    const say = (value: unknown): string => (value === undefined ? 'none' : JSON.stringify(value));
    const expected = `${say(found.get(name))}, that of the comparison in ${file}; name another folder for another`;
    throw argumentError('INVALID_ARGUMENT', 'compare', name, expected, say(wanted.get(name)));
  }
  return record.runs as unknown as ComparedRun[];
}

/** Values by their paths: 'training.steps'. */
function leaves(value: Json, path = ''): Map<string, Json> {
  if (!isJsonObject(value)) return new Map([[path, value]]);
  return new Map(Object.entries(value).flatMap(([key, one]) => [...leaves(one, path === '' ? key : `${path}.${key}`)]));
}
