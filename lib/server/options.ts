// What a server is started with.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkObject,
  checkOptions,
  checkString,
  describe,
  type OptionNames,
} from '../core';
import { checkDevice } from '../backends';
import type { EngineSettings } from './engine/protocol';

/** A model that is served. */
export interface ServedModel {
  /** A model folder. */
  folder: string;
  /** What requests call it; the folder's name by default. */
  name?: string;
  /** Folder of a smaller model of the same vocabulary, which guesses tokens where a request asks for it; none by default. */
  draft?: string;
  /** Folders of adapters in the layout of peft, by name: a request asks for one as the model `name:adapter`. None by default. */
  adapters?: Readonly<Record<string, string>>;
  /** Its device, such as `cuda:1`; that of all models by default. */
  device?: string;
}

/** With its name. */
export type NamedModel = ServedModel & Required<Pick<ServedModel, 'name' | 'adapters'>>;

/** Options of `serve`. */
export interface ServeOptions {
  /** At least one. */
  models: readonly ServedModel[];
  /** '127.0.0.1' by default; an address that others reach needs keys. */
  host?: string;
  /** 8000 by default; 0 takes any that is free. */
  port?: number;
  /** The text of a file of keys; anyone may ask without. */
  keys?: string;
  /** Serves anyone at an address that others reach, false by default: for servers behind one that asks for keys itself. */
  insecure?: boolean;
  /** Folder for states of conversations, which then survive the process; in memory only by default. */
  stateFolder?: string;
  /**
   * URL of a Redis that any number of servers of the same models share states through, in place of a folder: `redis://host:6379`.
   * Needs the package `ioredis`.
   */
  redis?: string;
  /** What states in memory may take, of each model; 1 GiB by default. */
  stateBytes?: number;
  /** What states may take, of each model, from which prompts go on that begin alike; 256 MiB by default, 0 keeps none. */
  prefixBytes?: number;
  /** Hours that states and texts of /v1/responses are kept, 720 by default. */
  responseHours?: number;
  /** States that a key may have in the folder or in memory, 10,000 by default. */
  maxStates?: number;
  /** Most tokens of an answer, 4096 by default. */
  maxTokens?: number;
  /** Most tokens that a request may have read, 131,072 by default. */
  maxPromptTokens?: number;
  /** Most bytes of a body, 4 MiB by default. */
  maxBodyBytes?: number;
  /** Requests that a model is at work on at the same time, 64 by default; others wait. */
  maxRunning?: number;
  /** Requests that wait for a model, 256 by default; others are refused with 503. */
  maxWaiting?: number;
  /** Seconds that a request may take, 600 by default. */
  requestTimeout?: number;
  /** Seconds that requests have to end when the server stops, 30 by default. */
  grace?: number;
  /**
   * Requests at the same time, of each key that does not say otherwise; without keys of all together. One of several prompts counts
   * for each that is at work. No limit by default.
   */
  concurrent?: number;
  /** Tokens that are read and written in a minute, likewise. */
  tokensPerMinute?: number;
  /** Whether texts of requests and answers are in the log, false by default. */
  logTexts?: boolean;
  /** Where lines of the log go; nowhere by default. */
  log?: (line: string) => void;
  /** The device of all models, the default one without. */
  device?: string;
  /** What weights are cast to, float32 by default. */
  dtype?: EngineSettings['dtype'];
  /** What the weights of projections are packed into: less memory and more tokens per second for a digit or two. */
  weights?: EngineSettings['weights'];
  /** Threads of the cpu device. */
  threads?: number;
  /** A file with a chat template, in the place of those of the folders. */
  chatTemplate?: string;
  /** Modules that register models or rules. */
  imports?: readonly string[];
}

const OPTIONS: OptionNames<ServeOptions> = {
  models: true,
  host: true,
  port: true,
  keys: true,
  insecure: 'flag',
  stateFolder: true,
  redis: true,
  stateBytes: true,
  prefixBytes: true,
  responseHours: true,
  maxStates: true,
  maxTokens: true,
  maxPromptTokens: true,
  maxBodyBytes: true,
  maxRunning: true,
  maxWaiting: true,
  requestTimeout: true,
  grace: true,
  concurrent: true,
  tokensPerMinute: true,
  logTexts: 'flag',
  log: true,
  device: true,
  dtype: true,
  weights: true,
  threads: true,
  chatTemplate: true,
  imports: true,
};

/** With defaults filled in. */
export type CheckedOptions = Omit<Required<ServeOptions>, Optional | 'models'> &
  Pick<ServeOptions, Optional> & { models: readonly NamedModel[] };
