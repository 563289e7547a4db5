// A model's thread as the thread of HTTP sees it: requests, their events, and what happens when it dies.
import { describe, FastWeightsError } from '../../core';
import { startThread, type Thread } from '../../platform';
import { ApiError, brokenOff, fromWire, GONE, type WireError } from '../errors';
import type { Log } from '../log';
import { Hearing } from './hearing';
import { Places, type PlacesOptions } from './places';
import type {
  Answer,
  EngineSettings,
  EngineStats,
  GenerateJob,
  JobEvent,
  ModelInfo,
  Request,
  Task,
  TaskResults,
} from './protocol';

/** Milliseconds before a thread that died is started again; twice as long each time. */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 60_000;

/** Milliseconds that a thread lives before it counts as one that works. */
const SETTLED = 60_000;

/** One that waits for what its request leads to. */
interface Waiting {
  event(event: JobEvent): void;
  result(result: unknown): void;
  fail(error: ApiError): void;
}

/** The states of an engine. */
export type EngineStatus = 'loading' | 'ready' | 'failed' | 'stopped';

export interface EngineOptions extends PlacesOptions {
  log: Log;
}

/**
 * Runs one model in a thread of its own. A thread that dies fails its requests with an error of status 503 and is started
 * again; until it is ready, requests wait as they do for a place.
 */
export class Engine {
  private thread: Thread | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private restarts = 0;
  private wait = FIRST_WAIT;
  private readonly places: Places;
  private ready: { info: ModelInfo } | null = null;
  private readers: { done(): void; fail(error: unknown): void }[] = [];
  /** What is held, as the thread reported last. */
  stats: EngineStats = {
    states: 0,
    stateBytes: 0,
    prefixStates: 0,
    prefixBytes: 0,
    active: 0,
    tokensPerTick: 0,
    tensorBytes: 0,
  };
  status: EngineStatus = 'loading';
  /** Why there is no model. */
  private reason = 'the server is stopping';

  constructor(
    readonly settings: EngineSettings,
    private readonly options: EngineOptions,
  ) {
    this.places = new Places(options);
    this.start();
  }

  get name(): string {
    return this.settings.name;
  }

  /** Once it has been ready. */
  get info(): ModelInfo | null {
    return this.ready?.info ?? null;
  }

  /** How often the thread died. */
  get deaths(): number {
    return this.restarts;
  }

  get running(): number {
    return this.places.running;
  }

  get queued(): number {
    return this.places.waiting;
  }

  /** Resolves when the model is there; an error that says why where it cannot be loaded. */
  loaded(): Promise<void> {
    if (this.status === 'ready') return Promise.resolve();
    if (this.status !== 'loading') return Promise.reject(new FastWeightsError('IO', this.reason));
    return new Promise((done, fail) => void this.readers.push({ done, fail }));
  }

  /** The same for requests, which are not told why. */
  async available(): Promise<ModelInfo> {
    await this.loaded().catch(() => {
      throw this.unavailable();
    });
    return this.ready!.info;
  }

  /**
   * The events of a generation, an array for each time that the thread has spoken. Ending the iteration or aborting the signal
   * ends the generation; the reason of an abort, where it is an ApiError, is thrown. The place is free when the thread is done with
   * it, however slowly the events are taken.
   */
  async *generate(job: GenerateJob, signal: AbortSignal): AsyncGenerator<JobEvent[]> {
    const leave = await this.enter(job.owner, signal);
    let events: JobEvent[] = [];
    let failure: ApiError | null = null;
    let wake: () => void = () => undefined;
    const id = this.send(
      { job },
      {
        event: (event) => {
          events.push(event);
          if (event.type === 'done') leave();
          wake();
        },
        result: () => undefined,
        fail: (error) => {
          failure = error;
          leave();
          wake();
        },
      },
    );
    let late: NodeJS.Timeout | undefined;
    const cancel = (): void => {
      this.post({ id, cancel: true });
      late ??= setTimeout(() => {
        failure ??= endOf(signal);
        wake();
      }, LATE);
    };
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
    let done = false;
    try {
      while (!done) {
        if (events.length === 0 && failure === null) await new Promise<void>((resolve) => (wake = resolve));
        // What came before a failure is part of the answer.
        if (events.length > 0) {
          const given = events;
          events = [];
          done = given.at(-1)!.type === 'done';
          yield given;
          continue;
        }
        done = true;
        throw reasonOf(signal) ?? failure!;
      }
    } finally {
      signal.removeEventListener('abort', cancel);
      if (!done) cancel();
      clearTimeout(late);
      this.waiting.delete(id);
      leave();
    }
  }

  /** Everything that is no generation; `owner` is whose it is, where it may take long. */
  async perform<K extends Task['kind']>(
    task: Task & { kind: K },
    signal: AbortSignal,
    owner?: string,
  ): Promise<TaskResults[K]> {
    const leave = await this.enter(owner, signal);
    let cancel: (() => void) | undefined;
    let late: NodeJS.Timeout | undefined;
    try {
      return await new Promise<TaskResults[K]>((resolve, reject) => {
        const id = this.send(
          { task },
          {
            event: () => undefined,
            result: (result) => resolve(result as TaskResults[K]),
            fail: (error) => reject(reasonOf(signal) ?? error),
          },
        );
        cancel = () => {
          this.post({ id, cancel: true });
          late ??= setTimeout(() => reject(endOf(signal)), LATE);
        };
        signal.addEventListener('abort', cancel);
      });
    } finally {
      if (cancel) signal.removeEventListener('abort', cancel);
      clearTimeout(late);
      leave();
    }
  }

