// `inspect`: a page that shows what the fast weights of a checkpoint do while it reads a text, or those of an experiment's
// trained model while it reads an example of its task.
import { existsSync, packageVersion } from '../platform';
import { Command, Option } from 'commander';
import { argumentError, type Device, FastWeightsError } from '../core';
import { loadTokenizer, type Tokenizer, writeFileAtomic } from '../io';
import type { WeightFormat } from '../backends';
import { formatBytes } from '../viz';
import { inspectFastWeights, type Inspection, renderInspection } from '../inspect';
import { EXPERIMENTS, inspectExperiment } from '../experiments';
import { readBeginning, readFirstBytes, type TextEncoding } from '../data';
import { type Acts, checkFlags, UsageError } from './flags';
import { addImportOption, type ImportOptions, loadModel } from './imports';
import {
  addDeviceOptions,
  addEncodingOption,
  addWeightsOption,
  CHECKPOINT,
  checkpointFolder,
  chooseDevice,
  type DeviceOptions,
  somePath,
  wholeNumber,
} from './options';
import { noteSkipped } from './skipped';

const TOKENS = 256;
const MOST_TOKENS = 1024;
/** Characters of a text for each token that is wanted; longer ones are rare. */
const CHARACTERS = 32;

interface Options extends DeviceOptions, ImportOptions {
  weights?: WeightFormat;
  checkpoint?: string;
  experiment?: string;
  trial?: string;
  seed?: number;
  text?: string;
  encoding?: TextEncoding;
  prompt?: string;
  layer?: number;
  head?: number;
  tokens: number;
  out?: string;
}

type Case = 'text' | 'prompt' | 'experiment';
const READS: readonly Case[] = ['text', 'prompt'];
const ALL: readonly Case[] = [...READS, 'experiment'];
const ACTS: Acts<Options, Case> = {
  checkpoint: READS,
  experiment: ['experiment'],
  trial: ['experiment'],
  seed: ['experiment'],
  text: ['text'],
  encoding: ['text'],
  prompt: ['prompt'],
  layer: ALL,
  head: ALL,
  tokens: READS,
  out: ALL,
  weights: READS,
  device: ALL,
  threads: ALL,
  import: READS,
};

export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('Shows what fast weights do while a text is read: one HTML page, with a slider over its tokens.')
    .option('--checkpoint <dir>', CHECKPOINT, somePath)
    .option('--experiment <dir>', 'in place of it, results of `experiment`: a trained model reads an example', somePath)
    .option('--trial <name>', "whose model (default: the first that has one; a name that there isn't lists them)")
    .addOption(
      new Option('--seed <n>', 'under which seed it was trained (default: the first)').argParser(wholeNumber(1)),
    )
    .option('--text <file>', 'what it reads; characters that the checkpoint does not know are left out', somePath)
    .option('--prompt <text>', 'what it reads, instead of a file')
    .addOption(new Option('--layer <n>', 'only this layer, counted from 1 (default: all)').argParser(wholeNumber(1)))
    .addOption(new Option('--head <n>', 'only this head, counted from 1 (default: all)').argParser(wholeNumber(1)))
    .addOption(
      new Option('--tokens <n>', `the most tokens, up to ${MOST_TOKENS}; later ones are not read`)
        .argParser(wholeNumber(1, MOST_TOKENS))
        .default(TOKENS),
    )
    .option('--out <file>', 'where the page goes (default: inspection.html, or the next free name)', somePath);
  return addDeviceOptions(addWeightsOption(addImportOption(addEncodingOption(command))))
    .addHelpText(
      'after',
      '\nExamples:\n  fast-weights inspect --checkpoint runs/deltanet --prompt "To be, or not to be"\n  fast-weights inspect --checkpoint runs/srwm --text book.txt --layer 1 --head 2 --out srwm.html\n  fast-weights inspect --experiment experiments/parity --trial srwm',
    )
    .action(run);
}

