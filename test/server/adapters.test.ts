// Models with adapters: `model:adapter` in every endpoint, batches of several, and states that belong to theirs.
import path from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { writeAdapter } from './adapter';
import { type SmallModel, smallModel } from './folder';
import { type Asked, TestServer } from './running';

describe('server: adapters', function () {
  this.timeout(60_000);
  let model: SmallModel;
  let server: TestServer;
  before(async () => {
    model = await smallModel();
    const { folder } = model;
    const adapters = { fr: path.join(folder, 'fr'), de: path.join(folder, 'de') };
    await writeAdapter(folder, adapters.fr, 1);
    await writeAdapter(folder, adapters.de, 2);
    server = await TestServer.start({
      models: [{ folder, name: 'small', adapters }],
      stateFolder: path.join(folder, 'states'),
      stateBytes: 1,
    });
  });
  after(async () => {
    await TestServer.stopAll();
    model?.remove();
  });
  const NAMES = ['small', 'small:fr', 'small:de'];
  const ask = (where: string, name: string, more: object): Promise<Asked> =>
    server.ask('POST', where, { model: name, seed: 3, ignore_eos: true, ...more });
  const write = (name: string): Promise<Asked> =>
    ask('/v1/completions', name, { prompt: 'Once upon', max_tokens: 24, temperature: 1, logprobs: 1 });

  it('are models of their own to requests, the same alone and together', async () => {
    const alone = [];
    for (const name of NAMES) alone.push(await write(name));
    expect(alone.map(({ body }) => body.model)).to.eql(NAMES);
    const choices = (answers: Asked[]): unknown[] => answers.map(({ body }) => body.choices);
    expect(new Set(choices(alone).map((each) => JSON.stringify(each))).size).to.equal(3);
    expect(choices(await Promise.all([...NAMES, ...NAMES].map(write)))).to.deep.equal(choices([...alone, ...alone]));
  });

  it('in messages, responses and embeddings, and among the models', async () => {
    const texts = new Set<string>();
    for (const name of NAMES) {
      const messages = [{ role: 'user', content: 'Once' }];
      const chat = await ask('/v1/chat/completions', name, { messages, max_tokens: 12, temperature: 0 });
      const { body: response } = await ask('/v1/responses', name, { input: 'Once', max_output_tokens: 12 });
      const { body: vector } = await server.ask('POST', '/v1/embeddings', { model: name, input: 'Once' });
      expect([chat.body.model, response.model, vector.model]).to.eql([name, name, name]);
      texts.add(JSON.stringify([chat.body.choices, vector.data]));
    }
    expect(texts.size).to.equal(3);
    const { body } = await server.ask('GET', '/v1/models');
    expect((body.data as { id: string; parent?: string }[]).map(({ id, parent }) => [id, parent])).to.eql([
      ['small', undefined],
      ['small:fr', 'small'],
      ['small:de', 'small'],
    ]);
    expect((await server.ask('GET', '/v1/models/small:de')).status).to.equal(200);
    expect((await write('small:es')).status).to.equal(404);
  });

  it('a session is looked at through the adapter that it came through', async () => {
    for (const history of [true, false]) {
      const looks: Asked[] = [];
      for (const name of ['small', 'small:fr']) {
        const { body: session } = await server.ask('POST', '/v1/sessions', { model: name, prompt: 'Once', history });
        await ask(`/v1/sessions/${session.id}/completions`, name, { prompt: ' upon', max_tokens: 1, temperature: 0 });
        looks.push(await server.ask('POST', `/v1/sessions/${session.id}/inspect`, {}));
      }
      // The adapter changes the queries.
      const reads = looks.map(({ body }) => (body.memory as { reads: number[] }).reads);
      expect(reads[1]).not.to.eql(reads[0]);
      using base = await fw.AutoModelForCausalLM.fromPretrained(model.folder);
      const adapted = await base.loadAdapter('fr', path.join(model.folder, 'fr'));
      const ids = [...new TextEncoder().encode('Once upon')];
      using session = adapted.createSession();
      for await (const { id } of session.generate(ids, { maxNewTokens: 1, temperature: 0 })) ids.push(id);
      const { memories } = await fw.inspectFastWeights(adapted, ids, { layer: 1, head: 1 });
      const { weights } = memories[0].course.dual.at(-1)!;
      reads[1].forEach((x, i) => {
        expect(x).to.be.closeTo(weights.at(i - reads[1].length)!, 1e-3 * Math.abs(weights.at(-1)!));
      });
    }
  });

  it('a session and a response go on through the adapter that they began with', async () => {
    const { body: session } = await server.ask('POST', '/v1/sessions', {
      model: 'small:fr',
      prompt: 'Once upon',
      history: true,
    });
    expect(session.model).to.equal('small:fr');
    const at = `/v1/sessions/${session.id}`;
    for (const name of ['small', 'small:de']) {
      const refused = await ask(`${at}/completions`, name, { prompt: ' a', max_tokens: 2 });
      expect(refused.status).to.equal(400);
      expect(refused.body.error).to.deep.include({ param: 'model', code: 'wrong_adapter' });
      expect(refused.body.error.message).to.match(/written by 'small:fr'/);
    }
    const said = await ask(`${at}/completions`, 'small:fr', { prompt: ' a', max_tokens: 6, temperature: 0 });
    const whole = await ask('/v1/completions', 'small:fr', { prompt: 'Once upon a', max_tokens: 6, temperature: 0 });
    expect(said.body.choices[0].text).to.equal(whole.body.choices[0].text);
    const { body: fork } = await server.ask('POST', `${at}/fork`, {});
    const { body: back } = await server.ask('POST', `${at}/rollback`, { tokens: 7 });
    const { body: got } = await server.ask('GET', at);
    expect([fork.model, back.model, got.model]).to.eql(['small:fr', 'small:fr', 'small:fr']);
    const again = await ask(`${at}/completions`, 'small:fr', { prompt: 'a', max_tokens: 6, temperature: 0 });
    expect(again.body.choices[0].text).to.equal(said.body.choices[0].text);
    const { body: first } = await ask('/v1/responses', 'small:de', { input: 'Once', max_output_tokens: 4 });
    const more = { input: 'more', max_output_tokens: 4, previous_response_id: first.id };
    expect((await ask('/v1/responses', 'small:fr', more)).body.error).to.deep.include({ code: 'wrong_adapter' });
    expect((await ask('/v1/responses', 'small:de', more)).status).to.equal(200);
  });
});
