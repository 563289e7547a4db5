// `evaluate`: loss and accuracy of a checkpoint on its run's data, or on another text.
import { Command, Option } from 'commander';
import { FastWeightsError } from '../core';
import { isJsonObject, loadTokenizer } from '../io';
import { AutoModelForCausalLM } from '../models';
import { formatNumber, table } from '../viz';
import { type Dataset, textDataset } from '../data';
import { checkRunConfig, evaluate, type Evaluation, openData, readTrainerState, resolveCheckpoint } from '../train';
import { type Acts, checkFlags } from './flags';
import { withInterrupt } from './interrupt';
import { sequenceProgress } from './progress';
import { addDeviceOptions, chooseDevice, type DeviceOptions, readText, wholeNumber } from './options';

interface EvaluateOptions extends DeviceOptions {
  checkpoint: string;
  text?: string;
  length: number;
  batch: number;
  json?: boolean;
}

type Case = 'text' | 'run';
const ALL: readonly Case[] = ['text', 'run'];
const ACTS: Acts<EvaluateOptions, Case> = {
  checkpoint: ALL,
  text: ALL,
  length: ['text'],
  batch: ALL,
  json: ALL,
  device: ALL,
  threads: ALL,
};

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('Measures a checkpoint on the validation data of its run, or on another text.')
    .requiredOption('--checkpoint <dir>', 'a run folder (its newest checkpoint), a checkpoint, or a pretrained model')
    .option('--text <file>', 'a text to measure on, all but its first window')
    .addOption(new Option('--length <n>', 'tokens per window of that text').argParser(wholeNumber(1)).default(256))
    .addOption(new Option('--batch <n>', 'sequences at a time').argParser(wholeNumber(1)).default(8))
    .option('--json', 'print JSON');
  return addDeviceOptions(command)
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
  const dir = await resolveCheckpoint(options.checkpoint);
  const data = await openFor(dir, options);
  const model = await AutoModelForCausalLM.fromPretrained(dir, { device });
  const shown = sequenceProgress('sequences');
  const result = await withInterrupt(async (signal) => {
    try {
      return await evaluate(model, data, { batchSize: options.batch, signal, onProgress: shown.take });
    } finally {
      shown.done();
    }
  });
  console.log(options.json ? JSON.stringify({ checkpoint: dir, ...result }, null, 2) : resultTable(result));
}

async function openFor(dir: string, { text, length }: EvaluateOptions): Promise<Dataset> {
  if (text !== undefined) {
    const tokenizer = await loadTokenizer(dir);
    const content = await readText(text);
    const count = tokenizer.encode(content).length;
    return textDataset({
      text: content,
      tokenizer,
      sequenceLength: length,
      validationFraction: Math.max(0, 1 - (length + 1) / count),
    });
  }
  const { config } = await readTrainerState(dir).catch((cause: unknown) => {
    throw new FastWeightsError('IO', `${dir} is no checkpoint of a run; give a --text to measure on`, { cause });
  });
  if (!isJsonObject(config as never))
    throw new FastWeightsError('FORMAT', `${dir}/trainer.json holds no configuration`);
  const { data, training } = checkRunConfig(config, `${dir}/trainer.json`);
  return openData(data, training.seed);
}

export function resultTable(result: Evaluation): string {
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
      ...(result.measured < result.available ? [['sequences', `${result.measured} of ${result.available}`]] : []),
    ],
  );
}