  /** No more requests; what runs ends by its own signals. The thread ends with the last of them, or after `grace` ms. */
  async stop(grace: number): Promise<void> {
    this.status = 'stopped';
    const end = performance.now() + grace;
    while (this.waiting.size > 0 && performance.now() < end) await new Promise((done) => setTimeout(done, 20));
    this.post({ end: true });
    // What it stores of them is stored.
    const last = performance.now() + LAST;
    while (this.waiting.size > 0 && performance.now() < last) await new Promise((done) => setTimeout(done, 20));
    await this.thread?.end();
  }

  /** Waits for a place; gives what makes it free again. */
  private async enter(owner: string | undefined, signal: AbortSignal): Promise<() => void> {
    if (this.status === 'stopped' || this.status === 'failed') throw this.unavailable();
    if (signal.aborted) throw endOf(signal);
    return this.places.enter(owner ?? '', signal, () => endOf(signal));
  }

  private unavailable(): ApiError {
    const why = this.status === 'stopped' ? 'The server is stopping.' : `The model '${this.name}' is not available.`;
    return new ApiError(503, why, {
      code: this.status === 'stopped' ? 'stopping' : 'model_unavailable',
      retryAfter: 1,
    });
  }

  private send(request: { job: GenerateJob } | { task: Task }, waiting: Waiting): number {
    const id = this.nextId++;
    const settle = <A extends unknown[]>(act: (...values: A) => void): ((...values: A) => void) => {
      return (...values) => {
        this.waiting.delete(id);
        act(...values);
      };
    };
    this.waiting.set(id, {
      event: waiting.event,
      result: settle(waiting.result),
      fail: settle(waiting.fail),
    });
    this.post({ id, ...request });
    return id;
  }

  private post(request: Request): void {
    this.thread?.post(request);
  }

  private start(): void {
    const began = performance.now();
    const hearing = new Hearing((answer) => this.take(answer));
    this.thread = startThread('server/engine/thread', this.settings, {
      message: (message) => hearing.hear(message as Answer),
      ended: (error) => this.died(error, performance.now() - began),
    });
  }

  private take(answer: Answer): void {
    if ('batch' in answer) {
      for (const { id, event } of answer.batch) {
        const waiting = this.waiting.get(id);
        waiting?.event(event);
        if (event.type === 'done') this.waiting.delete(id);
      }
    } else if ('result' in answer) this.waiting.get(answer.id)?.result(answer.result);
    else if ('error' in answer) this.failed(answer);
    else if ('stats' in answer) this.stats = answer.stats;
    else if ('ready' in answer) this.begin(answer.ready);
    else this.unloadable(answer);
  }

  private failed({ id, error }: { id: number; error: WireError }): void {
    if (error.status === undefined || error.status >= 500 || error.code === 'state_damaged') {
      const { message, detail = message } = error;
      this.options.log.error('a request failed in the model', { model: this.name, error: detail });
    }
    // Whoever still waits for what the end of the server broke off may ask again.
    const ended = this.status === 'stopped' && error.status === GONE;
    this.waiting.get(id)?.fail(ended ? this.unavailable() : fromWire(error));
  }

  private begin(info: ModelInfo): void {
    if (this.status === 'stopped') return;
    this.ready = { info };
    this.status = 'ready';
    this.options.log.info('model ready', { model: this.name, milliseconds: Math.round(info.loaded), ...summary(info) });
    for (const { done } of this.readers.splice(0)) done();
    this.places.begin();
  }

  /** Another try would end the same way. */
  private unloadable({ failed }: { failed: WireError }): void {
    this.status = 'failed';
    this.options.log.error('a model cannot be loaded', { model: this.name, error: failed.message });
    this.reason = failed.message;
    for (const { fail } of this.readers.splice(0)) fail(new FastWeightsError('IO', failed.message));
    this.places.refuse(() => this.unavailable());
    void this.thread?.end();
  }

  private died(error: unknown, lived: number): void {
    this.thread = null;
    const status = this.status;
    const lost = new ApiError(503, `The model '${this.name}' was lost while it worked on this request.`, {
      code: 'engine_died',
      retryAfter: 1,
    });
    for (const waiting of [...this.waiting.values()]) waiting.fail(lost);
    if (status === 'stopped' || status === 'failed') return this.places.refuse(() => this.unavailable());
    const why = error instanceof Error ? error.message : describe(error);
    if (this.ready === null) return this.unloadable({ failed: { message: why, code: 'engine_died', param: null } });
    this.status = 'loading';
    this.places.pause();
    this.restarts++;
    if (lived > SETTLED) this.wait = FIRST_WAIT;
    this.options.log.error('the thread of a model died', { model: this.name, error: why, startsInMs: this.wait });
    setTimeout(() => {
      if (this.status === 'loading') this.start();
    }, this.wait).unref();
    this.wait = Math.min(LONGEST_WAIT, 2 * this.wait);
  }
}

/** Milliseconds that a thread has to store what it was broken off at. */
const LAST = 10_000;

function summary({ device, family, parameters, stateBytes, chat, toolForm }: ModelInfo): object {
  return { device, family, parameters, stateBytes, chat, toolForm };
}

/** Milliseconds that a thread has to answer a request that was broken off; it may be at work on something long. */
const LATE = 1000;

const endOf = (signal: AbortSignal): ApiError => reasonOf(signal) ?? brokenOff();

function reasonOf(signal: AbortSignal): ApiError | undefined {
  return signal.aborted && signal.reason instanceof ApiError ? signal.reason : undefined;
}
