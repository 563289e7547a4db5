// What keeps a server running: keys, limits, health, metrics, logs, deaths, ends.
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { processMark, watchEventLoop } from '../../lib/platform';
import { type SmallModel, smallModel } from './folder';
import { type Answered, type Asked, serve, serving, TestServer, until } from './running';

const [ALICE, BOB] = ['key-of-alice-0123456789', 'key-of-bob-0123456789'];
const auth = (key: string) => ({ authorization: `Bearer ${key}` });
const prompt = { model: 'small', prompt: 'ab', max_tokens: 4 };
const long = { ...prompt, max_tokens: 3000, ignore_eos: true };
/** What no machine ends within a test, for a server that takes so many. */
const endless = { ...long, max_tokens: 100_000 };
const { max_tokens: maxTokens } = endless;

/** The library that the server is of may be another one than that of the tests. */
async function expectRejection(code: string, pattern: RegExp, promise: Promise<unknown>): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: { code: string; message: string }) => reason,
  );
  expect(error?.message).to.match(pattern);
  expect(error?.code).to.equal(code);
}

describe('server: where models are', function () {
  this.timeout(30_000);

  it('a model that names a device is there, the others where all are', async () => {
    const model = await smallModel();
    const { folder } = model;
    const models = [
      { folder, name: 'a' },
      { folder, name: 'b', device: 'js' },
    ];
    const running = await TestServer.start({ models, device: 'cpu' });
    const ready = running.log.filter(({ message }) => message === 'model ready');
    expect(Object.fromEntries(ready.map(({ model, device }) => [model, device]))).to.deep.equal({ a: 'cpu', b: 'js' });
    await running.stop();
    const wrong = serve({ models: [{ folder, device: 'gpu' }], port: 0 });
    await expectRejection('INVALID_ARGUMENT', /models\[0\]\.device must be .*'cuda'/, wrong);
    model.remove();
  });
});

describe('server: who may ask', function () {
  this.timeout(30_000);
  const keys = `# whose they are\n${ALICE} name=alice concurrent=1\n\n${BOB} name=bob tokens-per-minute=20\n`;
  const running = serving({ keys, logTexts: true });
  const complete = (key?: string, body: object = prompt): Promise<Asked> =>
    running().ask('POST', '/v1/completions', body, key === undefined ? {} : auth(key));

  it('needs a key, but to see whether the server is there', async () => {
    for (const key of [undefined, 'another-key-0123456789', `${ALICE}x`, '']) {
      const { status, body, headers } = await complete(key);
      expect([status, body.error.type]).to.eql([401, 'authentication_error']);
      expect(headers.get('www-authenticate')).to.equal('Bearer');
    }
    for (const path of ['/v1/models', '/metrics', '/v1/sessions'])
      expect((await running().ask('GET', path)).status).to.equal(401);
    for (const path of ['/', '/health', '/ready']) expect((await running().ask('GET', path)).status).to.equal(200);
    expect((await complete(ALICE)).status).to.equal(200);
  });

  it('has so many requests at the same time', async () => {
    const first = complete(ALICE, { ...long, max_tokens: 2000 });
    await until(async () =>
      /running_requests\{model="small"\} 1/.test((await running().ask('GET', '/metrics', undefined, auth(BOB))).text),
    );
    const { status, headers, body } = await complete(ALICE);
    expect([status, body.error.code, headers.get('retry-after')]).to.eql([429, 'rate_limit_exceeded', '1']);
    expect((await first).status).to.equal(200);
    expect((await complete(ALICE)).status).to.equal(200);
  });

  it('has so many of the prompts of a request at work, too', async () => {
    const several = complete(ALICE, { ...prompt, prompt: ['ab', 'cd', 'ef'], max_tokens: 400, ignore_eos: true });
    let most = 0;
    let done = false;
    void several.then(() => (done = true));
    while (!done) {
      const { text } = await running().ask('GET', '/metrics', undefined, auth(BOB));
      most = Math.max(most, Number(/running_requests\{model="small"\} (\d+)/.exec(text)![1]));
    }
    expect((await several).body.choices).to.have.lengthOf(3);
    expect(most).to.equal(1);
  });

  it('has so many tokens in a minute', async () => {
    const { headers } = await complete(BOB, { ...prompt, max_tokens: 30, ignore_eos: true });
    expect(headers.get('x-ratelimit-limit-tokens')).to.equal('20');
    const { status, body, headers: then } = await complete(BOB);
    expect([status, body.error.type]).to.eql([429, 'rate_limit_error']);
    expect(Number(then.get('retry-after'))).to.be.within(30, 60);
  });

  it('is told in logs and metrics by its name; texts only where they are asked for', async () => {
    await complete(ALICE, { ...prompt, prompt: 'secret' });
    const line = running().log.at(-1)!;
    expect(line).to.deep.include({ message: 'request', status: 200, key: 'alice', model: 'small', prompt: 'secret' });
    expect(line.choices).to.have.lengthOf(1);
    expect(JSON.stringify(running().log)).not.to.include(ALICE);
    const { text } = await running().ask('GET', '/metrics', undefined, auth(ALICE));
    expect(text).to.match(/fast_weights_requests_total\{route="POST \/v1\/completions",status="200"\} \d/);
    // No key reads of others there.
    expect(text).not.to.match(/alice|bob/);
    expect(text).to.match(/fast_weights_tokens_total\{model="small",kind="generated"\} \d+/);
    expect(text).to.match(/fast_weights_event_loop_delay_p99_seconds \d/);
  });
});