async function run(options: Options, command: Command): Promise<void> {
  const { checkpoint, experiment, text, prompt } = options;
  if ((checkpoint === undefined) === (experiment === undefined)) {
    throw new UsageError(`give --checkpoint or --experiment, ${checkpoint === undefined ? 'one of them' : 'not both'}`);
  }
  const present = experiment !== undefined ? 'experiment' : text === undefined ? 'prompt' : 'text';
  const phrases = { text: 'with --text', prompt: 'with --prompt', experiment: 'with --experiment' };
  if (experiment === undefined && (text === undefined) === (prompt === undefined)) {
    throw new UsageError(`give --text or --prompt, ${text === undefined ? 'one of them' : 'not both'}`);
  }
  checkFlags(command, ACTS, present, phrases);
  const device = chooseDevice(options);
  const { inspection, ...shown } =
    present === 'experiment' ? await ofExperiment(options, device) : await ofCheckpoint(options, present, device);
  const { memories, omitted } = inspection;
  const page = renderInspection(inspection, {
    tokens: shown.tokens,
    subtitle: `${shown.of}; ${inspection.tokens} token${inspection.tokens === 1 ? '' : 's'}; fast-weights ${packageVersion()}`,
  });
  const out = options.out ?? freeFile('inspection');
  await writeFileAtomic(out, (file) => file.writeFile(page));
  if (omitted > 0) {
    console.error(
      `${memories.length} of ${memories.length + omitted} memories are shown; --layer and --head choose others`,
    );
  }
  console.log(`${out}  (${formatBytes(new TextEncoder().encode(page).length)})`);
}

interface Shown {
  inspection: Inspection;
  /** The text of each token. */
  tokens: readonly string[];
  /** Whose model it is. */
  of: string;
}

async function ofExperiment({ experiment, trial, seed, layer, head }: Options, device: Device): Promise<Shown> {
  const found = await inspectExperiment(EXPERIMENTS, experiment!, { trial, seed, layer, head, survey: true, device });
  return { ...found, of: `${experiment}: ${found.experiment}, ${found.trial}, seed ${found.seed}` };
}

async function ofCheckpoint(options: Options, present: 'text' | 'prompt', device: Device): Promise<Shown> {
  const { prompt, layer, head, tokens } = options;
  const dir = await checkpointFolder(options.checkpoint!);
  const tokenizer = await loadTokenizer(dir);
  const all = prompt === undefined ? idsOf(tokenizer, options) : tokenizer.encode(prompt);
  const ids = all.slice(0, tokens);
  if (ids.length === 0) {
    throw new FastWeightsError('INVALID_ARGUMENT', `inspect: --${present} must hold at least one token`, {
      argument: present,
    });
  }
  if (all.length > tokens)
    console.error(`only the first ${tokens} tokens are read; --tokens takes up to ${MOST_TOKENS}`);
  using model = await loadModel(dir, { device, weights: options.weights });
  const inspection = await inspectFastWeights(model, ids, { layer, head, survey: true });
  return { inspection, tokens: ids.map((id) => tokenizer.decode([id])), of: options.checkpoint! };
}

/**
 * More ids of a file than are read, if it has them: of a byte tokenizer its bytes as they are, else what is known, where what
 * is skipped is named if it comes before the last token.
 */
function idsOf(tokenizer: Tokenizer, { text, encoding, tokens }: Options): number[] {
  if (tokenizer.kind === 'byte') {
    if (encoding === undefined) return [...readFirstBytes(text!, tokens + 1)];
    throw argumentError('INVALID_ARGUMENT', 'inspect', 'encoding', 'left out where tokens are bytes', encoding);
  }
  const skipped = new Map<string, number>();
  let count = 0;
  const ids = tokenizer.encode(readBeginning(text!, { encoding, length: (tokens + 1) * CHARACTERS }), {
    onUnknown(part, index) {
      if (index - count++ < tokens) skipped.set(part, (skipped.get(part) ?? 0) + 1);
    },
  });
  noteSkipped(skipped);
  return ids;
}

function freeFile(base: string): string {
  for (let n = 1; ; n++) {
    const file = n === 1 ? `${base}.html` : `${base}-${n}.html`;
    if (!existsSync(file)) return file;
  }
}
