// Clients of the library's own server: sessions that are talked to, broken off, copied, taken back and deleted, and texts that must
// be JSON.
import { between, type Draw, json, type LoadReport, nothingYet, random, send, sleep, stream, turn } from './load';

const SCHEMA = { type: 'object', properties: { a: { type: 'integer' } }, required: ['a'], additionalProperties: false };

const DELETE = { method: 'DELETE' };

/** Keeps `conversations` of them going against the server at `url` until `signal` is aborted. */
export async function loadServer(url: string, conversations: number, signal: AbortSignal): Promise<LoadReport> {
  const report = nothingYet();
  const converse = async (client: number): Promise<void> => {
    const draw = random(1000 + client);
    while (!signal.aborted) {
      try {
        await conversation(report, `${url}/v1`, draw, signal);
      } catch (error) {
        report.failures.push(String(error));
      }
    }
  };
  await Promise.all(Array.from({ length: conversations }, (_, client) => converse(client)));
  return report;
}

async function conversation(report: LoadReport, url: string, draw: Draw, signal: AbortSignal): Promise<void> {
  const model = 'small';
  let { id } = await ask(
    report,
    `${url}/sessions`,
    json({ model, ...(draw() < 0.5 && { prompt: turn(draw).prompt }) }),
  );
  for (let i = between(draw, 1, 6); i > 0 && !signal.aborted; i--) {
    const session = `${url}/sessions/${id}`;
    // It is free when it has another copy.
    if (draw() < 0.1) {
      const copy = await ask(report, `${session}/fork`, json({}));
      await ask(report, session, DELETE);
      id = copy.id;
    } else if (draw() < 0.1) {
      await ask(report, `${session}/snapshots`, json({ name: 'here' }));
      await stream(report, `${session}/completions`, { model, ...turn(draw) }, () => 1);
      await ask(report, `${session}/rollback`, json({ snapshot: 'here' }));
    } else if (draw() < 0.1) {
      const format = { type: 'json_schema', json_schema: { name: 'one', schema: SCHEMA } };
      await stream(report, `${url}/completions`, { model, ...turn(draw), response_format: format }, draw);
    } else {
      await ask(report, session, {});
      await stream(report, `${session}/completions`, { model, ...turn(draw) }, draw);
    }
    await sleep(between(draw, 0, 20));
  }
  await ask(report, `${url}/sessions/${id}`, DELETE);
}

async function ask(report: LoadReport, url: string, init: RequestInit): Promise<{ id: string }> {
  report.requests++;
  const answer = (await (await send(url, init)).json()) as { id: string };
  report.finished++;
  return answer;
}
