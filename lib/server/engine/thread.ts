// The thread of a model: takes requests, gives tokens in batches.
import '../../ops';
import { giveWay, thisThread } from '../../platform';
import { brokenOff, toWire } from '../errors';
import { Gathering } from './gathering';
import { generation } from './generation';
import { Host } from './host';
import type { Answer, EngineSettings, Request } from './protocol';

/** Milliseconds between two reports of what is held, and between two looks for what is too old. */
const REPORT = 1000;
const SWEEP = 3600_000;

const { data, post, listen } = thisThread();
const settings = data as EngineSettings;
const say = (answer: Answer): void => post(answer);

const said = new Gathering(say);

async function answer(
  host: Host,
  request: Exclude<Request, { end: true } | { cancel: true }>,
  signal: AbortSignal,
): Promise<void> {
  const { id } = request;
  try {
    if ('job' in request) for await (const event of generation(host, request.job, signal)) said.give(id, event);
    else say({ id, result: await host.perform(request.task, signal) });
  } catch (error) {
    said.flush();
    say({ id, error: toWire(error) });
  }
}

async function main(): Promise<void> {
  const running = new Map<number, AbortController>();
  let ended = false;
  const held: Request[] = [];
  let take = (request: Request): void => void held.push(request);
  listen((request) => take(request as Request));
  // Before the first thread that computes: the thread of HTTP has little to do, and is waited for.
  giveWay();
  const host = await Host.load(settings);
  take = (request) => {
    if ('end' in request) {
      ended = true;
      for (const controller of running.values()) controller.abort();
    } else if ('cancel' in request) running.get(request.id)?.abort();
    else if (ended) say({ id: request.id, error: toWire(brokenOff()) });
    else {
      const controller = new AbortController();
      running.set(request.id, controller);
      void answer(host, request, controller.signal).finally(() => running.delete(request.id));
    }
  };
  say({ ready: host.info });
  held.splice(0).forEach((request) => take(request));
  const sweep = (): void => void host.sweep().catch(() => undefined);
  sweep();
  setInterval(sweep, SWEEP).unref();
  setInterval(() => say({ stats: host.stats }), REPORT).unref();
}

main().catch((error: unknown) => {
  say({ failed: toWire(error) });
});
