// Two servers behind HAProxy with the configuration of docs/scale-out, one of which is killed in the middle of an answer.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { expect } from 'chai';
import OpenAI from 'openai';
import { temporaryFolder } from '../io/folder';
import { repository } from '../support/library';
import { hasRedis, RedisServer } from '../support/redis';
import { ServerProcess } from '../support/serverProcess';
import { type SmallModel, smallModel } from './folder';
import { type Answered, until } from './running';

const hasHaproxy = spawnSync('haproxy', ['-v']).status === 0;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The committed configuration with this machine's addresses: nothing else is changed. */
function configuration(port: number, servers: readonly ServerProcess[]): string {
  const committed = readFileSync(path.join(repository, 'docs/scale-out/haproxy.cfg'), 'utf8');
  const replace = (text: string, pattern: RegExp, by: string): string => {
    expect(text.match(new RegExp(pattern, 'gm'))).to.have.length(1);
    return text.replace(new RegExp(pattern, 'm'), by);
  };
  const lines = servers.map(({ url }, i) => `  server server-${i} ${url.replace('http://', '')} check inter 2s`);
  const bound = replace(committed, /^ {2}bind :8000$/, `  bind 127.0.0.1:${port}`);
  return replace(bound, /^ {2}server-template .* check inter 2s .*$/, lines.join('\n'));
}

describe('server: behind HAProxy', function () {
  this.timeout(60_000);
  const inFolder = temporaryFolder();
  const servers: ServerProcess[] = [];
  let redis: RedisServer;
  let model: SmallModel;
  let balancer: ChildProcess;
  let url: string;

  before(async function () {
    if (!hasRedis || !hasHaproxy) this.skip();
    mkdirSync(inFolder('redis'));
    redis = new RedisServer(inFolder('redis'));
    await redis.start();
    model = await smallModel();
    servers.push(...(await Promise.all([0, 1].map(() => ServerProcess.start(model.folder, ['--redis', redis.url])))));
    const port = await freePort();
    writeFileSync(inFolder('haproxy.cfg'), configuration(port, servers));
    balancer = spawn('haproxy', ['-db', '-f', inFolder('haproxy.cfg')], { stdio: 'ignore' });
    url = `http://127.0.0.1:${port}`;
    await until(async () => (await fetch(`${url}/ready`).catch(() => null))?.ok ?? false);
  });
  after(async () => {
    balancer?.kill('SIGKILL');
    await Promise.all(servers.map((server) => server.kill()));
    await redis?.stop();
    model?.remove();
  });

  async function post(at: string, body: object): Promise<Answered> {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(at, { method: 'POST', headers, body: JSON.stringify(body) });
    expect(answer.status).to.equal(200);
    return (await answer.json()) as Answered;
  }

  it('a server dies in an answer, and the client that asks again has the same tokens of the other', async () => {
    const drawn = { model: 'small', prompt: ' there was', temperature: 1, seed: 7, max_tokens: 4000 };
    const further = { ignore_eos: true };
    const begun = await post(`${url}/v1/sessions`, { model: 'small', prompt: 'Once upon a time' });
    const client = new OpenAI({ baseURL: `${url}/v1/sessions/${begun.id}`, apiKey: 'none', maxRetries: 5 });

    let told = '';
    let failure: unknown;
    try {
      const stream = await client.completions.create({ ...drawn, ...further, stream: true });
      for await (const { choices } of stream) {
        told += choices[0].text;
        if (told.length < 20) continue;
        // The one that is at work on it.
        for (const server of servers) {
          if (server.running && (await server.metric('fast_weights_running_requests')) > 0) await server.kill();
        }
      }
    } catch (error) {
      failure = error;
    }
    expect(servers.filter(({ running }) => running)).to.have.length(1);
    expect(String(failure)).to.match(/terminated|aborted|ECONNRESET|Premature/i);

    const again = await client.completions.create({ ...drawn, ...further });
    expect(again.choices[0].text.startsWith(told)).to.equal(true);
    expect(again.usage!.completion_tokens).to.equal(4000);
    expect(again.usage!.prompt_tokens_details!.cached_tokens).to.equal(begun.length);
  });
});
