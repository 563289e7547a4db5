// `generate`: text from a checkpoint, token by token as it comes.
import { Command, Option } from 'commander';
import { FastWeightsError } from '../core';
import { loadTokenizer, StreamDecoder, type Tokenizer } from '../io';
import { formatCount, formatDuration } from '../viz';
import { resolveCheckpoint } from '../train';
import { type Acts, checkFlags } from './flags';
import { addImportOption, type ImportOptions, loadModel } from './imports';
import { isAborted, withInterrupt } from './interrupt';
import {
  addCheckpointOption,
  addDeviceOptions,
  chooseDevice,
  decimal,
  type DeviceOptions,
  wholeNumber,
} from './options';

/** For models that do not say how to draw. */
const TEMPERATURE = 0.8;

interface GenerateOptions extends DeviceOptions, ImportOptions {
  checkpoint: string;
  prompt?: string;
  maxTokens: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
}

type Case = 'drawn' | 'greedy';
const ALL: readonly Case[] = ['drawn', 'greedy'];
const ACTS: Acts<GenerateOptions, Case> = {
  checkpoint: ALL,
  prompt: ALL,
  maxTokens: ALL,
  temperature: ALL,
  topK: ['drawn'],
  topP: ['drawn'],
  seed: ['drawn'],
  device: ALL,
  threads: ALL,
  import: ALL,
};

export function generateCommand(): Command {
  const command = addCheckpointOption(new Command('generate'))
    .description('Writes text with a trained model, one step at a time in constant memory.')
    .option(
      '--prompt <text>',
      'the beginning of the text (default: a new line, or the first token where there is none)',
    )
    .addOption(new Option('--max-tokens <n>', 'tokens to write').argParser(wholeNumber()).default(500))
    .addOption(
      new Option('--temperature <x>', "0 takes the most probable token (default: the model's own, or 0.8)").argParser(
        decimal(0),
      ),
    )
    .addOption(new Option('--top-k <n>', 'only the n most probable tokens').argParser(wholeNumber(1)))
    .addOption(
      new Option('--top-p <p>', 'only the most probable tokens that add up to p').argParser(decimal(0, 1, true)),
    )
    .addOption(new Option('--seed <n>', 'for repeatable text (default: a new one each time)').argParser(wholeNumber()));
  return addDeviceOptions(addImportOption(command))
    .addHelpText(
      'after',
      '\nExamples:\n  fast-weights generate --checkpoint runs/deltanet --prompt "ROMEO:"\n  fast-weights generate --checkpoint model --temperature 0 | head',
    )
    .action(run);
}

async function run(options: GenerateOptions, command: Command): Promise<void> {
  checkFlags(command, ACTS, options.temperature === 0 ? 'greedy' : 'drawn', {
    greedy: 'with --temperature 0',
    drawn: 'with a --temperature above 0',
  });
  const device = chooseDevice(options);
  const dir = await resolveCheckpoint(options.checkpoint);
  const tokenizer = await loadTokenizer(dir);
  const beginning = options.prompt ?? usualPrompt(tokenizer);
  const prompt = tokenizer.encode(beginning);
  if (prompt.length === 0) {
    throw new FastWeightsError('INVALID_ARGUMENT', 'generate: --prompt must hold at least one token', {
      argument: 'prompt',
    });
  }
  const model = await loadModel(dir, { device });
  const { maxTokens, temperature = model.sampling.temperature ?? TEMPERATURE, topK, topP } = options;
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  const decoder = new StreamDecoder(tokenizer, { prompt, skipSpecialTokens: true });
  // What ends a text is no part of it, whether or not the tokenizer calls it special.
  const ends = new Set(model.stopTokens);
  let count = 0;
  let first = 0;
  await withInterrupt(async (signal) => {
    process.stdout.write(beginning);
    const sampling = { temperature, topK, topP, seed };
    try {
      for await (const { id } of model.generate(prompt, { maxNewTokens: maxTokens, ...sampling, signal })) {
        if (count++ === 0) first = performance.now();
        if (!ends.has(id)) await write(decoder.push(id));
      }
    } catch (error) {
      // What was written is the result.
      if (!isAborted(error)) throw error;
    } finally {
      await write(`${decoder.flush()}\n`);
      const seconds = (performance.now() - first) / 1000;
      const speed = count > 1 ? ` (${formatCount((count - 1) / seconds)} tokens/s)` : '';
      const what = `${signal.aborted ? 'stopped after ' : ''}${count} tokens`;
      if (signal.reason !== 'SIGPIPE') console.error(`${what} in ${formatDuration(count > 0 ? seconds : 0)}${speed}`);
    }
  }, '');
}

function usualPrompt(tokenizer: Tokenizer): string {
  let known = true;
  tokenizer.encode('\n', { onUnknown: () => (known = false) });
  return known ? '\n' : tokenizer.decode([0]);
}

/** Waits where the reader is slower than the model. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}
