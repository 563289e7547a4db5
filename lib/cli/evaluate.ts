// `evaluate`: loss and accuracy of a checkpoint on its run's data, or on another text.
import { join } from '../platform';
import { Command, Option } from 'commander';
import { FastWeightsError } from '../core';
import { isJsonObject, loadTokenizer } from '../io';
import { formatNumber, table } from '../viz';
import { type Dataset, openTextDataset, type TextDataset, type TextEncoding } from '../data';
import {
  checkRunConfig,
  evaluate,
  type Evaluation,
  openData,
  readTrainerState,
  tokensBeside,
  withRemedy,
} from '../train';
import { type Acts, checkFlags } from './flags';
import { addImportOption, type ImportOptions, loadModel } from './imports';
import { withInterrupt } from './interrupt';
import { sequenceProgress, textProgress } from './progress';
import { noteSkipped } from './skipped';
import {
  addCheckpointOption,
  addDeviceOptions,
  addWeightsOption,
  addEncodingOption,
  checkpointFolder,
  chooseDevice,
  type DeviceOptions,
  somePath,
  wholeNumber,
  type WeightsOptions,
} from './options';

interface EvaluateOptions extends DeviceOptions, ImportOptions, WeightsOptions {
  checkpoint: string;
  text?: string;
  encoding?: TextEncoding;
  length: number;
  batch: number;
  json?: boolean;
}

type Case = 'text' | 'run';
const ALL: readonly Case[] = ['text', 'run'];
const ACTS: Acts<EvaluateOptions, Case> = {
  checkpoint: ALL,
  text: ALL,
  encoding: ['text'],
  length: ['text'],
  batch: ALL,
  json: ALL,
  device: ALL,
  weights: ALL,
  threads: ALL,
  import: ALL,
};

export function evaluateCommand(): Command {
  const command = addCheckpointOption(new Command('evaluate'))
    .description('Measures a checkpoint on the validation data of its run, or on another text.')
    .option(
      '--text <file>',
      'a text to measure on; characters that the checkpoint does not know are left out and counted',
      somePath,
    )
    .addOption(new Option('--length <n>', 'tokens per window of that text').argParser(wholeNumber(1)).default(256))
    .addOption(new Option('--batch <n>', 'sequences at a time').argParser(wholeNumber(1)).default(8))
    .option('--json', 'print JSON');
  return addDeviceOptions(addWeightsOption(addImportOption(addEncodingOption(command))))
    .addHelpText(
      'after',
      '\nExamples:\n  fast-weights evaluate --checkpoint runs/deltanet\n  fast-weights evaluate --checkpoint model --text other.txt',
    )
    .action(run);
}

async function run(options: EvaluateOptions, command: Command): Promise<void> {
  checkFlags(command, ACTS, options.text === undefined ? 'run' : 'text', {
    text: 'with --text',
    run: 'without --text',
  });
  const device = chooseDevice(options);
  const dir = await checkpointFolder(options.checkpoint);
  const result = await withInterrupt(async (signal) => {
    const data = await openFor(dir, options, signal);
    const model = await loadModel(dir, { device, weights: options.weights });
    const shown = sequenceProgress('sequences');
    try {
      const measured = await evaluate(model, data, { batchSize: options.batch, signal, onProgress: shown.take });
      return {
        ...measured,
        ...('skipped' in data && options.text !== undefined && { skipped: noteSkipped(data.skipped) }),
      };
    } finally {
      shown.done();
      data.close?.();
    }
  });
  console.log(options.json ? JSON.stringify({ checkpoint: dir, ...result }, null, 2) : resultTable(result));
}

async function openFor(dir: string, options: EvaluateOptions, signal: AbortSignal): Promise<Dataset | TextDataset> {
  const reading = textProgress();
  const { text: path, encoding, length: sequenceLength } = options;
  try {
    if (path !== undefined) {
      const settings = { path, encoding, sequenceLength, validationFraction: 1, skipUnknown: true };
      const tokenizer = await loadTokenizer(dir);
      return await openTextDataset({ ...settings, tokenizer, signal, onProgress: reading.take });
    }
    const { config } = await readTrainerState(dir).catch((cause: unknown) => {
      throw new FastWeightsError('IO', `${dir} is no checkpoint of a run; give a --text to measure on`, { cause });
    });
    const file = join(dir, 'trainer.json');
    if (!isJsonObject(config as never)) throw new FastWeightsError('FORMAT', `${file} holds no configuration`);
    const { data, training } = checkRunConfig(config, file);
    const tokenizer = 'task' in data ? undefined : await loadTokenizer(dir);
    const opening = { tokenizer, ids: tokensBeside(dir), signal, onText: reading.take };
    const remedy = `put it back, or write where it is now into data.text of ${file}`;
    return await withRemedy(remedy, openData(data, training.seed, opening));
  } finally {
    reading.done();
  }
}

export function resultTable(result: Evaluation & { skipped?: number }): string {
  const groups = Object.entries(result.groups);
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  return table(
    ['measure', 'value'],
    [
      ['loss (nats)', formatNumber(result.loss, 5)],
      ['loss (bits)', formatNumber(result.loss / Math.LN2, 5)],
      ['accuracy', percent(result.accuracy)],
      ...groups.map(([name, share]) => [`accuracy, ${name}`, percent(share)]),
      ['labels', String(result.labels)],
      ...(result.skipped ? [['skipped characters', String(result.skipped)]] : []),
      ...(result.measured < result.available ? [['sequences', `${result.measured} of ${result.available}`]] : []),
    ],
  );
}
