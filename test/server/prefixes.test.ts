// Prompts that begin alike: what is reused, told in the answer, the log and the metrics, and never across keys.
import { expect } from 'chai';
import { type Asked, serving, until } from './running';

const [ONE, OTHER] = ['sk-0123456789abcdef', 'sk-fedcba9876543210'];

describe('server: prompts that begin alike', () => {
  const server = serving({ keys: `${ONE} name=one\n${OTHER} name=other`, prefixBytes: 2 ** 24 });
  const beginning = 'A long beginning that many requests share, word for word. '.repeat(6);
  const ask = (end: string, key = ONE): Promise<Asked> =>
    server().ask(
      'POST',
      '/v1/completions',
      { model: 'small', prompt: beginning + end, max_tokens: 8, temperature: 1, seed: 3, ignore_eos: true },
      { authorization: `Bearer ${key}` },
    );
  const details = ({ body }: Asked): unknown => body.usage.prompt_tokens_details;

  it('share what reading the beginning takes, with the same tokens', async () => {
    const first = await ask('and then');
    expect(details(first)).to.eql({ cached_tokens: 0, uncached: 'unseen' });
    const again = await ask('and then');
    expect(details(again)).to.eql({ cached_tokens: 256, uncached: 'rest' });
    expect(again.body.choices[0].text).to.equal(first.body.choices[0].text);
    expect(again.body.usage.prompt_tokens).to.equal(first.body.usage.prompt_tokens);
    const another = await ask('but now');
    expect(details(another)).to.deep.include({ cached_tokens: 256 });
    expect(server().log.at(-1)).to.deep.include({ unreused: 'rest' });
    expect(server().log.at(-1)!.tokens).to.deep.include({ reused: 256 });
  });

  it('are told of by responses and new sessions as well', async () => {
    const post = (path: string, body: object): Promise<Asked> =>
      server().ask('POST', path, { model: 'small', ...body }, { authorization: `Bearer ${ONE}` });
    const input = 'Another beginning, of a response. '.repeat(10);
    const respond = async (): Promise<unknown> =>
      ((await post('/v1/responses', { input, max_output_tokens: 2 })).body.usage as Record<string, unknown>)
        .input_tokens_details;
    expect(await respond()).to.eql({ cached_tokens: 0, uncached: 'unseen' });
    expect(await respond()).to.eql({ cached_tokens: 256, uncached: 'rest' });
    const prompt = 'A third one, of a session. '.repeat(12);
    expect(details(await post('/v1/sessions', { prompt }))).to.eql({ cached_tokens: 0, uncached: 'unseen' });
    const { body } = await post('/v1/sessions', { prompt });
    expect(body.usage).to.deep.include({ prompt_tokens: body.length, completion_tokens: 0 });
    expect(body.usage.prompt_tokens_details).to.eql({ cached_tokens: 256, uncached: 'rest' });
    expect(server().log.at(-1)).to.deep.include({ unreused: 'rest' });
    expect(server().log.at(-1)!.tokens).to.deep.include({ reused: 256, prompt: body.length - 256 });
    expect((await post('/v1/sessions', {})).body).not.to.have.property('usage');
  });

  it('share nothing with those of another key', async () => {
    expect(details(await ask('and then', OTHER))).to.eql({ cached_tokens: 0, uncached: 'unseen' });
    expect(details(await ask('and then', OTHER))).to.eql({ cached_tokens: 256, uncached: 'rest' });
  });

  it("begin with the system's words, whose last multiple is found however conversations go on", async () => {
    const chat = async (words: string, content: string): Promise<Asked> =>
      server().ask(
        'POST',
        '/v1/chat/completions',
        {
          model: 'small',
          messages: [
            { role: 'system', content: words },
            { role: 'user', content },
          ],
          max_tokens: 4,
          seed: 3,
        },
        { authorization: `Bearer ${ONE}` },
      );
    // 10 tokens of the template around them: 300 in all, of which two blocks of 128 are whole.
    const words = 'S'.repeat(290);
    const long = 'u'.repeat(400);
    expect(details(await chat(words, long))).to.eql({ cached_tokens: 0, uncached: 'unseen' });
    const second = await chat(words, `v${long}`);
    expect(details(second)).to.eql({ cached_tokens: 256, uncached: 'rest' });
    // The same where the text is long enough to be made of tokens elsewhere.
    const longer = 'T'.repeat(3000);
    expect(details(await chat(longer, long))).to.deep.include({ cached_tokens: 0 });
    expect(details(await chat(longer, `w${long}`))).to.eql({ cached_tokens: 2944, uncached: 'rest' });
  });

  it('are counted', async () => {
    const count = async (name: string): Promise<number> => {
      const { text } = await server().ask('GET', '/metrics', undefined, { authorization: `Bearer ${ONE}` });
      return Number(new RegExp(`^fast_weights_${name}\\{model="small"\\} (\\d+)`, 'm').exec(text)?.[1]);
    };
    await until(async () => (await count('prefix_states')) > 1);
    expect(await count('prefix_bytes')).to.be.above(1000);
  });
});
