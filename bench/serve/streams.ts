// Streams side by side: tokens per second of all together, how long each waits, and how free the server's thread of HTTP is.
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProcess } from '../../test/support/serverProcess';
import { quantile } from '../statistics';
import { Client } from './client';
import { type Effort, type Figure, figure, type ServeCase } from './figure';
import { deltanetFolder } from './folder';

export const ENDLESS = 1_000_000;

/** What a window of some seconds has shown. */
export interface Window {
  tokensPerSecond: number;
  /** Milliseconds between two pieces of one stream, sorted. */
  gaps: number[];
  /** How late the timers of the server were: the 99th of 100, in milliseconds. */
  loopDelay: number;
  /** The share of the time for which other programs held up the thread that they held up most. */
  held: number;
}

/** Resolves when the server is at work on nothing: what was broken off has ended. */
export async function idle(server: ServerProcess): Promise<void> {
  while ((await server.metric('fast_weights_running_requests')) > 0) await sleep(20);
}

/** Watches streams of the same request but for its seed and prompt. */
export async function watch(
  server: ServerProcess,
  streams: number,
  seconds: number,
  options: object = {},
): Promise<Window> {
  const client = new Client(server.url);
  const controller = new AbortController();
  const gaps: number[] = [];
  const last: number[] = [];
  let [tokens, counting] = [0, false];
  let begun: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (begun = resolve));
  const arrived = (stream: number, count: number): void => {
    const now = performance.now();
    if (last[stream] === undefined && Object.keys(last).length === streams - 1) begun();
    if (counting) {
      tokens += count;
      gaps.push(now - last[stream]);
    }
    last[stream] = now;
  };
  const ended = Array.from({ length: streams }, (_, i) => {
    const body = { model: 'small', prompt: [1, 2, i], seed: i, max_tokens: ENDLESS, ...options };
    return client.stream('/v1/completions', body, (count) => arrived(i, count), controller.signal);
  });
  await Promise.race([all, Promise.all(ended)]);
  await sleep(300);
  // Reading it begins the next time that it counts.
  await server.metric('fast_weights_event_loop_delay_p99_seconds');
  const waited = server.heldBack();
  const begin = performance.now();
  counting = true;
  await sleep(1000 * seconds);
  counting = false;
  const took = performance.now() - begin;
  const waits = [...server.heldBack()].map(([task, ms]) => ms - (waited.get(task) ?? 0));
  const loopDelay = 1000 * (await server.metric('fast_weights_event_loop_delay_p99_seconds'));
  controller.abort();
  await Promise.all(ended);
  client.close();
  const held = Math.max(0, ...waits) / took;
  return { tokensPerSecond: (1000 * tokens) / took, gaps: gaps.sort((a, b) => a - b), loopDelay, held };
}

/** Has prompts of 2048 ids read, one after the other, none of which begins as another, until told to stop. */
function readOn(url: string, vocabulary: number): () => Promise<void> {
  const client = new Client(url);
  let stopped = false;
  const done = (async () => {
    while (!stopped) {
      const prompt = Array.from({ length: 2048 }, () => Math.floor(vocabulary * Math.random()));
      await client.ask('/v1/completions', { model: 'small', prompt, max_tokens: 1 });
    }
    client.close();
  })();
  return () => {
    stopped = true;
    return done;
  };
}

const COUNTS = [1, 8, 64];

const SIZES = {
  '3.3M': { vocabulary: 256, gain: 4 },
  '26M': { vocabulary: 1024, gain: 6 },
};

async function measure(size: keyof typeof SIZES, { rounds, seconds }: Effort): Promise<Figure[]> {
  const { vocabulary, gain } = SIZES[size];
  const model = await deltanetFolder(size);
  const server = await ServerProcess.start(model.folder, ['--max-tokens', String(ENDLESS)]);
  const windows = new Map<string, Window[]>();
  const take = async (name: string, streams: number): Promise<void> => {
    windows.set(name, [...(windows.get(name) ?? []), await watch(server, streams, seconds)]);
  };
  try {
    await watch(server, 64, seconds);
    await idle(server);
    for (let round = 0; round < rounds; round++) {
      for (const count of COUNTS) {
        await take(`x${count}`, count);
        await idle(server);
      }
      const stops = [readOn(server.url, vocabulary), readOn(server.url, vocabulary)];
      await take('reading', 8);
      await Promise.all(stops.map((stop) => stop()));
      await idle(server);
    }
  } finally {
    await server.stop();
    model.remove();
  }
  const of = (name: string, read: (window: Window, round: number) => number): number[] => windows.get(name)!.map(read);
  const rate = ({ tokensPerSecond }: Window): number => tokensPerSecond;
  const gap = (p: number) => (window: Window) => quantile(window.gaps, p);
  const beside = (name: string, round: number): Window => windows.get(name)![round];
  return [
    ...COUNTS.map((n) => figure(`streams/tokens/${size}/x${n}`, 'tokens/s', of(`x${n}`, rate))),
    figure(
      `streams/gain/${size}/x64`,
      'x',
      of('x64', (each, i) => rate(each) / rate(beside('x1', i))),
      { least: gain },
    ),
    ...COUNTS.flatMap((n) => [
      figure(`streams/p50/${size}/x${n}`, 'ms', of(`x${n}`, gap(0.5))),
      figure(`streams/p99/${size}/x${n}`, 'ms', of(`x${n}`, gap(0.99))),
    ]),
    ...COUNTS.map((n) =>
      figure(
        `streams/held back/${size}/x${n}`,
        '%',
        of(`x${n}`, ({ held }) => 100 * held),
      ),
    ),
    figure(`streams/reading/tokens/${size}/x8`, 'tokens/s', of('reading', rate)),
    figure(`streams/reading/p99/${size}/x8`, 'ms', of('reading', gap(0.99))),
    figure(
      `streams/reading/p99 over p50/${size}/x8`,
      'x',
      of('reading', (each, i) => gap(0.99)(each) / gap(0.5)(beside('x8', i))),
      { most: 3 },
    ),
    ...[8, 64].map((n) =>
      figure(
        `streams/eventloop/${size}/x${n}`,
        'ms',
        of(`x${n}`, ({ loopDelay }) => loopDelay),
        { most: 5 },
      ),
    ),
  ];
}

export const streamCases: ServeCase[] = (['3.3M', '26M'] as const).map((size) => ({
  name: `streams/${size}`,
  what: '1, 8 and 64 streams; 8 while two clients have prompts of 2048 tokens read',
  run: (effort) => measure(size, effort),
}));
