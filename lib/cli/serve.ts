// `serve`: models over HTTP, in OpenAI's forms, until a signal ends it.
import { Command, Option } from 'commander';
import { expectedDevice, parseDevice } from '../backends';
import { FastWeightsError } from '../core';
import { readText } from '../io';
import { environment } from '../platform';
import { requirePackages, serve, type ServedModel } from '../server';
import { UsageError } from './flags';
import { addImportOption, type ImportOptions, importsOf } from './imports';
import { withInterrupt } from './interrupt';
import {
  addWeightsOption,
  checkpointFolder,
  decimal,
  type DeviceOptions,
  addDeviceOptions,
  chooseDevice,
  somePath,
  someText,
  wholeNumber,
} from './options';

interface ServeFlags extends DeviceOptions, ImportOptions {
  model: string[];
  draft?: string[];
  adapter?: string[];
  modelDevice?: string[];
  host: string;
  port: number;
  keys?: string;
  insecure?: boolean;
  states?: string;
  redis?: string;
  stateMemory: number;
  prefixMemory: number;
  responseHours: number;
  maxStates: number;
  maxTokens: number;
  maxPromptTokens: number;
  maxBody: number;
  maxRunning: number;
  maxWaiting: number;
  timeout: number;
  grace: number;
  concurrent?: number;
  tokensPerMinute?: number;
  chatTemplate?: string;
  dtype?: 'float32' | 'bfloat16';
  weights?: 'bfloat16' | 'int8';
  logTexts?: boolean;
}

const KEYS = 'FAST_WEIGHTS_API_KEYS';
const MEBIBYTE = 2 ** 20;

export function serveCommand(): Command {
  const number = (flags: string, description: string, usual: number, least = 1): Option =>
    new Option(flags, description).argParser(wholeNumber(least)).default(usual);
  const command = new Command('serve')
    .description("Serves models over HTTP in the forms of OpenAI's API, each in a thread of its own.")
    .addOption(
      new Option('--model <[name=]dir>', 'a run folder, a checkpoint or a pretrained model; may be given several times')
        .argParser((text: string, before: string[] = []) => [...before, somePath(text)])
        .makeOptionMandatory(),
    )
    .addOption(
      new Option(
        '--draft <[name=]dir>',
        'a smaller model of the same vocabulary, which guesses tokens for the model of that name where a request asks for it; may be given several times',
      ).argParser((text: string, before: string[] = []) => [...before, somePath(text)]),
    )
    .addOption(
      new Option(
        '--adapter <[model:]name=dir>',
        'an adapter in the layout of peft, which requests ask for as the model model:name; may be given several times',
      ).argParser((text: string, before: string[] = []) => [...before, somePath(text)]),
    )
    .addOption(
      new Option(
        '--model-device <name=device>',
        'the device of one model, such as cuda:1; may be given several times (default: that of --device)',
      ).argParser((text: string, before: string[] = []) => [...before, text]),
    )
    .addOption(new Option('--host <address>', 'where to listen').argParser(someText).default('127.0.0.1'))
    .addOption(new Option('--port <n>', '0 takes a free one').argParser(wholeNumber(0, 65_535)).default(8000))
    .option(
      '--keys <file>',
      `API keys, one in a line (or ${KEYS}, with commas); without any, only this machine may ask`,
      somePath,
    )
    .option('--insecure', 'serve anyone at an address that others reach, without keys')
    .option('--states <dir>', 'keep states of conversations in this folder, where they survive the process', somePath)
    .addOption(
      new Option('--redis <url>', 'keep them in a Redis that several servers share, such as redis://localhost:6379')
        .argParser(someText)
        .conflicts('states'),
    )
    .addOption(number('--state-memory <MiB>', 'what states in memory may take, of each model', 1024))
    .addOption(
      number('--prefix-memory <MiB>', 'what states may take from which prompts go on that begin alike', 256, 0),
    )
    .addOption(number('--response-hours <n>', 'hours that states and texts of /v1/responses are kept', 720, 0))
    .addOption(number('--max-states <n>', 'states that a key may have', 10_000))
    .addOption(number('--max-tokens <n>', 'most tokens of an answer', 4096))
    .addOption(number('--max-prompt-tokens <n>', 'most tokens that a request may have read', 131_072))
    .addOption(number('--max-body <KiB>', 'most of a body', 4096))
    .addOption(number('--max-running <n>', 'requests that a model is at work on at the same time', 64))
    .addOption(number('--max-waiting <n>', 'requests that wait for a model; others are refused', 256, 0))
    .addOption(
      new Option('--timeout <s>', 'seconds that a request may take').argParser(decimal(0, 2e6, true)).default(600),
    )
    .addOption(
      new Option('--grace <s>', 'seconds that requests have to end at a signal').argParser(decimal(0, 2e6)).default(30),
    )
    .addOption(new Option('--concurrent <n>', 'requests of a key at the same time').argParser(wholeNumber(1)))
    .addOption(new Option('--tokens-per-minute <n>', 'tokens of a key in a minute').argParser(wholeNumber(1)))
    .option('--chat-template <file>', 'a chat template in the place of those of the models', somePath)
    .addOption(new Option('--dtype <dtype>', 'what weights are cast to').choices(['float32', 'bfloat16']))
    .option('--log-texts', 'write texts of requests and answers into the log');
  return addDeviceOptions(addWeightsOption(addImportOption(command)))
    .addHelpText(
      'after',
      `\nThe log is on standard error, a line of JSON for each event. docs/serving.md has the endpoints.\n\nExamples:\n  fast-weights serve --model runs/deltanet\n  fast-weights serve --model chat=models/qwen --host 0.0.0.0 --keys keys.txt --states states`,
    )
    .action(run);
}

