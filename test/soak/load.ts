// Clients of any service with OpenAI's `POST /v1/completions`: conversations side by side, some broken off on the way.
export interface LoadReport {
  requests: number;
  finished: number;
  aborted: number;
  events: number;
  /** What went wrong though nobody had broken it off. */
  failures: string[];
}

export const nothingYet = (): LoadReport => ({ requests: 0, finished: 0, aborted: 0, events: 0, failures: [] });

/** Numbers from 0 to below 1. */
export type Draw = () => number;

/** A small generator of its own: the load is the same every time. */
export function random(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export const between = (draw: Draw, low: number, high: number): number => low + Math.floor(draw() * (high - low + 1));
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Something to read and how much to write; now and then the first is long. */
export const turn = (draw: Draw): { prompt: string; max_tokens: number; seed: number } => ({
  prompt: 'x'.repeat(between(draw, 1, draw() < 0.1 ? 2000 : 40)),
  max_tokens: between(draw, 1, 120),
  seed: between(draw, 0, 1e6),
});

/** A session is busy until what was broken off of it has ended. */
const BUSY = 409;
const MOST_TRIES = 500;

/** An answer, when what is asked for is no longer busy. */
export async function send(url: string, init: RequestInit): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const response = await fetch(url, init);
    if (response.ok) return response;
    const told = await response.text();
    if (response.status !== BUSY || tries === MOST_TRIES) throw new Error(`${url}: ${response.status} ${told}`);
    await sleep(10);
  }
}

export const json = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

/** Sends a request and reads its stream to the end, or breaks it off. */
export async function stream(report: LoadReport, url: string, body: object, draw: Draw): Promise<void> {
  const controller = new AbortController();
  const patience = draw() < 0.3 ? between(draw, 0, 60) : Infinity;
  const timer = patience < Infinity ? setTimeout(() => controller.abort(), patience) : undefined;
  report.requests++;
  try {
    const response = await send(url, { ...json({ ...body, stream: true }), signal: controller.signal });
    let text = '';
    for await (const bytes of response.body!) text += Buffer.from(bytes).toString();
    const events = text.split('\n\n').filter((line) => line.startsWith('data: '));
    if (events.at(-1) !== 'data: [DONE]') throw new Error(`the stream ended with ${events.at(-1)}`);
    report.events += events.length - 1;
    report.finished++;
  } catch (error) {
    if (controller.signal.aborted) report.aborted++;
    else report.failures.push(String(error));
  } finally {
    clearTimeout(timer);
  }
}

/** Keeps `conversations` of them going against the service at `url` until `signal` is aborted. */
export async function load(url: string, conversations: number, signal: AbortSignal): Promise<LoadReport> {
  const report = nothingYet();
  const converse = async (client: number): Promise<void> => {
    const draw = random(client + 1);
    let name = 0;
    while (!signal.aborted) {
      // A new conversation now and then; the others go on with what was said.
      if (draw() < 0.15) name++;
      const body = { model: 'default', ...turn(draw), conversation: `${client}-${name}` };
      await stream(report, `${url}/v1/completions`, body, draw);
      await sleep(between(draw, 0, 20));
    }
  };
  await Promise.all(Array.from({ length: conversations }, (_, client) => converse(client)));
  return report;
}