describe('server: requests', function () {
  this.timeout(30_000);
  const running = serving({
    maxBodyBytes: 10_000,
    maxPromptTokens: 500,
    maxTokens: 5000,
    maxRunning: 2,
    maxWaiting: 1,
  });
  const ask = (body: unknown, headers = {}): Promise<Asked> => running().ask('POST', '/v1/completions', body, headers);

  it('have a name, which the client may give', async () => {
    expect((await ask(prompt)).headers.get('x-request-id')).to.match(/^req_[0-9a-f]{24}$/);
    expect((await ask(prompt, { 'x-request-id': 'mine-1' })).headers.get('x-request-id')).to.equal('mine-1');
    expect((await ask(prompt, { 'x-request-id': 'a b' })).headers.get('x-request-id')).to.match(/^req_/);
    expect(running().log.filter(({ id }) => id === 'mine-1')).to.have.lengthOf(1);
    expect(JSON.stringify(running().log)).not.to.include('"prompt":"ab"');
  });

  it('of many prompts are no reason to print anything', async () => {
    const warnings: Error[] = [];
    const hear = (warning: Error): void => void warnings.push(warning);
    process.on('warning', hear);
    try {
      expect((await ask({ ...prompt, prompt: Array.from({ length: 40 }, () => 'ab') })).status).to.equal(200);
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      process.off('warning', hear);
    }
    expect(warnings).to.eql([]);
  });

  it('that are too large, no JSON or of nowhere are refused', async () => {
    const code = async (asked: Promise<Asked>): Promise<unknown[]> => {
      const { status, body } = await asked;
      return [status, body.error.code];
    };
    expect(await code(ask({ ...prompt, prompt: 'x'.repeat(10_000) }))).to.eql([413, 'request_too_large']);
    expect(await code(ask({ ...prompt, prompt: 'x'.repeat(600) }))).to.eql([400, 'context_length_exceeded']);
    expect(await code(ask('{"model":'))).to.eql([400, 'invalid_json']);
    expect(await code(ask('['.repeat(200)))).to.eql([400, 'invalid_json']);
    expect(await code(ask('[]'))).to.eql([400, 'invalid_type']);
    expect(await code(ask('{}', { 'content-type': 'text/plain' }))).to.eql([415, 'unsupported_content_type']);
    expect(await code(running().ask('GET', '/v1/nothing'))).to.eql([404, 'unknown_url']);
    expect(await code(running().ask('GET', '/v1/completions'))).to.eql([404, 'unknown_url']);
    expect(await code(ask({ ...prompt, prompt: [1000] }))).to.eql([400, 'invalid_value']);
    // Nor is all of it said again, to the client or in the log.
    const name = 'x'.repeat(8000);
    for (const body of [{ model: name }, { [name]: 1 }, { messages: [] }]) {
      const { status, text } = await ask({ ...prompt, ...body });
      expect(status).to.be.within(400, 404);
      expect(text.length).to.be.below(1500);
      expect(JSON.stringify(running().log.at(-1)).length).to.be.below(2000);
    }
    // In pieces, without a length.
    const pieces = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 20; i++) controller.enqueue(new Uint8Array(1000).fill(32));
        controller.close();
      },
    });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: pieces, duplex: 'half' };
    expect((await fetch(`${running().server.url}/v1/completions`, init as RequestInit)).status).to.equal(413);
  });

  it('of a page that is not from here are refused', async () => {
    const status = await new Promise((resolve, reject) => {
      const headers = { host: 'evil.example' };
      const asked = request(`${running().server.url}/v1/models`, { headers }, (answer) => resolve(answer.statusCode));
      asked.on('error', reject).end();
    });
    expect(status).to.equal(403);
    expect(running().log.at(-1)).to.deep.include({ message: 'request', status: 403, code: 'wrong_host' });
  });

  it('wait for a place, so many of them', async () => {
    const statuses = await Promise.all([1, 2, 3, 4].map(async () => (await ask({ ...long, max_tokens: 600 })).status));
    expect(statuses.sort()).to.eql([200, 200, 200, 503]);
  });

  it('do not hold up the thread of HTTP', async function () {
    const loop = watchEventLoop();
    await Promise.all([1, 2].map(() => ask({ ...long, max_tokens: 300, stream: true })));
    const delay = loop.quantile(0.99);
    loop.stop();
    // That of the tests' own thread, in which the server's runs, too; a machine with other work needs more than 5 ms.
    expect(delay).to.be.below(50);
  });
});

