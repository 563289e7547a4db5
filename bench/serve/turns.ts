// What a turn costs after a short and after a long conversation, and what a million tokens leave behind.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProcess } from '../../test/support/serverProcess';
import { generation, text } from '../cases/generation';
import { median } from '../statistics';
import { Client } from './client';
import { type Effort, type Figure, figure, type ServeCase } from './figure';
import { deltanetFolder } from './folder';

const [SHORT, LONG] = [1000, 100_000];

/** Turns before those that count. */
const WARM = 3;

const { problem } = generation('3.3M', 'cpu');

/** A conversation and how a turn of it is asked for. */
interface Conversation {
  turn(): Promise<void>;
}

const TURN = { prompt: [1, 2, 3, 4, 5, 6, 7, 8, 9], max_tokens: 16, seed: 1 };

async function session(client: Client, tokens: number): Promise<Conversation & { id: string }> {
  const { id } = await client.ask<{ id: string }>('/v1/sessions', {
    model: 'small',
    prompt: [...text(problem, tokens)],
  });
  return { id, turn: () => turnOf(client, id) };
}

async function turnOf(client: Client, id: string): Promise<void> {
  await client.ask(`/v1/sessions/${id}/completions`, { model: 'small', ...TURN });
}

async function responses(client: Client, tokens: number): Promise<Conversation> {
  const ask = async (input: string, previous_response_id?: string): Promise<string> => {
    const body = { model: 'small', input, max_output_tokens: 16, seed: 1, previous_response_id };
    return (await client.ask<{ id: string }>('/v1/responses', body)).id;
  };
  let last = await ask('x'.repeat(tokens));
  return { turn: async () => void (last = await ask('nineteen.', last)) };
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** Milliseconds of turns of a short and of a long conversation that alternate. */
async function alternate(short: Conversation[], long: Conversation[], turns: number): Promise<[number[], number[]]> {
  const times: [number[], number[]] = [[], []];
  for (let i = 0; i < turns; i++) {
    for (const [k, of] of [short, long].entries()) times[k].push(await timed(() => of[i % of.length].turn()));
  }
  return times;
}

/** Of both, and how many times as long the longer conversation's take. */
function beside(name: string, [short, long]: readonly [number[], number[]]): Figure[] {
  return [
    figure(`${name}/${SHORT}`, 'ms', short),
    figure(`${name}/${LONG}`, 'ms', long),
    figure(`${name}/ratio`, 'x', [median(long) / median(short)], { most: 1.2 }),
  ];
}

async function measureTurns({ share }: Effort): Promise<Figure[]> {
  const turns = Math.max(5, Math.round(100 * share));
  const model = await deltanetFolder('3.3M');
  const states = mkdtempSync(path.join(tmpdir(), 'fast-weights-bench-'));
  const figures: Figure[] = [];
  try {
    let server = await ServerProcess.start(model.folder);
    let client = new Client(server.url);
    for (const [name, begin] of [
      ['session', session],
      ['response', responses],
    ] as const) {
      const [short, long] = [await begin(client, SHORT), await begin(client, LONG)];
      await alternate([short], [long], WARM);
      figures.push(...beside(`turns/${name}`, await alternate([short], [long], turns)));
    }
    client.close();
    await server.stop();

    // Copies, of which each is looked at for the first time.
    const copies = Math.max(5, Math.round(40 * share));
    server = await ServerProcess.start(model.folder, ['--states', states]);
    client = new Client(server.url);
    const ids: [string[], string[]] = [[], []];
    for (const [k, tokens] of [SHORT, LONG].entries()) {
      const { id } = await session(client, tokens);
      for (let i = 0; i < copies + WARM; i++) {
        ids[k].push((await client.ask<{ id: string }>(`/v1/sessions/${id}/fork`, {})).id);
      }
    }
    client.close();
    await server.stop();
    server = await ServerProcess.start(model.folder, ['--states', states]);
    const again = new Client(server.url);
    const [short, long] = ids.map((each) => each.map((id): Conversation => ({ turn: () => turnOf(again, id) })));
    await alternate(short.splice(0, WARM), long.splice(0, WARM), WARM);
    figures.push(...beside('turns/restarted', await alternate(short, long, copies)));
    again.close();
    await server.stop();
  } finally {
    model.remove();
    rmSync(states, { recursive: true });
  }
  return figures;
}

/** Milliseconds between the tokens of a stream, after its first one. */
async function pace(client: Client, id: string): Promise<number> {
  const [tokens, arrivals] = [257, [] as [number, number][]];
  await client.stream(`/v1/sessions/${id}/completions`, { model: 'small', prompt: [1], max_tokens: tokens }, (count) =>
    arrivals.push([performance.now(), count]),
  );
  const [first, last] = [arrivals[0], arrivals.at(-1)!];
  return (last[0] - first[0]) / (tokens - first[1]);
}

/** Of the second half over the first, by the low tide of each: what the engine has not yet collected comes and goes. */
function growth(bytes: readonly number[]): number {
  const half = bytes.length >> 1;
  return Math.min(...bytes.slice(half)) / Math.min(...bytes.slice(0, half));
}

/** A turn of the million, how many there are, and how many come before. */
const [PIECE, PIECES, FIRST] = [62_500, 16, 8];

/** Little room for garbage: in the heaps that Node.js takes by itself that of the bodies of turns comes and goes by tens of megabytes. */
const HEAPS = ['--max-semi-space-size=1', '--max-old-space-size=64'];

async function measureMillion({ share }: Effort): Promise<Figure[]> {
  const piece = Math.round(PIECE * share);
  const model = await deltanetFolder('3.3M');
  const server = await ServerProcess.start(model.folder, [], { node: HEAPS });
  const client = new Client(server.url);
  try {
    const early = (await session(client, SHORT)).id;
    const { id } = await client.ask<{ id: string }>(`/v1/sessions/${early}/fork`, {});
    const [resident, tensors]: number[][] = [[], []];
    for (let i = -FIRST; i < PIECES; i++) {
      const prompt = [...text(problem, piece)];
      await client.ask(`/v1/sessions/${id}/completions`, { model: 'small', prompt, max_tokens: 1 });
      if (i < 0) continue;
      // What the model's thread reports once a second.
      await sleep(1500);
      resident.push(await server.metric('process_resident_memory_bytes'));
      tensors.push(await server.metric('fast_weights_tensor_bytes'));
    }
    const paces: [number[], number[]] = [[], []];
    for (let i = 0; i < WARM; i++) await pace(client, early);
    for (let i = 0; i < 10; i++) for (const [k, each] of [early, id].entries()) paces[k].push(await pace(client, each));
    return [
      figure(
        'million/memory',
        'MiB',
        resident.map((bytes) => bytes / 2 ** 20),
      ),
      figure('million/memory/growth', 'x', [growth(resident)], { most: 1.01 }),
      figure('million/tensors/growth', 'x', [growth(tensors)], { most: 1.01 }),
      figure(`million/token/${SHORT}`, 'ms', paces[0]),
      figure(`million/token/${(FIRST + PIECES) * piece}`, 'ms', paces[1]),
      figure('million/token/ratio', 'x', [median(paces[1]) / median(paces[0])], { most: 1.1 }),
    ];
  } finally {
    client.close();
    await server.stop();
    model.remove();
  }
}

export const turnCases: ServeCase[] = [
  {
    name: 'turns',
    what: `9 tokens read and 16 written after ${SHORT} and after ${LONG}, in sessions, responses, and from a folder by a server that was started again`,
    run: measureTurns,
  },
  { name: 'million', what: `${PIECE * PIECES} tokens through one session`, run: measureMillion },
];
