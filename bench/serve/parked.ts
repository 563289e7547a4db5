// Conversations that nobody talks to: what they take, how soon they answer, what a copy of a large one costs.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProcess } from '../../test/support/serverProcess';
import { Client } from './client';
import { type Effort, type Figure, figure, type ServeCase } from './figure';
import { deltanetFolder, largeStateFolder, type ModelFolder } from './folder';

const SESSIONS = 10_000;
const WAKES = 200;

/** Sessions of texts of 8 tokens, 16 of them begun at a time. */
async function park(client: Client, count: number): Promise<string[]> {
  const ids: string[] = [];
  let begun = 0;
  const next = async (): Promise<void> => {
    while (begun < count) {
      const prompt = Array.from({ length: 8 }, (_, i) => (begun * 31 + i * 7) % 256);
      begun++;
      ids.push((await client.ask<{ id: string }>('/v1/sessions', { model: 'small', prompt })).id);
    }
  };
  await Promise.all(Array.from({ length: 16 }, next));
  return ids;
}

/** Milliseconds to the first token of a turn of one token, of sessions here and there. */
async function wake(client: Client, ids: readonly string[], count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const id = ids[(i * 7919) % ids.length];
    const begin = performance.now();
    const body = { model: 'small', prompt: [1, 2], max_tokens: 1 };
    let first: number | undefined;
    await client.stream(`/v1/sessions/${id}/completions`, body, () => (first ??= performance.now() - begin));
    times.push(first!);
  }
  return times;
}

async function held(server: ServerProcess): Promise<{ resident: number; states: number }> {
  // What the model's thread reports once a second.
  await sleep(1500);
  return {
    resident: await server.metric('process_resident_memory_bytes'),
    states: await server.metric('fast_weights_state_bytes'),
  };
}

async function serving<T>(
  folder: Promise<ModelFolder>,
  options: readonly string[],
  use: (client: Client, server: ServerProcess) => Promise<T>,
): Promise<T> {
  const model = await folder;
  const server = await ServerProcess.start(model.folder, options);
  const client = new Client(server.url);
  try {
    return await use(client, server);
  } finally {
    client.close();
    await server.stop();
    model.remove();
  }
}

const figuresOfWakes = (name: string, times: number[]): Figure[] => [
  figure(`${name}/wake`, 'ms', times),
  figure(`${name}/wake/longest`, 'ms', [Math.max(...times)], { most: 20 }),
];

async function inMemory({ share }: Effort): Promise<Figure[]> {
  const count = Math.round(SESSIONS * share);
  const options = ['--state-memory', '16384', '--max-states', String(2 * SESSIONS), '--prefix-memory', '0'];
  return serving(deltanetFolder('3.3M'), options, async (client, server) => {
    // Until then the server's own memory grows.
    await wake(client, await park(client, 200), 50);
    const before = await held(server);
    const ids = await park(client, count);
    const after = await held(server);
    const [resident, states] = [after.resident - before.resident, after.states - before.states];
    return [
      figure('parked/sessions', 'sessions', [ids.length]),
      figure('parked/memory', 'KiB each', [resident / count / 1024]),
      figure('parked/memory/over states', 'x', [resident / states], { most: 1.1 }),
      ...figuresOfWakes('parked', await wake(client, ids, WAKES)),
    ];
  });
}

async function inFolder({ share }: Effort): Promise<Figure[]> {
  const states = mkdtempSync(path.join(tmpdir(), 'fast-weights-bench-'));
  try {
    // Memory for a hundred of them.
    const options = ['--states', states, '--state-memory', '26', '--max-states', String(2 * SESSIONS)];
    return await serving(deltanetFolder('3.3M'), options, async (client) => {
      const ids = await park(client, Math.round(0.1 * SESSIONS * share) + 200);
      await wake(client, ids, 50);
      return figuresOfWakes('parked in a folder', await wake(client, ids, WAKES));
    });
  } finally {
    rmSync(states, { recursive: true });
  }
}

async function fork({ share }: Effort): Promise<Figure[]> {
  return serving(largeStateFolder(), [], async (client) => {
    const { id, bytes } = await client.ask<{ id: string; bytes: number }>('/v1/sessions', {
      model: 'small',
      prompt: [1, 2, 3],
    });
    const times: number[] = [];
    for (let i = 0; i < 20 + 100 * share; i++) {
      const begin = performance.now();
      const copy = await client.ask<{ id: string }>(`/v1/sessions/${id}/fork`, {});
      times.push(performance.now() - begin);
      await client.ask(`/v1/sessions/${copy.id}`, {}, 'DELETE');
    }
    const after = times.slice(10);
    return [figure('fork/state', 'MB', [bytes / 1e6]), figure('fork', 'ms', after, { most: 5 })];
  });
}

export const parkedCases: ServeCase[] = [
  { name: 'parked', what: `memory of ${SESSIONS} sessions, and their first token after it`, run: inMemory },
  { name: 'parked in a folder', what: 'the first token of sessions that memory has no room for', run: inFolder },
  { name: 'fork', what: 'a copy of a session with a state of 100 MB', run: fork },
];
