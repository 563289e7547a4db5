// Conversations as states: continued, forked, taken back, kept for another process, and nobody else's.
import { expect } from 'chai';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type SmallModel, smallModel } from './folder';
import { type Answered, type Asked, serving, TestServer } from './running';

const KEYS = ['key-of-alice-0123456789', 'key-of-bob-0123456789'];
const auth = (key: string) => ({ authorization: `Bearer ${key}` });

for (const kept of ['in memory', 'in a folder'] as const) {
  describe(`server: sessions ${kept}`, function () {
    this.timeout(30_000);
    const folder = kept === 'in memory' ? undefined : mkdtempSync(path.join(tmpdir(), 'fast-weights-states-'));
    after(() => folder && rmSync(folder, { recursive: true, force: true }));
    const running = serving({ stateFolder: folder, keys: KEYS.join('\n') });
    const ask = async (method: string, path: string, body?: unknown, key = KEYS[0]): Promise<Asked> =>
      running().ask(method, `/v1/sessions${path}`, body, auth(key));
    const ok = async (method: string, path: string, body?: unknown): Promise<Answered> => {
      const { status, text, body: answered } = await ask(method, path, body);
      expect(status, text).to.equal(200);
      return answered;
    };
    const create = (body: object = {}): Promise<Answered> => ok('POST', '', { model: 'small', ...body });
    const go = (id: string, body: object): Promise<Answered> =>
      ok('POST', `/${id}/completions`, { model: 'small', max_tokens: 6, seed: 1, ...body });
    const text = ({ choices }: Answered): string => choices[0].text;

    it('goes on from what it has read, and reads nothing twice', async () => {
      const { id, length } = await create({ prompt: 'Once' });
      expect(length).to.equal(4);
      const first = await go(id, { prompt: ' upon' });
      expect(first.usage).to.deep.include({ prompt_tokens: 9, prompt_tokens_details: { cached_tokens: 4 } });
      const whole = await running()
        .client(KEYS[0])
        .completions.create({ model: 'small', prompt: 'Once upon', max_tokens: 6, seed: 1 });
      expect(text(first)).to.equal(whole.choices[0].text);
      const session = await ok('GET', `/${id}`);
      expect(session.length).to.equal(9 + first.usage.completion_tokens);
      expect((await ok('GET', '')).data.map((each) => each.id)).to.include(id);
    });

    it('are listed newest first, page by page, without their snapshots and to nobody else', async () => {
      const ids: string[] = [];
      for (let i = 0; i < 5; i++) {
        ids.unshift((await create()).id);
        await ok('POST', `/${ids[0]}/snapshots`, { name: 'kept' });
        // Names of one millisecond are in no order.
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      const pages: Answered[] = [];
      for (let after = ''; pages.length < 3; after = `&after=${pages.at(-1)!.last_id as string}`) {
        pages.push(await ok('GET', `?limit=2${after}`));
      }
      expect(pages.flatMap(({ data }) => data.map(({ id }) => id)).slice(0, 5)).to.eql(ids);
      expect(pages[0]).to.deep.include({ object: 'list', first_id: ids[0], last_id: ids[1], has_more: true });
      const whole = await ok('GET', '');
      expect(whole.has_more).to.equal(false);
      expect(whole.data.slice(0, 5).map(({ id }) => id)).to.eql(ids);
      expect(whole.data[0]).to.have.keys('id', 'object', 'created_at', 'model', 'bytes');
      const last = whole.last_id as string;
      expect(await ok('GET', `?after=${last}`)).to.deep.include({ data: [], last_id: null, has_more: false });
      expect((await ask('GET', '', undefined, KEYS[1])).body.data).to.eql([]);
      for (const [query, param] of [
        ['limit=0', 'limit'],
        ['limit=1001', 'limit'],
        ['limit=x', 'limit'],
        ['after=x', 'after'],
        ['order=asc', 'order'],
      ]) {
        const { status, body } = await ask('GET', `?${query}`);
        expect([status, body.error.param]).to.eql([400, param]);
      }
    });

    it('goes on with the draws of the generation before', async () => {
      const [one, two] = [await create({ prompt: 'ab' }), await create({ prompt: 'ab' })];
      const whole = await go(one.id, { prompt: 'c', max_tokens: 10, ignore_eos: true });
      const first = await go(two.id, { prompt: 'c', max_tokens: 4, ignore_eos: true });
      const second = await go(two.id, { max_tokens: 6, seed: undefined, resume: true, ignore_eos: true });
      // Characters may lie across the two.
      expect(second.usage.completion_tokens).to.equal(6);
      expect((text(first) + text(second)).replace(/\uFFFD/g, '')).to.equal(text(whole).replace(/\uFFFD/g, ''));
    });

    it('says that a stop string ended what goes on, also where it lies across the two', async () => {
      const { id } = await create({ prompt: 'ab' });
      // The two bytes of é.
      await go(id, { prompt: 'c', max_tokens: 1, logit_bias: { 195: 100 } });
      const rest = { max_tokens: 6, seed: undefined, resume: true, stop: 'é', logit_bias: { 169: 100 } };
      const { choices, usage } = await go(id, rest);
      expect([choices[0].finish_reason, usage.completion_tokens]).to.eql(['stop', 1]);
    });

    it('takes messages by turns, as the client that keeps all of them', async () => {
      const session = await create();
      const client = running().client(KEYS[0], `/sessions/${session.id}`);
      const turn = (content: string, format?: object) =>
        client.chat.completions.create({
          model: 'small',
          messages: [{ role: 'user', content }],
          max_tokens: 8,
          seed: 2,
          ...(format && { response_format: format as never }),
        });
      const first = await turn('Hi', { type: 'grammar', grammar: 'root ::= "Good"' });
      expect(first.choices[0]).to.deep.include({ finish_reason: 'stop' });
      const second = await turn('And?');
      const all = await running()
        .client(KEYS[0])
        .chat.completions.create({
          model: 'small',
          messages: [
            { role: 'user', content: 'Hi' },
            { role: 'assistant', content: 'Good' },
            { role: 'user', content: 'And?' },
          ],
          max_tokens: 8,
          seed: 2,
        });
      expect(second.choices[0].message.content).to.equal(all.choices[0].message.content);
      expect(second.usage!.prompt_tokens).to.equal(all.usage!.prompt_tokens);
      const suffix = '<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n';
      const length = suffix.replace(/<\|im_\w+\|>/g, '.').length;
      expect(second.usage!.prompt_tokens - second.usage!.prompt_tokens_details!.cached_tokens!).to.equal(length);
    });

    it('is forked, and both go on alone', async () => {
      const { id } = await create({ prompt: 'abc' });
      const fork = await ok('POST', `/${id}/fork`);
      expect(fork.length).to.equal(3);
      const there = await go(fork.id, { prompt: 'x' });
      const here = await go(id, { prompt: 'x' });
      expect(text(here)).to.equal(text(there));
      await go(id, { prompt: 'y' });
      expect((await ok('GET', `/${fork.id}`)).length).to.equal(4 + there.usage.completion_tokens);
    });

    it('goes back to snapshots, and by tokens where it has a history', async () => {
      const { id } = await create({ prompt: 'abc', history: true });
      await ok('POST', `/${id}/snapshots`, { name: 'start' });
      const first = text(await go(id, { prompt: 'x' }));
      expect((await ok('POST', `/${id}/rollback`, { snapshot: 'start' })).length).to.equal(3);
      expect(text(await go(id, { prompt: 'x' }))).to.equal(first);
      const { length } = await ok('GET', `/${id}`);
      expect((await ok('POST', `/${id}/rollback`, { tokens: length - 3 })).length).to.equal(3);
      expect(text(await go(id, { prompt: 'x' }))).to.equal(first);
      expect((await ok('GET', `/${id}/snapshots`)).data.map(({ name }) => name)).to.eql(['start']);
      await ok('DELETE', `/${id}/snapshots/start`);
      expect((await ask('POST', `/${id}/rollback`, { snapshot: 'start' })).status).to.equal(404);
      expect((await ask('POST', `/${id}/rollback`, { tokens: 1e6 })).body.error.code).to.equal('invalid_value');
      const plain = await create({ prompt: 'abc' });
      const refused = await ask('POST', `/${plain.id}/rollback`, { tokens: 2 });
      expect([refused.status, refused.body.error.code]).to.eql([400, 'unsupported']);
    });

    it('is gone when it is deleted, with its snapshots', async () => {
      const { id } = await create({ prompt: 'abc' });
      await ok('POST', `/${id}/snapshots`, {});
      await ok('DELETE', `/${id}`);
      expect((await ask('GET', `/${id}`)).body.error.code).to.equal('session_not_found');
      expect((await ask('POST', `/${id}/completions`, { model: 'small', prompt: 'a' })).status).to.equal(404);
      if (!folder) return;
      const names = readdirSync(path.join(folder, 'small'), { recursive: true }) as string[];
      expect(names.filter((name) => name.includes(id))).to.eql([]);
    });

    it("is nobody else's", async () => {
      const { id } = await create({ prompt: 'abc' });
      const response = await running()
        .client(KEYS[0])
        .responses.create({ model: 'small', input: 'Hi', max_output_tokens: 2 });
      for (const [method, path, body] of [
        ['GET', `/${id}`],
        ['DELETE', `/${id}`],
        ['POST', `/${id}/fork`],
        ['POST', `/${id}/snapshots`, {}],
        ['POST', `/${id}/completions`, { model: 'small', prompt: 'a' }],
      ] as const) {
        expect((await ask(method, path, body, KEYS[1])).status, path).to.equal(404);
      }
      expect((await ask('GET', '', undefined, KEYS[1])).body.data).to.eql([]);
      const other = running().client(KEYS[1]);
      const refused = await other.responses
        .create({ model: 'small', input: 'Hi', previous_response_id: response.id })
        .catch((error: { code: string }) => error.code);
      expect(refused).to.equal('previous_response_not_found');
      expect((await running().ask('GET', `/v1/responses/${response.id}`, undefined, auth(KEYS[1]))).status).to.equal(
        404,
      );
      expect((await ok('GET', `/${id}`)).length).to.equal(3);
    });

    it('has one writer at a time', async () => {
      const { id } = await create({ prompt: 'abc' });
      const body = { model: 'small', prompt: 'x', max_tokens: 4000, ignore_eos: true };
      // So many that some meet, however fast the model is.
      const answers = await Promise.all(Array.from({ length: 6 }, () => ask('POST', `/${id}/completions`, body)));
      expect([...new Set(answers.map(({ status }) => status))].sort()).to.eql([200, 409]);
      await go(id, { prompt: 'x' });
    });

    it('takes the next request of a client that has broken off its stream', async () => {
      const { id } = await create({ prompt: 'abc' });
      for (let i = 0; i < 5; i++) {
        const controller = new AbortController();
        const broken = await fetch(`${running().server.url}/v1/sessions/${id}/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...auth(KEYS[0]) },
          body: JSON.stringify({ model: 'small', prompt: 'x', max_tokens: 4000, stream: true, ignore_eos: true }),
          signal: controller.signal,
        });
        await broken.body!.getReader().read();
        controller.abort();
        await go(id, { prompt: 'y' });
      }
    });

    it('keeps what was written where a stream is broken off', async () => {
      const { id } = await create({ prompt: 'abc' });
      const client = running().client(KEYS[0], `/sessions/${id}`);
      const stream = await client.completions.create({
        model: 'small',
        prompt: 'x',
        max_tokens: 4000,
        stream: true,
        ignore_eos: true,
      } as never);
      let count = 0;
      for await (const chunk of stream as unknown as AsyncIterable<unknown>) if (chunk && ++count === 3) break;
      for (let i = 0; i < 200; i++) {
        const { length } = await ok('GET', `/${id}`);
        if (length > 3) {
          expect(length).to.be.within(4 + 3, 3000);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect.fail('nothing was kept');
    });
  });
}

describe('server: states', function () {
  this.timeout(60_000);
  let model: SmallModel;
  before(async () => (model = await smallModel()));
  afterEach(() => TestServer.stopAll());
  after(() => model.remove());
  const start = (options: object): Promise<TestServer> =>
    TestServer.start({ models: [{ folder: model.folder, name: 'small' }], ...options });

  it('in a folder survive the server, with the same tokens', async () => {
    const stateFolder = mkdtempSync(path.join(tmpdir(), 'fast-weights-states-'));
    const texts: string[] = [];
    let id = '';
    let response = '';
    for (let i = 0; i < 2; i++) {
      const server = await start({ stateFolder });
      const turn = async (session: string): Promise<string> => {
        const { body } = await server.ask('POST', `/v1/sessions/${session}/completions`, {
          model: 'small',
          prompt: 'x',
          seed: 3,
        });
        return body.choices[0].text;
      };
      if (i === 0) {
        id = (await server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' })).body.id;
        const { body: fork } = await server.ask('POST', `/v1/sessions/${id}/fork`);
        texts.push(await turn(fork.id));
        response = (await server.client().responses.create({ model: 'small', input: 'Hi', max_output_tokens: 4 })).id;
      } else texts.push(await turn(id));
      const next = { model: 'small', input: 'More', max_output_tokens: 4, previous_response_id: response, seed: 5 };
      texts.push((await server.client().responses.create(next as never)).output_text);
      // Its text, too.
      expect((await server.client().responses.retrieve(response)).id).to.equal(response);
      await server.stop();
    }
    expect(texts.slice(2)).to.eql(texts.slice(0, 2));
    rmSync(stateFolder, { recursive: true });
  });

  it('in memory take as much as they may, and go in the order of their use', async () => {
    const server = await start({ stateBytes: 20_000 });
    const ids: string[] = [];
    for (let i = 0; i < 8; i++)
      ids.push((await server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' })).body.id);
    const statuses = await Promise.all(ids.map(async (id) => (await server.ask('GET', `/v1/sessions/${id}`)).status));
    expect(statuses[0]).to.equal(404);
    expect(statuses.at(-1)).to.equal(200);
    await server.stop();
    const tiny = await start({ stateBytes: 100, maxStates: 2 });
    const { status, body } = await tiny.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' });
    expect([status, body.error.code]).to.eql([507, 'state_too_large']);
    await tiny.stop();
  });

  it('in memory that one key makes do not drive out those of another', async () => {
    const server = await start({ stateBytes: 20_000, keys: KEYS.join('\n') });
    const create = async (key: string): Promise<string> =>
      (await server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' }, auth(key))).body.id;
    const there = async (id: string, key: string): Promise<boolean> =>
      (await server.ask('GET', `/v1/sessions/${id}`, undefined, auth(key))).status === 200;
    const own = await create(KEYS[1]);
    const many: string[] = [];
    for (let i = 0; i < 8; i++) many.push(await create(KEYS[0]));
    expect(await there(own, KEYS[1])).to.equal(true);
    expect([await there(many[0], KEYS[0]), await there(many.at(-1)!, KEYS[0])]).to.eql([false, true]);
    await server.stop();
  });

  it('that memory has forgotten do not count', async () => {
    const server = await start({ maxStates: 6, stateBytes: 20_000 });
    for (let i = 0; i < 10; i++) {
      expect((await server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' })).status).to.equal(200);
    }
    await server.stop();
  });

  it('of a key are so many', async () => {
    const server = await start({ maxStates: 2 });
    const create = (): Promise<Asked> => server.ask('POST', '/v1/sessions', { model: 'small', prompt: 'abc' });
    const { id } = (await create()).body;
    await create();
    expect((await create()).body.error.code).to.equal('too_many_states');
    // What is there already is no further one.
    expect(
      (await server.ask('POST', `/v1/sessions/${id}/completions`, { model: 'small', prompt: 'a' })).status,
    ).to.equal(200);
    await server.ask('DELETE', `/v1/sessions/${id}`);
    expect((await create()).status).to.equal(200);
    await server.stop();
  });
});
