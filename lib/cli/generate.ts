// `generate`: text from a checkpoint, token by token as it comes.
import { Command, Option } from 'commander';
import { FastWeightsError } from '../core';
import type { SpeculateOptions, SpeculationCounts } from '../inference';
import { loadTokenizer, type Tokenizer } from '../io';
import { formatCount, formatDuration } from '../viz';
import { type Acts, checkFlags, namingFlags } from './flags';
import { addImportOption, type ImportOptions, loadModel } from './imports';
import { isAborted, withInterrupt } from './interrupt';
import {
  addCheckpointOption,
  addDeviceOptions,
  addWeightsOption,
  biases,
  checkpointFolder,
  chooseDevice,
  decimal,
  type DeviceOptions,
  somePath,
  someText,
  wholeNumber,
  type WeightsOptions,
} from './options';

/** For models that do not say how to draw. */
const TEMPERATURE = 0.8;

interface GenerateOptions extends DeviceOptions, ImportOptions, WeightsOptions {
  checkpoint: string;
  prompt?: string;
  maxTokens: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  typicalP?: number;
  repetitionPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  logitBias?: Record<number, number>;
  stop?: string[];
  topLogprobs?: number;
  samples: number;
  seed?: number;
  speculate?: boolean;
  draft?: string;
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
  minP: ['drawn'],
  typicalP: ['drawn'],
  repetitionPenalty: ALL,
  presencePenalty: ALL,
  frequencyPenalty: ALL,
  logitBias: ALL,
  stop: ALL,
  topLogprobs: ALL,
  samples: ['drawn'],
  seed: ['drawn'],
  speculate: ALL,
  draft: ALL,
  device: ALL,
  weights: ALL,
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
    .addOption(
      new Option('--min-p <p>', 'only tokens at least p times as probable as the first').argParser(decimal(0, 1)),
    )
    .addOption(
      new Option('--typical-p <p>', 'only the tokens of the most typical information that add up to p').argParser(
        decimal(0, 1, true),
      ),
    )
    .addOption(
      new Option(
        '--repetition-penalty <x>',
        "divides positive logits of tokens that came, also in the prompt, and multiplies negative ones (default: the model's own, or 1)",
      ).argParser(decimal(0, Infinity, true)),
    )
    .addOption(
      new Option('--presence-penalty <x>', 'subtracted from the logits of tokens that were written').argParser(
        decimal(-Infinity),
      ),
    )
    .addOption(
      new Option('--frequency-penalty <x>', 'subtracted for each time that a token was written').argParser(
        decimal(-Infinity),
      ),
    )
    .addOption(
      new Option('--logit-bias <id=x,...>', 'added to the logits of these tokens; -Infinity forbids one').argParser(
        biases,
      ),
    )
    .addOption(
      new Option('--stop <text>', 'ends the text before this one; may be given several times').argParser(
        (text: string, others: string[] | undefined) => [...(others ?? []), someText(text)],
      ),
    )
    .addOption(
      new Option('--samples <n>', 'so many texts, one after the other; text i as with --seed n + i')
        .argParser(wholeNumber(1))
        .default(1),
    )
    .addOption(
      new Option(
        '--top-logprobs <n>',
        'instead of text a line of JSON for each token: its id, log-probability and piece of text, and the n likeliest tokens',
      ).argParser(wholeNumber()),
    )
    .addOption(new Option('--seed <n>', 'for repeatable text (default: a new one each time)').argParser(wholeNumber()))
    .addOption(
      new Option('--speculate', 'guesses tokens by what stood before in the text, and reads several at once').conflicts(
        'draft',
      ),
    )
    .option(
      '--draft <dir>',
      'a smaller model of the same vocabulary, which guesses tokens; the model reads several at once',
      somePath,
    );
  return addDeviceOptions(addWeightsOption(addImportOption(command)))
    .addHelpText(
      'after',
      '\nExamples:\n  fast-weights generate --checkpoint runs/deltanet --prompt "ROMEO:"\n  fast-weights generate --checkpoint model --temperature 0 | head\n  fast-weights generate --checkpoint model --prompt "Q:" --stop "Q:" --samples 4 --min-p 0.1',
    )
    .action(run);
}

async function run(options: GenerateOptions, command: Command): Promise<void> {
  checkFlags(command, ACTS, options.temperature === 0 ? 'greedy' : 'drawn', {
    greedy: 'with --temperature 0',
    drawn: 'with a --temperature above 0',
  });
  const device = chooseDevice(options);
  const dir = await checkpointFolder(options.checkpoint);
  const tokenizer = await loadTokenizer(dir);
  const beginning = options.prompt ?? usualPrompt(tokenizer);
  const prompt = tokenizer.encode(beginning);
  if (prompt.length === 0) {
    throw new FastWeightsError('INVALID_ARGUMENT', 'generate: --prompt must hold at least one token', {
      argument: 'prompt',
    });
  }
  const model = await loadModel(dir, { device, weights: options.weights });
  const draft = options.draft === undefined ? null : await checkpointFolder(options.draft, '--draft');
  const guesser: SpeculateOptions['guesser'] = draft
    ? await loadModel(draft, { device, weights: options.weights })
    : 'ngram';
  const speculate = draft || options.speculate ? { guesser } : undefined;
  const { maxTokens, temperature = model.sampling.temperature ?? TEMPERATURE, samples, stop, topLogprobs } = options;
  const { topK, topP, minP, typicalP, repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = options;
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  let count = 0;
  let first = 0;
  /** In each text. */
  const guessed: SpeculationCounts[] = [];
  await withInterrupt(async (signal) => {
    using session = model.createSession();
    // Of a session, which refuses its options at once.
    const tokens = namingFlags(command, () =>
      session.generate(prompt, {
        ...{ maxNewTokens: maxTokens, temperature, topK, topP, minP, typicalP },
        ...{ repetitionPenalty, presencePenalty, frequencyPenalty, logitBias, topLogprobs },
        ...{ stopStrings: stop, tokenizer, samples, seed, signal, speculate },
      }),
    );
    const lines = topLogprobs !== undefined;
    const opening = (sample: number): string => {
      if (lines) return '';
      return `${samples > 1 ? `--- ${sample + 1} of ${samples} ---\n` : ''}${beginning}`;
    };
    await write(opening(0));
    let current = 0;
    try {
      for await (const token of tokens) {
        if (count++ === 0) first = performance.now();
        const { sample = 0, text = '' } = token;
        if (token.speculation) guessed[sample] = token.speculation;
        if (sample !== current && !lines) await write(`\n${opening(sample)}`);
        current = sample;
        await write(lines ? `${JSON.stringify(token)}\n` : text);
      }
    } catch (error) {
      // What was written is the result.
      if (!isAborted(error)) throw error;
    } finally {
      if (!lines) await write('\n');
      const seconds = (performance.now() - first) / 1000;
      const speed = count > 1 ? ` (${formatCount((count - 1) / seconds)} tokens/s)` : '';
      const what = `${signal.aborted ? 'stopped after ' : ''}${count} tokens${describeGuesses(guessed)}`;
      if (signal.reason !== 'SIGPIPE') console.error(`${what} in ${formatDuration(count > 0 ? seconds : 0)}${speed}`);
    }
  }, '');
}

/** `, 80 of 96 guesses right` */
function describeGuesses(texts: readonly SpeculationCounts[]): string {
  if (texts.length === 0) return '';
  const sum = (name: keyof SpeculationCounts): number => texts.reduce((total, counts) => total + counts[name], 0);
  return `, ${sum('accepted')} of ${sum('guessed')} guesses right,`;
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
