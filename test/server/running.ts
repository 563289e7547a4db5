// A server of the small model for the tests of one file, its log, and clients.
import OpenAI from 'openai';
import type * as room from '../../lib/server';
import { SERVER } from '../support/library';
import { type SmallModel, smallModel } from './folder';

export interface LogLine {
  level: string;
  message: string;
  [field: string]: unknown;
}

/** The compiled server where there is one: its threads begin in a third of the time. */
export async function serve(options: room.ServeOptions): Promise<room.RunningServer> {
  const library = (await import(SERVER)) as typeof room;
  return library.serve(options);
}

export class TestServer {
  private constructor(
    readonly server: room.RunningServer,
    readonly log: LogLine[],
  ) {}

  /** Of all tests, so that one that fails leaves none behind. */
  private static readonly running = new Set<TestServer>();

  static async start(options: room.ServeOptions): Promise<TestServer> {
    const log: LogLine[] = [];
    const write = (line: string): void => void log.push(JSON.parse(line) as LogLine);
    const server = await withoutChecks(() => serve({ port: 0, log: write, ...options }));
    try {
      await server.ready();
    } catch (error) {
      await server.stop();
      throw error;
    }
    const started = new TestServer(server, log);
    TestServer.running.add(started);
    return started;
  }

  client(apiKey = 'none', path = ''): OpenAI {
    return new OpenAI({ baseURL: `${this.server.url}/v1${path}`, apiKey, maxRetries: 0 });
  }

  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Asked> {
    const answer = await fetch(this.server.url + path, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    });
    const text = await answer.text();
    const json = answer.headers.get('content-type')?.startsWith('application/json');
    return { status: answer.status, headers: answer.headers, text, body: (json ? JSON.parse(text) : null) as Answered };
  }

  stop(): Promise<void> {
    TestServer.running.delete(this);
    return this.server.stop();
  }

  static async stopAll(): Promise<void> {
    await Promise.all([...TestServer.running].map((each) => each.stop()));
  }
}

/** Threads take over the environment as it is: values are checked in the tests of operators, which take most of the time. */
async function withoutChecks<T>(start: () => Promise<T>): Promise<T> {
  const name = 'FAST_WEIGHTS_CHECK';
  if (starting++ === 0) asked = process.env[name];
  process.env[name] = '0';
  try {
    return await start();
  } finally {
    // The last of several that start at once puts back what was there before the first, or nothing.
    if (--starting === 0) {
      if (asked === undefined) delete process.env[name];
      else process.env[name] = asked;
    }
  }
}

let starting = 0;
let asked: string | undefined;

/** What the tests look at of answers. */
export interface Answered {
  id: string;
  length: number;
  bytes: number;
  data: Record<string, unknown>[];
  error: { message: string; type: string; param: string | null; code: string | null };
  choices: { text: string; finish_reason: string; message: { content: string } }[];
  usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
    completion_tokens_details?: { accepted_prediction_tokens: number; rejected_prediction_tokens: number };
  };
  [field: string]: unknown;
}

export interface Asked {
  status: number;
  headers: Headers;
  text: string;
  body: Answered;
}

/** The small model in a folder, and a server of it, for all tests of a suite. */
export function serving(options: Partial<room.ServeOptions> = {}): { (): TestServer; model(): SmallModel } {
  let server: TestServer;
  let model: SmallModel;
  before(async function () {
    this.timeout(60_000);
    model = await smallModel();
    server = await TestServer.start({ models: [{ folder: model.folder, name: 'small' }], ...options });
  });
  after(async () => {
    await TestServer.stopAll();
    model?.remove();
  });
  return Object.assign(() => server, { model: () => model });
}

/** Waits until something is so. */
export async function until(there: () => boolean | Promise<boolean>, milliseconds = 10_000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await there())) {
    if (performance.now() > end) throw new Error('it did not come in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
