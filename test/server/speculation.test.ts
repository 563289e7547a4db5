// Requests whose tokens are guessed: the same answers, and how many guesses were right.
import { expect } from 'chai';
import { type SmallModel, smallModel } from './folder';
import { type Asked, TestServer } from './running';

describe('server: speculation', function () {
  this.timeout(60_000);
  const folders: SmallModel[] = [];
  let server: TestServer;
  before(async () => {
    folders.push(await smallModel({ hiddenSize: 64, numLayers: 3 }), await smallModel());
    const [{ folder }, { folder: draft }] = folders;
    const models = [
      { folder, name: 'small', draft },
      { folder, name: 'alone' },
    ];
    server = await TestServer.start({ models });
  });
  after(async () => {
    await TestServer.stopAll();
    for (const each of folders) each.remove();
  });
  const ask = (path: string, more: object): Promise<Asked> =>
    server.ask('POST', path, { model: 'small', seed: 3, ignore_eos: true, ...more });
  const prompt = 'one two three one two three one two three ';
  const [GREEDY, DRAWN] = [0, 1];

  for (const temperature of [GREEDY, DRAWN]) {
    for (const speculate of ['ngram', 'draft']) {
      it(`by ${speculate} writes what there is without, at temperature ${temperature}`, async () => {
        // A text that repeats itself, for n-grams.
        const bias = speculate === 'ngram' && { logit_bias: { 97: 60 } };
        const body = { prompt, temperature, max_tokens: 40, logprobs: 2, ...bias };
        const plain = await ask('/v1/completions', body);
        expect(plain.body.usage.completion_tokens_details).to.equal(undefined);
        const { status, body: found } = await ask('/v1/completions', { ...body, speculate });
        expect(status).to.equal(200);
        expect(found.choices[0].text).to.equal(plain.body.choices[0].text);
        const { accepted_prediction_tokens: accepted, rejected_prediction_tokens: rejected } =
          found.usage.completion_tokens_details!;
        if (speculate === 'ngram') expect(accepted).to.be.above(25);
        else expect(accepted + rejected).to.be.above(0);
      });
    }
  }

  it('in messages, responses, sessions and streams', async () => {
    const guessed = { temperature: 0, speculate: 'draft' };
    const messages = [{ role: 'user', content: prompt }];
    const chat = await ask('/v1/chat/completions', { ...guessed, messages, max_tokens: 24 });
    expect(chat.body.usage.completion_tokens_details!.rejected_prediction_tokens).to.be.above(0);
    const response = await ask('/v1/responses', { ...guessed, input: prompt, max_output_tokens: 24 });
    const { output_tokens_details: details } = response.body.usage as unknown as {
      output_tokens_details: Record<string, number>;
    };
    expect(details.rejected_prediction_tokens).to.be.above(0);
    const streamed = await ask('/v1/completions', {
      ...guessed,
      prompt,
      max_tokens: 24,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(streamed.text).to.match(/"rejected_prediction_tokens":[1-9]/);
    const texts = [];
    for (const more of [guessed, { temperature: 0 }]) {
      const { body: session } = await server.ask('POST', '/v1/sessions', { model: 'small', prompt });
      const turns = ['', ' and ', ''].map((text) => ({ ...more, prompt: text, max_tokens: 17 }));
      let text = '';
      for (const turn of turns)
        text += (await ask(`/v1/sessions/${session.id}/completions`, turn)).body.choices[0].text;
      texts.push(text);
    }
    expect(texts[0]).to.equal(texts[1]);
  });

  it('is refused by name where it cannot be', async () => {
    const without = await ask('/v1/completions', { model: 'alone', prompt, speculate: 'draft' });
    expect(without.status).to.equal(400);
    expect(without.body.error).to.deep.include({ param: 'speculate' });
    expect(without.body.error.message).to.match(/'alone' has no draft here: start the server with --draft/);
    expect((await ask('/v1/completions', { prompt, speculate: 'bigram' })).status).to.equal(400);
  });
});