describe('server: its life', function () {
  this.timeout(60_000);
  let model: SmallModel;
  before(async () => (model = await smallModel()));
  afterEach(() => TestServer.stopAll());
  after(() => model.remove());
  const models = () => [{ folder: model.folder, name: 'small' }];

  it('begins at an address that only this machine reaches, or with keys', async () => {
    const refused = (options: object, pattern: RegExp) =>
      expectRejection('INVALID_ARGUMENT', pattern, serve({ models: models(), ...options }));
    await refused({ host: '0.0.0.0' }, /host must be a loopback address/);
    await refused({ keys: 'short' }, /line 1 must be a key of at least 16 characters/);
    await refused({ models: [] }, /at least one model/);
    await refused({ models: [...models(), ...models()] }, /named as no other is/);
    await refused({ prot: 1 }, /did you mean port/);
    const first = await TestServer.start({ models: models() });
    await expectRejection('IO', /cannot be listened on/, serve({ models: models(), port: first.server.port }));
    await first.stop();
  });

  it('says why a model cannot be loaded', async () => {
    const server = await serve({ models: [{ folder: tmpdir(), name: 'nothing' }], port: 0 });
    await expectRejection('IO', /holds no tokenizer.json/, server.ready());
    const answer = await fetch(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...prompt, model: 'nothing' }),
    });
    expect(answer.status).to.equal(503);
    expect((await fetch(`${server.url}/ready`)).status).to.equal(503);
    await server.stop();
  });

  it('begins a thread that died again, and says so', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-import-'));
    const file = path.join(folder, 'mortal.mjs');
    writeFileSync(file, "new BroadcastChannel('mortal').onmessage = () => { throw new Error('of old age'); };");
    const server = await TestServer.start({ models: models(), imports: [file], maxTokens });
    const stream = server.ask('POST', '/v1/completions', { ...endless, stream: true });
    const whole = server.ask('POST', '/v1/completions', endless);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const channel = new BroadcastChannel('mortal');
    channel.postMessage('die');
    expect((await whole).status).to.equal(503);
    expect((await whole).body.error.code).to.equal('engine_died');
    expect((await stream).text).to.include('engine_died');
    expect(
      server.log.some(({ message, error }) => message === 'the thread of a model died' && error === 'of old age'),
    ).to.equal(true);
    expect((await server.ask('GET', '/ready')).status).to.equal(503);
    expect((await server.ask('GET', '/health')).status).to.equal(200);
    // What comes meanwhile waits.
    expect((await server.ask('POST', '/v1/completions', prompt)).status).to.equal(200);
    expect((await server.ask('GET', '/ready')).status).to.equal(200);
    channel.close();
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  it('ends when the last requests have, which new ones do not delay', async () => {
    const server = await TestServer.start({ models: models(), grace: 20 });
    const last = server.ask('POST', '/v1/completions', { ...long, max_tokens: 1000 });
    await until(async () => /running_requests\{model="small"\} 1/.test((await server.ask('GET', '/metrics')).text));
    const stopped = server.stop();
    await expectRefused(server);
    expect((await last).status).to.equal(200);
    await stopped;
    expect(server.log.at(-1)!.message).to.equal('stopped');
  });

  it('breaks off what takes longer than the grace, and keeps it', async () => {
    const stateFolder = mkdtempSync(path.join(tmpdir(), 'fast-weights-states-'));
    const server = await TestServer.start({ models: models(), grace: 0.2, stateFolder, maxTokens, maxRunning: 2 });
    const { id } = (await server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' })).body;
    const last = server.ask('POST', `/v1/sessions/${id}/completions`, { ...endless, stream: true });
    const others = Array.from({ length: 3 }, () => server.ask('POST', '/v1/completions', endless));
    await new Promise((resolve) => setTimeout(resolve, 500));
    await server.stop();
    const text = (await last).text;
    expect(text).to.include('"code":"stopping"');
    for (const { status, headers, body } of await Promise.all(others))
      expect([status, body.error.code, headers.get('retry-after')]).to.eql([503, 'stopping', '1']);
    expect(server.log.filter(({ level, message }) => level === 'error' && message !== 'request')).to.eql([]);
    const again = await TestServer.start({ models: models(), stateFolder });
    const { body } = await again.ask('GET', `/v1/sessions/${id}`);
    expect(body.length).to.be.at.least(5 + text.split('data: {"id"').length - 1);
    await again.stop();
    rmSync(stateFolder, { recursive: true });
  });

  it('gives requests their time, also those that have begun to stream', async () => {
    const server = await TestServer.start({ models: models(), requestTimeout: 0.4, maxTokens });
    const { status, body } = await server.ask('POST', '/v1/completions', endless);
    expect([status, body.error.code]).to.eql([504, 'timeout']);
    const { text } = await server.ask('POST', '/v1/completions', { ...endless, stream: true });
    expect(text).to.match(/data: \{"id":"cmpl-/);
    const last = JSON.parse(text.trim().split('\n\n').at(-1)!.slice(6)) as Answered;
    expect(last.error.code).to.equal('timeout');
  });

  it('gives bodies their time, too, and closes the connection of one that does not come', async () => {
    const server = await TestServer.start({ models: models(), requestTimeout: 0.3 });
    const { port } = server.server;
    const socket = connect(port, '127.0.0.1');
    const head =
      'POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000';
    socket.write(`${head}\r\n\r\n{"model"`);
    let text = '';
    for await (const piece of socket) text += String(piece);
    expect(text)
      .to.match(/^HTTP\/1.1 408 /)
      .and.to.include('"code":"request_timeout"');
    expect(text).to.match(/^connection: close\r$/im);
    expect(server.log.at(-1)).to.deep.include({ status: 408 });
  });

  it('tells no client what is in files that are damaged, its log does, and what is left can be deleted', async () => {
    const stateFolder = mkdtempSync(path.join(tmpdir(), 'fast-weights-states-'));
    const server = await TestServer.start({ models: models(), stateFolder, stateBytes: 10 });
    const create = async (): Promise<string> =>
      (await server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' })).body.id;
    const id = await create();
    await server.ask('POST', `/v1/sessions/${id}/snapshots`, { name: 'good' });
    const folder = path.join(stateFolder, 'small', '0'.repeat(16));
    const name = readdirSync(folder).find((each) => !each.includes('good'))!;
    writeFileSync(path.join(folder, name), 'no state');
    for (const [method, at, body] of [
      ['POST', '/completions', prompt],
      ['POST', '/fork', {}],
      ['GET', '', undefined],
    ] as const) {
      const { status, body: answered } = await server.ask(method, `/v1/sessions/${id}${at}`, body);
      expect([status, answered.error.code], at).to.eql([410, 'state_damaged']);
      expect(answered.error.message).not.to.include(stateFolder);
    }
    const said = server.log.find(({ message }) => message === 'a request failed in the model');
    expect(said!.error).to.include(stateFolder);
    expect((await server.ask('GET', '/v1/sessions')).body.data.map((each) => each.id)).to.eql([id]);
    // A snapshot stands in for it.
    expect((await server.ask('GET', `/v1/sessions/${id}/snapshots`)).body.data).to.have.lengthOf(1);
    expect((await server.ask('POST', `/v1/sessions/${id}/rollback`, { snapshot: 'good' })).status).to.equal(200);
    writeFileSync(path.join(folder, name), 'no state');
    expect((await server.ask('DELETE', `/v1/sessions/${id}`)).status).to.equal(200);
    expect((await server.ask('GET', '/v1/sessions')).body.data).to.eql([]);
    expect(readdirSync(folder)).to.eql([]);
    rmSync(stateFolder, { recursive: true });
  });

  it('has its folder of states alone', async () => {
    const stateFolder = mkdtempSync(path.join(tmpdir(), 'fast-weights-states-'));
    const server = await TestServer.start({ models: models(), stateFolder });
    await expectRejection(
      'IO',
      /cannot be taken: process \d+ works in/,
      serve({ models: models(), port: 0, stateFolder }),
    );
    await server.stop();
    const locks = path.join(stateFolder, '_lock');
    expect(readdirSync(locks)).to.eql([]);
    // That of a process which was killed counts for nothing, that of one which lives does.
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    writeFileSync(path.join(locks, `lock-${pid}`), '');
    await (await TestServer.start({ models: models(), stateFolder })).stop();
    const parent = path.join(locks, `lock-${process.ppid}`);
    writeFileSync(parent, '');
    await expectRejection('IO', /cannot be taken/, serve({ models: models(), port: 0, stateFolder }));
    const mark = processMark(process.ppid);
    if (mark !== undefined) {
      writeFileSync(parent, mark);
      await expectRejection('IO', /cannot be taken/, serve({ models: models(), port: 0, stateFolder }));
      // One whose number another process has now has gone, too.
      writeFileSync(parent, `${mark}0`);
      await (await TestServer.start({ models: models(), stateFolder })).stop();
    }
    rmSync(stateFolder, { recursive: true });
  });

  it('serves several models, each by its name', async () => {
    const plain = await smallModel({ template: false });
    const server = await TestServer.start({ models: [...models(), { folder: plain.folder, name: 'plain' }] });
    expect((await server.ask('GET', '/v1/models')).body.data.map(({ id, chat }) => [id, chat])).to.eql([
      ['small', true],
      ['plain', false],
    ]);
    for (const name of ['small', 'plain']) {
      expect((await server.ask('POST', '/v1/completions', { ...prompt, model: name })).status).to.equal(200);
    }
    const chat = { model: 'plain', messages: [{ role: 'user', content: 'Hi' }] };
    expect((await server.ask('POST', '/v1/chat/completions', chat)).body.error.code).to.equal('no_chat_template');
    await server.stop();
    plain.remove();
  });
});

async function expectRefused(server: TestServer): Promise<void> {
  try {
    expect((await server.ask('POST', '/v1/completions', prompt)).status).to.equal(503);
  } catch (error) {
    // The socket may be closed already.
    expect(error).to.be.instanceOf(TypeError);
  }
}