type Optional =
  | 'keys'
  | 'stateFolder'
  | 'redis'
  | 'concurrent'
  | 'tokensPerMinute'
  | 'log'
  | 'device'
  | 'dtype'
  | 'weights'
  | 'threads'
  | 'chatTemplate';

const MEBIBYTE = 2 ** 20;

export function checkServeOptions(options: ServeOptions): CheckedOptions {
  const where = 'serve';
  checkOptions(where, options, OPTIONS);
  const whole = (name: keyof ServeOptions, usual: number, least = 1, most?: number): number =>
    checkInteger(where, name, options[name] ?? usual, least, most);
  const { host = '127.0.0.1', insecure = false, concurrent, tokensPerMinute } = options;
  if (concurrent !== undefined) checkInteger(where, 'concurrent', concurrent, 1);
  if (tokensPerMinute !== undefined) checkInteger(where, 'tokensPerMinute', tokensPerMinute, 1);
  if (!isLoopback(host) && options.keys === undefined && !insecure) {
    const expected = 'a loopback address (127.0.0.1) where there are no keys';
    throw argumentError('INVALID_ARGUMENT', where, 'host', expected, JSON.stringify(host));
  }
  if (options.redis !== undefined) {
    checkString(where, 'redis', options.redis);
    if (options.stateFolder !== undefined) {
      throw argumentError(
        'INVALID_ARGUMENT',
        where,
        'stateFolder',
        'left out with redis',
        describe(options.stateFolder),
      );
    }
  }
  return {
    ...options,
    models: checkModels(options.models),
    host,
    insecure,
    port: whole('port', 8000, 0, 65_535),
    stateBytes: whole('stateBytes', 1024 * MEBIBYTE),
    prefixBytes: whole('prefixBytes', 256 * MEBIBYTE, 0),
    responseHours: checkNumber(where, 'responseHours', options.responseHours ?? 720, 0),
    maxStates: whole('maxStates', 10_000),
    maxTokens: whole('maxTokens', 4096),
    maxPromptTokens: whole('maxPromptTokens', 131_072),
    maxBodyBytes: whole('maxBodyBytes', 4 * MEBIBYTE),
    maxRunning: whole('maxRunning', 64),
    maxWaiting: whole('maxWaiting', 256, 0),
    // Timers count 31 bits of milliseconds.
    requestTimeout: checkNumber(where, 'requestTimeout', options.requestTimeout ?? 600, 0.001, 2_000_000),
    grace: checkNumber(where, 'grace', options.grace ?? 30, 0, 2_000_000),
    logTexts: options.logTexts ?? false,
    imports: options.imports ?? [],
  };
}

function checkModels(models: unknown): NamedModel[] {
  if (!Array.isArray(models) || models.length === 0) {
    throw argumentError('INVALID_ARGUMENT', 'serve', 'models', 'a list of at least one model', describe(models));
  }
  const named = (models as readonly ServedModel[]).map(
    ({ folder, name = nameOf(folder), draft, adapters = {}, device }) => ({
      folder,
      name,
      draft,
      adapters,
      device,
    }),
  );
  for (const [i, { name, draft, adapters, device }] of named.entries()) {
    checkAdapters(`models[${i}].adapters`, adapters);
    if (device !== undefined) checkDevice('serve', `models[${i}].device`, device);
    if (draft !== undefined) checkString('serve', `models[${i}].draft`, draft);
    if (!/^[A-Za-z0-9][\w.:@/-]{0,99}$/.test(name)) {
      const expected = 'named with letters, digits and . _ : @ / -';
      throw argumentError('INVALID_ARGUMENT', 'serve', `models[${i}]`, expected, JSON.stringify(name));
    }
    if (named.findIndex((other) => other.name === name) < i) {
      throw argumentError('INVALID_ARGUMENT', 'serve', `models[${i}]`, 'named as no other is', JSON.stringify(name));
    }
  }
  return named;
}

function checkAdapters(argument: string, adapters: Readonly<Record<string, string>>): void {
  checkObject('serve', argument, adapters);
  for (const [name, folder] of Object.entries(adapters)) {
    checkString('serve', `${argument}.${name}`, folder);
    if (/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) continue;
    throw argumentError(
      'INVALID_ARGUMENT',
      'serve',
      argument,
      'named with letters, digits and . _ -',
      JSON.stringify(name),
    );
  }
}

function nameOf(folder: string): string {
  return folder
    .replace(/[\\/]+$/, '')
    .replace(/^.*[\\/]/, '')
    .replace(/[^\w.-]/g, '-');
}

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '');
  return bare === 'localhost' || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare);
}
