// Long bodies, which are read beside the thread of HTTP: the same answers and the same refusals as of short ones.
import { expect } from 'chai';
import { Bodies, SHORT_BODY } from '../../lib/server/http/bodies';
import { type Answered, serving } from './running';

const PADDING = ' '.repeat(SHORT_BODY);
const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

describe('server: long bodies', function () {
  this.timeout(60_000);
  const running = serving({ maxPromptTokens: 1000 });

  async function post(path: string, body: string | Uint8Array): Promise<{ status: number; body: Answered }> {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(running().server.url + path, { method: 'POST', headers, body });
    return { status: answer.status, body: (await answer.json()) as Answered };
  }

  it('are answered as short ones, and no long text is parsed in the thread of HTTP', async () => {
    const { parse } = JSON;
    let longest = 0;
    JSON.parse = (text: string, ...rest) => {
      longest = Math.max(longest, text.length);
      return parse(text, ...rest) as unknown;
    };
    try {
      const drawn = { model: 'small', max_tokens: 5, seed: 1 };
      const both = async (path: string, body: object): Promise<void> => {
        const [long, short] = await Promise.all(
          [PADDING, ''].map((padding) => post(path, JSON.stringify(body) + padding)),
        );
        expect([long.status, short.status]).to.eql([200, 200]);
        const told = ({ choices, output, data, length }: Answered): unknown[] => [
          choices,
          (output as { content: unknown }[])?.map(({ content }) => content),
          data,
          length,
        ];
        expect(told(long.body)).to.eql(told(short.body));
      };
      await both('/v1/completions', { ...drawn, prompt: [[1, 2], [3]], user: 'me', logit_bias: { 5: -100 } });
      await both('/v1/embeddings', { model: 'small', input: ['ab', 'c'] });
      await both('/v1/embeddings', { model: 'small', input: [1, 2, 3] });
      await both('/v1/sessions', { model: 'small', prompt: [1, 2, 3] });
      const content = [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ];
      await both('/v1/chat/completions', { ...drawn, messages: [{ role: 'user', content }] });
      await both('/v1/responses', {
        model: 'small',
        seed: 1,
        max_output_tokens: 5,
        input: [{ role: 'user', content }],
      });
      const parts = Array.from({ length: 900 }, () => ({ type: 'text', text: 'x'.repeat(100) }));
      for (const prompt of [Array.from({ length: 30_000 }, (_, i) => i % 250), 'x'.repeat(90_000)]) {
        const { status, body } = await post('/v1/completions', JSON.stringify({ ...drawn, prompt }));
        expect([status, body.error.code]).to.eql([400, 'context_length_exceeded']);
        expect(body.error.message).to.include(`has ${prompt.length}.`);
      }
      const messages = [{ role: 'user', content: parts }];
      const chat = await post('/v1/chat/completions', JSON.stringify({ ...drawn, messages }));
      expect(chat.body.error.code).to.equal('context_length_exceeded');
    } finally {
      JSON.parse = parse;
    }
    expect(longest).to.be.within(1, SHORT_BODY);
  });

  it('are refused in the same words', async () => {
    const wrong: [path: string, body: string, code: string | null][] = [
      ['/v1/completions', '{"model":"small","prompt":"a","max_tokens":"many"', 'invalid_json'],
      ['/v1/completions', `${'['.repeat(200)}${']'.repeat(200)}`, 'invalid_json'],
      ['/v1/completions', '[]', 'invalid_type'],
      ['/v1/completions', '{"model":"small","prompt":"a","max_tokens":"many"}', 'invalid_type'],
      ['/v1/completions', '{"model":"small","prompt":["a",1]}', null],
      ['/v1/completions', '{"model":"small","prompt":"a","suffix":"b"}', 'unsupported_parameter'],
      ['/v1/completions', '{"model":"other","prompt":"a"}', 'model_not_found'],
      ['/v1/chat/completions', '{"model":"small","messages":[],"tool":1}', 'unknown_parameter'],
      ['/v1/chat/completions', '{"model":"small","messages":[{"role":"user","content":[{"type":"x"}]}]}', null],
      ['/v1/sessions', '{}', 'missing_required_parameter'],
    ];
    for (const [path, body, code] of wrong) {
      const [long, short] = await Promise.all([body + PADDING, body].map((each) => post(path, each)));
      // Where JSON ends too early its length is told.
      for (const { error } of [long.body, short.body]) error.message = error.message.replace(/position \d+/, '');
      expect(long, body).to.eql(short);
      expect(long.status).to.be.within(400, 404);
      if (code !== null) expect(long.body.error.code).to.equal(code);
    }
    const noText = new Uint8Array(2 * SHORT_BODY).fill(255);
    expect((await post('/v1/completions', noText)).body.error.message).to.match(/no UTF-8/);
  });

  it('fail with 503 where their thread dies, and the next begins another one', async () => {
    const bodies = new Bodies();
    const long = bytesOf({ model: 'small', prompt: 'x'.repeat(SHORT_BODY) });
    try {
      const lost = bodies.read('completion', long).catch((error: unknown) => error);
      bodies.dispose();
      expect(await lost).to.include({ status: 503, code: 'body_lost' });
      expect((await bodies.read('completion', long)).prompt).to.have.length(SHORT_BODY);
    } finally {
      bodies.dispose();
    }
  });
});
