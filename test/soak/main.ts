// The soak: a service with eight conversations and the library's server with four, requests broken off at random, three workers
// terminated every second and two trainers, for minutes. Fails on any error and on memory that grows; says how long timers wait.
// package.json starts it with a small heap: an engine with room lets its heap grow for minutes, which looks like a leak.
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import * as fw from '../../lib';
import type * as room from '../../lib/server';
import { smallModel } from '../server/folder';
import { SERVER } from '../support/library';
import type { LoadReport } from './load';
import { Monitor } from './monitor';
import { Service } from './server';

const USAGE = `Usage: npm run soak -- [options]

  --minutes <x>        how long (default: 20)
  --conversations <n>  at a time (default: 8), and half as many with the server
  --url <url>          a service to load instead of the soak's own, with OpenAI's POST /v1/completions
  --strict             hold a timer of 1 ms to 10 ms (99 %), too: for a machine with no other work
`;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    conversations: { type: 'string', default: '8' },
    url: { type: 'string' },
    strict: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const WORKER = join(__dirname, 'worker.mjs');
/** Less of what the engine has not yet collected, so that what is lost shows. */
const HEAP = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 };
const TERMINATED_PER_SECOND = 3;
/** MiB; in the first minutes the engine's own heaps still grow, so that a short soak sees only what is lost fast. */
const mostGrowth = (minutes: number): number => (minutes < 3 ? 128 : 32);
const MOST_DELAY = 10;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Starts workers and ends each at a moment of its own. */
async function churn(signal: AbortSignal, failures: string[]): Promise<number> {
  let ended = 0;
  const end = async (worker: Worker, age: number): Promise<void> => {
    await sleep(age);
    await worker.terminate();
    ended++;
  };
  const under: Promise<void>[] = [];
  while (!signal.aborted) {
    const worker = new Worker(WORKER, { workerData: { role: 'churn' }, resourceLimits: HEAP });
    worker.on('error', (error) => failures.push(`a worker: ${error.message}`));
    under.push(end(worker, 200 + Math.random() * 600));
    if (under.length > 8) await under.shift();
    await sleep(1000 / TERMINATED_PER_SECOND);
  }
  await Promise.all(under);
  return ended;
}

function train(dir: string, seed: number, failures: string[]): { stop(): Promise<number> } {
  const device = fw.devices().some((d) => d.device === 'cpu' && d.available) ? 'cpu' : 'js';
  const worker = new Worker(WORKER, { workerData: { role: 'train', dir, seed, device }, resourceLimits: HEAP });
  let step = 0;
  const over = new Promise<void>((resolve) => {
    worker.on('message', (message: { step: number }) => (step = message.step));
    worker.on('error', (error) => failures.push(`a trainer: ${error.message}`));
    worker.on('exit', () => resolve());
  });
  return {
    async stop() {
      worker.postMessage('stop');
      await over;
      return step;
    },
  };
}

/** The conversations, in a process of their own. */
function startClients(kind: 'service' | 'server', url: string, conversations: number): { stop(): Promise<LoadReport> } {
  const child = fork(join(__dirname, 'client.ts'), [kind, url, String(conversations)]);
  const report = new Promise<LoadReport>((resolve, reject) => {
    child.once('message', (message) => resolve(message as LoadReport));
    child.once('exit', (code) => reject(new Error(`the load ended with code ${code}`)));
  });
  return {
    stop() {
      child.send('stop');
      return report;
    },
  };
}

/** The library's server of a small model, with a thread of its own, and states in a folder. */
async function startServer(stateFolder: string, failures: string[]): Promise<room.RunningServer> {
  const { serve } = (await import(SERVER)) as typeof room;
  const { folder } = await smallModel();
  const log = (line: string): void => {
    const { level } = JSON.parse(line) as { level: string };
    if (level === 'error') failures.push(`the server: ${line.trim()}`);
  };
  const models = [{ folder, name: 'small' }];
  // Little, so that it is full soon.
  const memory = { stateBytes: 2 ** 20, prefixBytes: 2 ** 20 };
  const server = await serve({ models, port: 0, stateFolder, ...memory, log });
  await server.ready();
  rmSync(folder, { recursive: true });
  return server;
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  const minutes = Number(values.minutes);
  const warm = Math.min(60, Math.floor(20 * minutes));
  const failures: string[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'fast-weights-soak-'));
  const service = new Service();
  const url = values.url ?? (await service.listen());
  const server = await startServer(join(folder, 'states'), failures);
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort());
  const monitor = new Monitor();
  const trainers = [1, 2].map((seed) => train(join(folder, `${seed}`), seed, failures));
  const conversations = Number(values.conversations);
  const clients = startClients('service', url, conversations);
  const serverClients = startClients('server', server.url, Math.ceil(conversations / 2));
  const churning = churn(controller.signal, failures);
  for (const end = performance.now() + minutes * 60_000; performance.now() < end && !controller.signal.aborted;) {
    await sleep(Math.min(10_000, Math.max(0, end - performance.now())));
    const resident = monitor.resident.at(-1)?.toFixed(0);
    console.error(`${resident} MiB resident, timers ${monitor.late(0.99).toFixed(1)} ms late (99 %)`);
  }
  controller.abort();
  const [report, served] = await Promise.all([clients.stop(), serverClients.stop()]);
  const ended = await churning;
  const steps = await Promise.all(trainers.map((trainer) => trainer.stop()));
  monitor.stop();
  await service.close();
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
  failures.push(...report.failures, ...service.failures, ...served.failures);
  const growth = monitor.growth(warm);
  const held = monitor.held(0.99);
  const late = monitor.late(0.99);
  console.log(
    [
      `${report.requests} requests: ${report.finished} finished, ${report.aborted} broken off; ${service.tokens} tokens`,
      `${served.requests} of the server: ${served.finished} finished, ${served.aborted} broken off; ${served.events} events`,
      `${ended} workers terminated, trainers at steps ${steps.join(' and ')}`,
      `resident memory grew by ${growth.toFixed(1)} MiB between the halves of what came after ${warm} s`,
      `timers late by ${monitor.late(0.5).toFixed(2)} ms (median), ${late.toFixed(1)} ms (99 %)`,
      `of it by the thread's own work: ${monitor.held(0.5).toFixed(2)} ms (median), ${held.toFixed(1)} ms (99 %)`,
    ].join('\n'),
  );
  if (steps.some((step) => step === 0)) failures.push('a trainer has not trained');
  if (report.finished === 0 || served.finished === 0) failures.push('no request was finished');
  if (growth > mostGrowth(minutes)) failures.push(`memory grows: ${growth.toFixed(1)} MiB`);
  if (values.strict && late > MOST_DELAY) failures.push(`timers wait ${late.toFixed(1)} ms`);
  for (const failure of failures.slice(0, 10)) console.error(`FAILED: ${failure}`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

void main();
