// A look at what a model's fast weights did in a conversation.
import { expect } from 'chai';
import * as fw from '../../lib';
import { IM_END } from './folder';
import { type Answered, type Asked, serving } from './running';

const KEYS = ['key-of-alice-0123456789', 'key-of-bob-0123456789'];
const auth = (key: string) => ({ authorization: `Bearer ${key}` });

interface Memory {
  [series: string]: number[];
}

describe('server: what fast weights did in a session', function () {
  this.timeout(60_000);
  const running = serving({ keys: KEYS.join('\n'), maxPromptTokens: 2000 });
  const ask = (method: string, path: string, body?: unknown, key = KEYS[0]): Promise<Asked> =>
    running().ask(method, `/v1/sessions${path}`, body, auth(key));
  const ok = async (method: string, path: string, body?: unknown): Promise<Answered> => {
    const { status, text, body: answered } = await ask(method, path, body);
    expect(status, text).to.equal(200);
    return answered;
  };
  const create = async (body: object = {}): Promise<string> =>
    (await ok('POST', '', { model: 'small', history: true, ...body })).id;
  const close = (found: unknown, expected: ArrayLike<number>): void => {
    const list = found as number[];
    expect(list).to.have.lengthOf(expected.length);
    list.forEach((x, i) => {
      if (Number.isNaN(expected[i])) expect(x).to.equal(null);
      else expect(x).to.be.closeTo(expected[i], 2e-3 * Math.abs(expected[i]) + 1e-3);
    });
  };

  it('is what the library finds of the same tokens, and leaves the session as it was', async () => {
    const prompt = 'the key, the value, the key';
    const id = await create({ prompt });
    const said = await ok('POST', `/${id}/completions`, { model: 'small', max_tokens: 5, seed: 1, ignore_eos: true });
    const before = await ok('GET', `/${id}`);
    const answer = await ok('POST', `/${id}/inspect`, { head: 2 });
    expect(await ok('GET', `/${id}`)).to.eql(before);
    expect(answer).to.deep.include({ object: 'session.inspection', session_id: id, model: 'small', first: 0 });
    expect([answer.length, answer.family]).to.eql([before.length, 'gated-deltanet']);
    expect(answer.places).to.eql([{ layer: 1, matrix: 'S', rule: 'deltaRule', heads: 2, keys: 16, values: 16 }]);
    const tokens = answer.tokens as string[];
    expect(tokens.slice(0, prompt.length).join('')).to.equal(prompt);
    expect(tokens).to.have.lengthOf(prompt.length + said.usage.completion_tokens);

    using model = await fw.AutoModelForCausalLM.fromPretrained(running.model().folder);
    using session = model.createSession({ history: true });
    const ids = new TextEncoder().encode(prompt);
    for await (const _ of session.generate([...ids], { maxNewTokens: 5, temperature: 1, seed: 1, stopTokens: [] }));
    const { memories } = await fw.inspectFastWeights(model, session.ids!, { head: 2 });
    const { course } = memories[0];
    const memory = answer.memory as Memory;
    expect(memory).to.deep.include({ layer: 1, head: 2, matrix: 'S', rule: 'deltaRule', writes_per_token: 1 });
    close(memory.written, course.written);
    close(memory.strength, course.strength!);
    close(memory.forgets, course.forgets!);
    close(memory.known_before, course.knownBefore);
    close(memory.known_after, course.knownAfter);
    close(memory.known_now, course.knownNow);
    close(memory.norm, course.norm);
    close(
      memory.kept,
      course.fates.map(({ kept }) => kept.at(-1)!),
    );
    close(memory.reads, course.dual.at(-1)!.weights);
    close(memory.singular_values, course.rank.at(-1)!.singular);
    expect(memory.effective_rank).to.be.closeTo(course.rank.at(-1)!.value, 0.01);
    const pairs = memory.overwrites as unknown as { step: number; of: number; share: number }[];
    const taken = course.fates.flatMap((fate) => [...fate.taken]).filter((x) => x > 0.1);
    close(
      pairs.map(({ share }) => share),
      taken.sort((a, b) => b - a).slice(0, 256),
    );
    for (const { step, of, share } of pairs) expect(course.fates[of].taken[step - of]).to.be.closeTo(share, 0.01);
    expect(answer).not.to.have.property('page');
  });

  it('looks at the last tokens, behind what the ones before left', async () => {
    const text = 'what was written, and what is read of it: '.repeat(6);
    const id = await create({ prompt: text });
    const whole = await ok('POST', `/${id}/inspect`, { tokens: 400, page: true });
    const end = await ok('POST', `/${id}/inspect`, { tokens: 50 });
    expect([whole.first, end.first, end.length]).to.eql([0, text.length - 50, text.length]);
    expect((end.tokens as string[]).join('')).to.equal(text.slice(-50));
    const [all, last] = [whole.memory as Memory, end.memory as Memory];
    close(last.norm, all.norm.slice(-51));
    close(last.known_before, all.known_before.slice(-50));
    close(last.kept, all.kept.slice(-50));
    // What others of the key read alike is not read again.
    const { prompt, reused } = running().log.at(-1)!.tokens as { prompt: number; reused: number };
    expect(prompt + reused).to.equal(text.length);
    expect(reused).to.be.above(0);
    expect(last.reads_before).to.be.above(0);
    expect(all.reads_before).to.equal(0);
    expect((whole.page as { steps: number }).steps).to.equal(text.length);
    const places = end.places as { heads: number; holds?: number[] }[];
    expect(places[0]).not.to.have.property('holds');
    const surveyed = await ok('POST', `/${id}/inspect`, { tokens: 50, head: 2, survey: true });
    const { holds } = (surveyed.places as typeof places)[0];
    const sum = (kept: number[]): number => kept.reduce((all, x) => all + Math.max(0, Math.min(1, x)), 0);
    close(holds, [sum(last.kept), sum((surveyed.memory as Memory).kept)]);
    const few = await ok('POST', `/${id}/inspect`, { threshold: 1 });
    expect((few.memory as Memory).overwrites).to.eql([]);
  });

  it('without a history, is the state and what the next step writes', async () => {
    const prompt = 'the key, the value, the key';
    const [plain, kept] = [await create({ prompt, history: false }), await create({ prompt })];
    // The token that is said next is what the state goes on with.
    const supposed = await ok('POST', `/${plain}/inspect`, { head: 2, survey: true, page: true });
    expect(supposed).to.deep.include({ length: prompt.length, first: prompt.length, supposed: true });
    const logged = running().log.at(-1)!.tokens;
    expect(logged).to.deep.include({ prompt: 1, reused: 0 });
    const turn = { model: 'small', prompt: '', max_tokens: 1, temperature: 0, ignore_eos: true };
    const said = await Promise.all([plain, kept].map((id) => ok('POST', `/${id}/completions`, turn)));
    expect(said[0].choices).to.eql(said[1].choices);
    const before = await ok('GET', `/${plain}`);
    const next = await ok('POST', `/${plain}/inspect`, { head: 2 });
    expect(await ok('GET', `/${plain}`)).to.eql(before);
    expect(next).to.deep.include({ length: prompt.length + 1, first: prompt.length, supposed: false });
    expect([next.tokens, next.memory]).to.eql([supposed.tokens, supposed.memory]);
    const whole = await ok('POST', `/${kept}/inspect`, { head: 2, tokens: 1 });
    expect(whole).not.to.have.property('supposed');
    expect(next.tokens).to.eql(whole.tokens);
    const [found, expected] = [next.memory as Memory, whole.memory as Memory];
    for (const name of ['norm', 'singular_values', 'written', 'strength', 'forgets', 'known_before', 'known_after']) {
      close(found[name], expected[name]);
    }
    expect(found.norm).to.have.lengthOf(2);
    expect(found.norm[0]).to.be.above(0);
  });

  it('refuses what it cannot look at, by name', async () => {
    const id = await create({ prompt: 'abc' });
    const refused = async (
      body: unknown,
      param: string | null,
      code: string,
      path = `/${id}/inspect`,
    ): Promise<void> => {
      const { status, body: answer } = await ask('POST', path, body);
      expect([status, answer.error.param, answer.error.code]).to.eql([400, param, code]);
    };
    await refused({ layer: 2 }, 'layer', 'invalid_argument');
    await refused({ head: 3 }, 'head', 'invalid_argument');
    await refused({ matrix: 'W' }, 'matrix', 'invalid_argument');
    await refused({ tokens: 513 }, 'tokens', 'invalid_value');
    await refused({ tokens: 0 }, 'tokens', 'invalid_value');
    await refused({ threshold: 0 }, 'threshold', 'invalid_value');
    await refused({ last: 4 }, 'last', 'unknown_parameter');
    await refused({}, null, 'invalid_value', `/${await create()}/inspect`);
    await refused({}, null, 'invalid_value', `/${await create({ history: false })}/inspect`);
    const long = await create({ prompt: 'x'.repeat(1999) });
    await ok('POST', `/${long}/completions`, { model: 'small', prompt: 'xyz', max_tokens: 0 });
    await refused({}, null, 'context_length_exceeded', `/${long}/inspect`);
    expect((await ask('POST', `/${id}/inspect`, {}, KEYS[1])).status).to.equal(404);
  });

  it('lets a text go on meanwhile, and looks at one session after another', async () => {
    const id = await create({ prompt: 'ab '.repeat(300) });
    const stream = await running()
      .client(KEYS[0])
      .completions.create({
        model: 'small',
        prompt: 'a',
        max_tokens: 3000,
        stream: true,
        logit_bias: { [IM_END]: -100 },
      });
    let written = 0;
    const reading = (async () => {
      for await (const _ of stream) written++;
    })();
    const begun = written;
    const start = performance.now();
    const ends: number[] = [];
    const look = async (head: number): Promise<Answered> => {
      const answer = await ok('POST', `/${id}/inspect`, { tokens: 512, head });
      ends.push(performance.now() - start);
      return answer;
    };
    const looks = await Promise.all([1, 2, 1].map(look));
    // Three at once would all end late.
    expect(ends[0]).to.be.below(0.75 * ends[2]);
    expect(written - begun).to.be.above(3);
    expect(looks.map(({ memory }) => (memory as Memory).head)).to.eql([1, 2, 1]);
    expect(looks[0]).to.eql(looks[2]);
    stream.controller.abort();
    await reading.catch(() => undefined);
  });
});