async function run(flags: ServeFlags): Promise<void> {
  requirePackages('serve');
  const device = chooseDevice(flags);
  const models: ServedModel[] = [];
  for (const given of flags.model) models.push(await servedModel(given));
  for (const given of flags.draft ?? []) await addDraft(given, models);
  for (const given of flags.adapter ?? []) addAdapter(given, models);
  for (const given of flags.modelDevice ?? []) placeModel(given, models);
  const keys = await keysOf(flags);
  if (flags.insecure && keys !== undefined) throw new UsageError('--insecure cannot be given with keys, only without');
  await withInterrupt(async (signal) => {
    const server = await serve({
      models,
      host: flags.host,
      port: flags.port,
      keys,
      insecure: flags.insecure,
      stateFolder: flags.states,
      redis: flags.redis,
      stateBytes: flags.stateMemory * MEBIBYTE,
      prefixBytes: flags.prefixMemory * MEBIBYTE,
      responseHours: flags.responseHours,
      maxStates: flags.maxStates,
      maxTokens: flags.maxTokens,
      maxPromptTokens: flags.maxPromptTokens,
      maxBodyBytes: flags.maxBody * 1024,
      maxRunning: flags.maxRunning,
      maxWaiting: flags.maxWaiting,
      requestTimeout: flags.timeout,
      grace: flags.grace,
      concurrent: flags.concurrent,
      tokensPerMinute: flags.tokensPerMinute,
      logTexts: flags.logTexts,
      device,
      dtype: flags.dtype,
      weights: flags.weights,
      threads: flags.threads,
      chatTemplate: flags.chatTemplate,
      imports: importsOf(flags),
      log: (line) => process.stderr.write(line),
    });
    try {
      const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      await Promise.race([server.ready(), aborted]);
      if (!signal.aborted) console.log(server.url);
      await aborted;
    } finally {
      await server.stop();
    }
  }, '');
}

/** `name=dir`, or a folder alone. */
function named(given: string): { name: string | undefined; dir: string } {
  const [, name, dir] = /^(?:([\w.:@-]+)=)?(.+)$/.exec(given)!;
  return { name, dir };
}

/** A model of a folder alone has its name. */
async function servedModel(given: string): Promise<ServedModel> {
  const { name, dir } = named(given);
  return { name: name ?? nameOf(dir), folder: await checkpointFolder(dir, '--model') };
}

/** A draft of a folder alone is that of the only model. */
async function addDraft(given: string, models: readonly ServedModel[]): Promise<void> {
  const { name, dir } = named(given);
  const model = name === undefined && models.length === 1 ? models[0] : models.find((each) => each.name === name);
  if (!model) {
    const names = models.map((each) => each.name).join(', ');
    throw new UsageError(`--draft must be name=dir with the name of a model (${names}), got ${given}`);
  }
  if (model.draft !== undefined) throw new UsageError(`--draft is given twice for ${model.name}`);
  model.draft = await checkpointFolder(dir, '--draft');
}

/** An adapter without a model's name is that of the only model. */
function addAdapter(given: string, models: readonly ServedModel[]): void {
  const [, of, name, dir] = /^(?:([\w.:@-]+):)?([\w.-]+)=(.+)$/.exec(given) ?? [];
  const model = of === undefined && models.length === 1 ? models[0] : models.find((each) => each.name === of);
  if (!model || name === undefined) {
    const names = models.map((each) => each.name).join(', ');
    throw new UsageError(`--adapter must be model:name=dir with the name of a model (${names}), got ${given}`);
  }
  if (model.adapters && Object.hasOwn(model.adapters, name))
    throw new UsageError(`--adapter is given twice for ${name}`);
  model.adapters = { ...model.adapters, [name]: dir };
}

function placeModel(given: string, models: readonly ServedModel[]): void {
  const [, of, device] = /^([\w.:@-]+)=(.+)$/.exec(given) ?? [];
  const model = models.find((each) => each.name === of);
  if (!model || !parseDevice(device)) {
    const names = models.map((each) => each.name).join(', ');
    throw new UsageError(
      `--model-device must be name=device with the name of a model (${names}) and ${expectedDevice()}, got ${given}`,
    );
  }
  if (model.device !== undefined) throw new UsageError(`--model-device is given twice for ${model.name}`);
  model.device = device;
}

/** The last part of a path that says something. */
function nameOf(dir: string): string {
  const parts = dir.split(/[\\/]+/).filter((part) => part !== '' && part !== '.' && part !== '..');
  return parts.at(-1)?.replace(/[^\w.-]/g, '-') ?? 'model';
}

async function keysOf({ keys }: ServeFlags): Promise<string | undefined> {
  if (keys === undefined) return environment(KEYS)?.split(',').join('\n');
  if (environment(KEYS) !== undefined) {
    throw new FastWeightsError('INVALID_ARGUMENT', `serve: --keys and ${KEYS} are both given; one of them is enough`, {
      argument: 'keys',
    });
  }
  return readText(keys, 'serve');
}
