// A server from its options: the threads of the models, the routes, the socket, and the end.
import { serve as listen, type ServerType } from '@hono/node-server';
import { FastWeightsError } from '../core';
import { join } from '../platform';
import { createFolder, ioError, lockFolder, unlockFolder } from '../io';
import { Engine } from './engine/engine';
import { Bodies } from './http/bodies';
import { createApp } from './http/app';
import { now } from './ids';
import { Keys } from './keys';
import { Limits } from './limits';
import { jsonLog } from './log';
import { Metrics } from './metrics';
import { checkServeOptions, type CheckedOptions, type NamedModel, type ServeOptions } from './options';
import { redisClient } from './redisClient';
import { type ResponseTexts, TextsInFolder, TextsInMemory, TextsInRedis } from './responseTexts';
import type { Services } from './services';
import { Tracing } from './tracing';

/** Characters of the texts of responses that memory keeps, and milliseconds between two looks for what is too old. */
const RESPONSES = 64 * 2 ** 20;
const SWEEP = 3600_000;

/** Seconds after the time of a request in which the end of its answer is to be taken. */
const TAKEN = 3;

/** In the folder of states, beside those of the models, whose names begin otherwise. */
const [LOCKS, TEXTS] = ['_lock', '_responses'];

/** A server that is there. */
export interface RunningServer {
  /** Where it is: `http://127.0.0.1:8000`. */
  readonly url: string;
  readonly port: number;
  /** Resolves when every model takes requests; an error where one cannot be loaded. */
  ready(): Promise<void>;
  /**
   * Takes no more requests and resolves when those that run have ended, or were broken off after the grace that the options
   * give; what they had written for sessions is stored then.
   */
  stop(): Promise<void>;
}

export async function start(given: ServeOptions): Promise<RunningServer> {
  const options = checkServeOptions(given);
  const usual = { concurrent: options.concurrent, tokensPerMinute: options.tokensPerMinute };
  const keys = options.keys === undefined ? Keys.none(usual) : Keys.parse(options.keys, 'serve', usual);
  const log = jsonLog((line) => options.log?.(line));
  const { maxRunning, maxWaiting } = options;
  const responses = textsOf(options);
  const unlock = await takeStates(options.stateFolder);
  const engines = options.models.map(
    (model) => new Engine(settingsOf(options, model), { log, maxRunning, maxWaiting }),
  );
  const metrics = new Metrics(engines);
  const services: Services = {
    engines,
    options,
    keys,
    metrics,
    log,
    limits: new Limits(),
    responses,
    bodies: new Bodies(),
    tracing: Tracing.load(),
    stopping: false,
    since: now(),
  };
  const sweep = (): void => void responses.sweep(now() - options.responseHours * 3600).catch(() => undefined);
  sweep();
  const sweeping = setInterval(sweep, SWEEP).unref();
  const stopAll = async (): Promise<void> => {
    await Promise.all(engines.map((engine) => engine.stop(options.grace * 1000)));
    metrics.stop();
  };
  const release = async (): Promise<void> => {
    clearInterval(sweeping);
    responses.close();
    services.bodies.dispose();
    await unlock();
  };
  let server: ServerType;
  try {
    server = await bind(services, options);
  } catch (error) {
    await stopAll();
    await release();
    throw error;
  }
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : options.port;
  const url = `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`;
  log.info('listening', { url, models: engines.map(({ name }) => name), keys: keys.needed });
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    services.stopping = true;
    log.info('stopping', { running: engines.reduce((sum, { running }) => sum + running, 0), grace: options.grace });
    const closed = new Promise<void>((done) => server.close(() => done()));
    if ('closeIdleConnections' in server) server.closeIdleConnections();
    await stopAll();
    // Answers that were broken off are written.
    await Promise.race([closed, new Promise((done) => setTimeout(done, 500))]);
    if ('closeAllConnections' in server) server.closeAllConnections();
    await closed;
    await release();
    log.info('stopped');
  };
  return {
    url,
    port,
    ready: async () => void (await Promise.all(engines.map((engine) => engine.loaded()))),
    stop: () => (stopped ??= stop()),
  };
}

/** Makes the folder of states this server's alone, until what is given is called; a process that was killed holds none. */
async function takeStates(folder: string | undefined): Promise<() => Promise<void>> {
  if (folder === undefined) return async () => undefined;
  const locks = join(folder, LOCKS);
  try {
    await createFolder(locks);
    await lockFolder(locks, { alone: true });
  } catch (error) {
    const cause = ioError('serve', locks, error);
    const message = `serve: the folder of states ${folder} cannot be taken: ${cause.message}`;
    throw new FastWeightsError('IO', message, { argument: 'stateFolder', cause });
  }
  return () => unlockFolder(locks);
}

function textsOf({ redis, stateFolder, responseHours }: CheckedOptions): ResponseTexts {
  if (redis !== undefined) return new TextsInRedis(redisClient(redis), responseHours * 3600);
  return stateFolder === undefined ? new TextsInMemory(RESPONSES) : new TextsInFolder(join(stateFolder, TEXTS));
}

function bind(services: Services, { host, port, requestTimeout }: CheckedOptions): Promise<ServerType> {
  const app = createApp(services);
  return new Promise((resolve, reject) => {
    const server = listen({ fetch: app.fetch, hostname: host, port }, () => {
      server.off('error', fail);
      resolve(server);
    });
    boundAnswers(server, (requestTimeout + TAKEN) * 1000);
    const fail = (cause: Error): void => {
      reject(new FastWeightsError('IO', `serve: ${host}:${port} cannot be listened on: ${cause.message}`, { cause }));
    };
    server.once('error', fail);
  });
}

/** What is used of Node's. */
interface Answer {
  destroy(): void;
  once(event: 'close', act: () => void): void;
}

/** Ends the connection of a client that has not taken its answer after so many milliseconds: it would hold on to it for good. */
function boundAnswers(server: ServerType, milliseconds: number): void {
  server.on('request', (_: unknown, answer: Answer) => {
    const timer = setTimeout(() => answer.destroy(), milliseconds).unref();
    answer.once('close', () => clearTimeout(timer));
  });
}

/** Another one for each name. */
const folderOf = (name: string): string =>
  name.replace(/[^A-Za-z0-9.-]/g, (letter) => `_${letter.charCodeAt(0).toString(16)}_`);

function settingsOf(options: CheckedOptions, model: NamedModel): Engine['settings'] {
  const { name, folder, draft, adapters, device = options.device } = model;
  const { imports, dtype, weights, threads, chatTemplate, stateFolder, stateBytes, maxPromptTokens } = options;
  return {
    name,
    folder,
    draft,
    adapters,
    imports,
    device,
    dtype,
    weights,
    threads,
    chatTemplate,
    // No name leads out of the folder.
    stateFolder: stateFolder === undefined ? undefined : join(stateFolder, folderOf(name)),
    stateBytes,
    prefixBytes: options.prefixBytes,
    redis: options.redis,
    maxRunning: options.maxRunning,
    maxPromptTokens,
    maxStates: options.maxStates,
    responseHours: options.responseHours,
  };
}
