// Other threads of this process, each with an environment of its own.
import { dirname, join, parse } from './files';

const threads = process.getBuiltinModule('node:worker_threads');
const { getPriority, setPriority, constants } = process.getBuiltinModule('node:os');
const { monitorEventLoopDelay } = process.getBuiltinModule('node:perf_hooks');

/** A thread that was started, as the one that started it sees it. */
export interface Thread {
  post(message: unknown): void;
  /** Ends it wherever it is; resolves when it has ended. */
  end(): Promise<void>;
}

/** What is heard of a thread. */
export interface ThreadListener {
  message(message: unknown): void;
  /** Once, when it has ended; an error that nothing in it caught, else undefined. */
  ended(error: unknown): void;
}

const own = typeof __filename === 'string' ? __filename : '';

/** Starts a file of the library, named from its root without an ending: 'server/engine/thread'. */
export function startThread(name: string, data: unknown, listener: ThreadListener): Thread {
  const { ext } = parse(own);
  const path = join(dirname(own), '..', `${name}${ext}`);
  // Where the library runs from its sources, what compiles them is not there yet in a new thread.
  const worker = new threads.Worker(path, {
    workerData: data,
    ...(ext === '.ts' && { execArgv: ['--require=tsx/cjs'] }),
  });
  let failure: unknown;
  worker.on('message', (message) => listener.message(message));
  worker.on('error', (error) => (failure = error));
  worker.on('exit', () => listener.ended(failure));
  return {
    post: (message) => worker.postMessage(message),
    end: async () => void (await worker.terminate()),
  };
}

/** How a thread that `startThread` began talks with the one that began it; an error in any other. */
export function thisThread(): {
  data: unknown;
  post(message: unknown): void;
  listen(hear: (message: unknown) => void): void;
} {
  const { isMainThread, parentPort: port } = threads;
  if (isMainThread || !port) throw new Error('this is no thread that another one has started');
  return {
    data: threads.workerData as unknown,
    post: (message) => port.postMessage(message),
    listen: (hear) => void port.on('message', hear),
  };
}

/** Steps of a scale that ends at 19, on which higher numbers wait for lower ones. */
const LOWER = 5;

/**
 * Lets this thread, and those that it begins from now on, wait for others of the process where there are fewer processors than
 * threads. Only Linux has priorities of threads; elsewhere nothing happens.
 */
export function giveWay(): void {
  // Nobody but root may go up.
  if (process.platform === 'linux') setPriority(0, Math.min(constants.priority.PRIORITY_LOW, getPriority(0) + LOWER));
}

/** Milliseconds between two looks of `watchEventLoop`, of which it takes the delays. */
const RESOLUTION = 1;

/** How late this thread's timers come: quantiles in milliseconds since the last reset. */
export function watchEventLoop(): { quantile(share: number): number; reset(): void; stop(): void } {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  histogram.enable();
  return {
    quantile: (share) => Math.max(0, histogram.percentile(100 * share) / 1e6 - RESOLUTION),
    reset: () => histogram.reset(),
    stop: () => void histogram.disable(),
  };
}
