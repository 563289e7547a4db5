// `inspect`: a page that shows what the fast weights of a checkpoint do while it reads a text.
import { existsSync, packageVersion } from '../platform';
import { Command, Option } from 'commander';
import { argumentError, FastWeightsError } from '../core';
import { loadTokenizer, type Tokenizer, writeFileAtomic } from '../io';
import { formatBytes } from '../viz';
import { inspectFastWeights, renderInspection } from '../inspect';
import { readBeginning, readFirstBytes, type TextEncoding } from '../data';
import { resolveCheckpoint } from '../train';
import { type Acts, checkFlags, UsageError } from './flags';
import { addImportOption, type ImportOptions, loadModel } from './imports';
import {
  addCheckpointOption,
  addDeviceOptions,
  addEncodingOption,
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
  checkpoint: string;
  text?: string;
  encoding?: TextEncoding;
  prompt?: string;
  layer?: number;
  head?: number;
  tokens: number;
  out?: string;
}

type Case = 'text' | 'prompt';
const ALL: readonly Case[] = ['text', 'prompt'];
const ACTS: Acts<Options, Case> = {
  checkpoint: ALL,
  text: ['text'],
  encoding: ['text'],
  prompt: ['prompt'],
  layer: ALL,
  head: ALL,
  tokens: ALL,
  out: ALL,
  device: ALL,
  threads: ALL,
  import: ALL,
};

export function inspectCommand(): Command {
  const command = addCheckpointOption(new Command('inspect'))
    .description('Shows what fast weights do while a text is read: one HTML page, with a slider over its tokens.')
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
  return addDeviceOptions(addImportOption(addEncodingOption(command)))
    .addHelpText(
      'after',
      '\nExamples:\n  fast-weights inspect --checkpoint runs/deltanet --prompt "To be, or not to be"\n  fast-weights inspect --checkpoint runs/srwm --text book.txt --layer 1 --head 2 --out srwm.html',
    )
    .action(run);
}

async function run(options: Options, command: Command): Promise<void> {
  const { text, prompt, layer, head, tokens } = options;
  if ((text === undefined) === (prompt === undefined)) {
    throw new UsageError(`give --text or --prompt, ${text === undefined ? 'one of them' : 'not both'}`);
  }
  const present = text === undefined ? 'prompt' : 'text';
  checkFlags(command, ACTS, present, { text: 'with --text', prompt: 'with --prompt' });
  const device = chooseDevice(options);
  const dir = await resolveCheckpoint(options.checkpoint);
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
  using model = await loadModel(dir, { device });
  const inspection = await inspectFastWeights(model, ids, { layer, head });
  const { memories, omitted } = inspection;
  const page = renderInspection(inspection, {
    tokens: ids.map((id) => tokenizer.decode([id])),
    subtitle: `${options.checkpoint}; ${ids.length} token${ids.length === 1 ? '' : 's'}; fast-weights ${packageVersion()}`,
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
