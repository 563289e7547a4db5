// Clients of any service with OpenAI's `POST /v1/completions`: conversations side by side, some broken off on the way.
export interface LoadReport {
  requests: number;
  finished: number;
  aborted: number;
  events: number;
  /** What went wrong though nobody had broken it off. */
  failures: string[];
}

/** A small generator of its own: the load is the same every time. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const between = (draw: () => number, low: number, high: number): number => low + Math.floor(draw() * (high - low + 1));
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Keeps `conversations` of them going against the service at `url` until `signal` is aborted. */
export async function load(url: string, conversations: number, signal: AbortSignal): Promise<LoadReport> {
  const report: LoadReport = { requests: 0, finished: 0, aborted: 0, events: 0, failures: [] };
  const converse = async (client: number): Promise<void> => {
    const draw = random(client + 1);
    let turn = 0;
    while (!signal.aborted) {
      // A new conversation now and then; the others go on with what was said.
      if (draw() < 0.15) turn++;
      await request(`${client}-${turn}`, draw);
      await sleep(between(draw, 0, 20));
    }
  };
  const request = async (conversation: string, draw: () => number): Promise<void> => {
    const body = {
      model: 'default',
      prompt: 'x'.repeat(between(draw, 1, draw() < 0.1 ? 2000 : 40)),
      max_tokens: between(draw, 1, 120),
      seed: between(draw, 0, 1e6),
      stream: true,
      conversation,
    };
    const controller = new AbortController();
    const patience = draw() < 0.3 ? between(draw, 0, 60) : Infinity;
    const timer = patience < Infinity ? setTimeout(() => controller.abort(), patience) : undefined;
    report.requests++;
    try {
      const response = await fetch(`${url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: controller.signal,
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
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
  };
  await Promise.all(Array.from({ length: conversations }, (_, client) => converse(client)));
  return report;
}
