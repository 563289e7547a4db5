// Servers that share conversations through a real Redis: processes, of which one is killed in the middle of an answer.
import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { temporaryFolder } from '../io/folder';
import { hasRedis, RedisServer } from '../support/redis';
import { ServerProcess } from '../support/serverProcess';
import { type SmallModel, smallModel } from './folder';
import { type Answered, TestServer } from './running';

describe('server: replicas', function () {
  this.timeout(120_000);
  const inFolder = temporaryFolder();
  const replicas: ServerProcess[] = [];
  let redis: RedisServer;
  let model: SmallModel;

  before(async function () {
    if (!hasRedis) this.skip();
    mkdirSync(inFolder('redis'));
    redis = new RedisServer(inFolder('redis'));
    await redis.start();
    model = await smallModel();
    replicas.push(...(await Promise.all([0, 1].map(() => ServerProcess.start(model.folder, ['--redis', redis.url])))));
  });
  after(async () => {
    await Promise.all(replicas.map((each) => each.kill()));
    await redis?.stop();
    model?.remove();
  });

  const drawn = { model: 'small', max_tokens: 60, temperature: 1, seed: 7, ignore_eos: true };

  it('one goes on with what the other has kept, with the same tokens, where that one is killed in an answer', async () => {
    const [here, there] = replicas;
    const begun = await here.post<Answered>('/v1/sessions', { model: 'small', prompt: 'Once upon a time' });
    expect(begun.status).to.equal(200);
    const { id } = begun.body;
    // What an answer would be, from a copy.
    const { body: copy } = await there.post<Answered>(`/v1/sessions/${id}/fork`, {});
    const expected = await there.post<Answered>(`/v1/sessions/${copy.id}/completions`, {
      ...drawn,
      prompt: ' there was',
    });
    expect(expected.status).to.equal(200);
    const broken = await here.stream(
      `/v1/sessions/${id}/completions`,
      { ...drawn, max_tokens: 2000, prompt: ' there was' },
      (text) => text.split('\n\n').length > 8,
    );
    expect(broken).to.include('data: ');
    await here.kill();
    const again = await there.post<Answered>(`/v1/sessions/${id}/completions`, { ...drawn, prompt: ' there was' });
    expect([again.status, again.body.choices[0].text]).to.eql([200, expected.body.choices[0].text]);
    expect(again.body.usage.prompt_tokens_details.cached_tokens).to.equal(begun.body.length);
    replicas[0] = await ServerProcess.start(model.folder, ['--redis', redis.url]);
    const last = await replicas[0].post<Answered>(`/v1/sessions/${id}/completions`, { ...drawn, prompt: ' and' });
    expect(last.status).to.equal(200);
    expect(last.body.usage.prompt_tokens_details.cached_tokens).to.be.above(begun.body.length);
  });

  it('a writer that somebody else has overtaken is told so, and changes nothing', async () => {
    const [here, there] = replicas;
    const { body: begun } = await here.post<Answered>('/v1/sessions', { model: 'small', prompt: 'Twice' });
    const long = here.post<Answered>(`/v1/sessions/${begun.id}/completions`, {
      ...drawn,
      max_tokens: 4000,
      prompt: ' told',
    });
    const metrics = async (): Promise<string> => (await fetch(`${here.url}/metrics`)).text();
    while (!/running_requests\{model="small"\} 1/.test(await metrics()))
      await new Promise((done) => setTimeout(done, 1));
    const quick = await there.post<Answered>(`/v1/sessions/${begun.id}/completions`, {
      ...drawn,
      max_tokens: 5,
      prompt: ' told',
    });
    expect(quick.status).to.equal(200);
    const { status, body } = await long;
    expect([status, body.error?.code]).to.eql([409, 'session_taken']);
    const kept = await (await fetch(`${there.url}/v1/sessions/${begun.id}`)).json();
    expect((kept as Answered).length).to.equal(begun.length + 5 + 5);
  });

  it('texts of responses are those of all servers', async () => {
    const [here, there] = replicas;
    const { body } = await here.post<Answered>('/v1/responses', { model: 'small', input: 'Hi', max_output_tokens: 4 });
    const url = `/v1/responses/${body.id}`;
    const found = await fetch(there.url + url);
    expect([found.status, ((await found.json()) as Answered).output]).to.eql([200, body.output]);
    expect((await fetch(there.url + url, { method: 'DELETE' })).status).to.equal(200);
    expect((await fetch(here.url + url)).status).to.equal(404);
    const client = redis.client();
    const again = await here.post<Answered>('/v1/responses', { model: 'small', input: 'Hi', max_output_tokens: 4 });
    const [key] = await client.keys(`*response*${again.body.id}`);
    expect(await client.ttl(key)).to.be.within(720 * 3600 - 60, 720 * 3600);
  });

  it('says that Redis is not there', async () => {
    const options = { models: [{ folder: model.folder, name: 'small' }], redis: `${inFolder('none')}.sock` };
    let failure: unknown;
    await TestServer.start(options).catch((error: unknown) => (failure = error));
    expect(String(failure)).to.match(/Redis cannot be reached/);
  });
});
