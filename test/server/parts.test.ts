// The parts of the server that need no server.
import { expect } from 'chai';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ChatTemplate } from '../../lib/server/engine/chatTemplate';
import { Places } from '../../lib/server/engine/places';
import { ApiError } from '../../lib/server/errors';
import { merge } from '../../lib/server/http/sse';
import { createdAt, isStoredId, newId } from '../../lib/server/ids';
import { Keys } from '../../lib/server/keys';
import { Limits } from '../../lib/server/limits';
import { TextsInFolder, TextsInMemory } from '../../lib/server/responseTexts';
import { ToolReader } from '../../lib/server/tools';
import { expectError } from '../support/errors';

function refused(status: number, act: () => unknown): ApiError {
  try {
    act();
  } catch (error) {
    if (error instanceof ApiError) {
      expect(error.status).to.equal(status);
      return error;
    }
    throw error;
  }
  throw new Error('it should have been refused');
}

describe('server: keys', () => {
  const text = 'first-key-0123456789 name=one concurrent=2\nsecond-key-0123456789';

  it('are found by what a header holds, each with limits of its own or the usual ones', () => {
    const keys = Keys.parse(text, 'keys', { concurrent: 9, tokensPerMinute: 50 });
    const one = keys.holder('Bearer first-key-0123456789');
    expect(one).to.deep.include({ name: 'one', limits: { concurrent: 2, tokensPerMinute: 50 } });
    const two = keys.holder('bearer second-key-0123456789');
    expect(two.limits).to.eql({ concurrent: 9, tokensPerMinute: 50 });
    expect(one.owner)
      .to.match(/^[0-9a-f]{16}$/)
      .and.not.to.equal(two.owner);
    expect(Keys.none({ concurrent: 3 }).holder(undefined)).to.deep.include({
      name: 'anonymous',
      limits: { concurrent: 3 },
    });
    for (const header of [undefined, '', 'Bearer', 'Basic first-key-0123456789', 'Bearer first-key-012345678']) {
      refused(401, () => keys.holder(header));
    }
  });

  it('may hold a #, which begins a comment only where a word begins', () => {
    const keys = Keys.parse(
      '# all of them\nfirst#key-0123456789 name=a#b # comment # more\n\t#second-key-0123456789\nthird-key-0123456789\t#x',
      'keys',
    );
    expect(keys.holder('Bearer first#key-0123456789').name).to.equal('a#b');
    keys.holder('Bearer third-key-0123456789');
    refused(401, () => keys.holder('Bearer first'));
    refused(401, () => keys.holder('Bearer #second-key-0123456789'));
  });

  it('that are written wrongly are refused by their line', () => {
    expectError('INVALID_ARGUMENT', /line 2 must be a key of at least 16/, () => Keys.parse('\nshort', 'keys'));
    expectError('INVALID_ARGUMENT', /line 1 .*got concurrent=0/, () =>
      Keys.parse(`${'k'.repeat(16)} concurrent=0`, 'keys'),
    );
    expectError('INVALID_ARGUMENT', /line 1 .*got admin/, () => Keys.parse(`${'k'.repeat(16)} admin`, 'keys'));
    expectError('INVALID_ARGUMENT', /line 3 .*one twice/, () => Keys.parse(`${text}\nfirst-key-0123456789`, 'keys'));
    expectError('INVALID_ARGUMENT', /at least one key/, () => Keys.parse('# none', 'keys'));
  });
});

describe('server: limits', () => {
  it('give back what time gives back', () => {
    let now = 0;
    const limits = new Limits(() => now);
    const key = { name: 'k', owner: 'k', limits: { concurrent: 1, tokensPerMinute: 600 } };
    const leave = limits.enter(key);
    expect(refused(429, () => limits.enter(key)).retryAfter).to.equal(1);
    leave();
    leave();
    const again = limits.enter(key);
    refused(429, () => limits.enter(key));
    again();
    limits.spend(key, 650);
    expect(refused(429, () => limits.enter(key)).retryAfter).to.equal(6);
    now += 5200;
    limits.enter(key)();
    expect(limits.headers(key)['x-ratelimit-remaining-tokens']).to.equal('2');
    now += 1e7;
    expect(limits.headers(key)['x-ratelimit-remaining-tokens']).to.equal('600');
  });
});

describe('server: places of a model', () => {
  const aborted = (): ApiError => new ApiError(499, 'gone');
  const request = (): AbortSignal => new AbortController().signal;
  /** Enters; `got` tells who has one. */
  function enterer(places: Places) {
    const got: string[] = [];
    const leaves = new Map<string, () => void>();
    const enter = async (name: string, owner: string, signal: AbortSignal): Promise<void> => {
      const leave = await places.enter(owner, signal, aborted);
      got.push(name);
      leaves.set(name, leave);
    };
    const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
    const leave = async (name: string): Promise<void> => {
      leaves.get(name)!();
      await settle();
    };
    return { got, enter, leave, settle };
  }

  it('are for whoever has had least, whatever one request wants', async () => {
    const places = new Places({ maxRunning: 1, maxWaiting: 2 });
    const { got, enter, leave, settle } = enterer(places);
    places.begin();
    const many = request();
    for (const name of ['a0', 'a1', 'a2']) void enter(name, 'a', many);
    void enter('b0', 'b', request());
    await settle();
    expect([got, places.running, places.waiting]).to.eql([['a0'], 1, 3]);
    // One request more than may wait; those of many texts are one.
    expect((await enter('c', 'c', request()).catch((error: ApiError) => error))!.code).to.equal('overloaded');
    void enter('a3', 'a', many);
    for (const name of ['a0', 'b0', 'a1', 'a2']) await leave(name);
    expect(got).to.eql(['a0', 'b0', 'a1', 'a2', 'a3']);
    await leave('a3');
    await leave('a3');
    expect([places.running, places.waiting]).to.eql([0, 0]);
  });

  it('and of the requests of one owner, too', async () => {
    const places = new Places({ maxRunning: 2, maxWaiting: 5 });
    const { got, enter, leave, settle } = enterer(places);
    places.begin();
    const many = request();
    for (const name of ['a0', 'a1', 'a2', 'a3']) void enter(name, '', many);
    void enter('b0', '', request());
    await settle();
    await leave('a0');
    await leave('a1');
    expect(got).to.eql(['a0', 'a1', 'b0', 'a2']);
    const gone = new AbortController();
    const failed = enter('c0', '', gone.signal).catch((error: ApiError) => error.status);
    gone.abort();
    expect([await failed, places.waiting]).to.eql([499, 1]);
    const waiting = enter('d0', '', request()).catch((error: ApiError) => error.status);
    places.refuse(() => new ApiError(503, 'stopped'));
    expect(await waiting).to.equal(503);
  });

  it('of a key are so many, also for one request', () => {
    const limits = new Limits();
    const key = { name: 'k', owner: 'k', limits: { concurrent: 3 } };
    const leave = limits.enter(key);
    const more = limits.more(key, 5);
    expect(more.places).to.equal(2);
    refused(429, () => limits.enter(key));
    expect(limits.more(key, 5).places).to.equal(0);
    more.leave();
    leave();
    expect(limits.more({ ...key, owner: 'free', limits: {} }, 5).places).to.equal(5);
    limits.enter(key)();
  });
});

describe('server: calls of functions in a text', () => {
  const whole = (form: 'hermes' | 'qwen-xml' | 'kimi', text: string, size: number) => {
    const reader = new ToolReader(form);
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? [];
    const found = [...pieces.map((piece) => reader.push(piece)), reader.end()];
    return { content: found.map(({ content }) => content).join(''), calls: found.flatMap(({ calls }) => calls) };
  };
  const call = (name: string, given: object) => ({ name, arguments: JSON.stringify(given) });

  for (const size of [1, 3, 1000]) {
    it(`are read in pieces of ${size}`, () => {
      const hermes =
        'Let me see.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>{"name": "g", "arguments": {}}</tool_call>';
      expect(whole('hermes', hermes, size)).to.eql({
        content: 'Let me see.',
        calls: [call('f', { a: 1 }), call('g', {})],
      });
      const xml =
        '<tool_call>\n<function=f>\n<parameter=city>\nBern\n</parameter>\n<parameter=n>\n3\n</parameter>\n</function>\n</tool_call>';
      expect(whole('qwen-xml', xml, size)).to.eql({ content: '', calls: [call('f', { city: 'Bern', n: 3 })] });
      const kimi =
        'Ok<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"a":1}<|tool_call_end|><|tool_calls_section_end|>';
      expect(whole('kimi', kimi, size)).to.eql({ content: 'Ok', calls: [call('f', { a: 1 })] });
    });

    it(`that are none stay text in pieces of ${size}`, () => {
      for (const text of [
        'a < b and <tool',
        ' a  b \n',
        '<tool_call>no json</tool_call> then',
        '<tool_call>{"name": 1}</tool_call>',
        '<tool_call>{"a',
      ]) {
        expect(whole('hermes', text, size)).to.eql({ content: text, calls: [] });
      }
    });
  }

  it('keep texts that look like numbers', () => {
    const reader = new ToolReader('qwen-xml', (name, parameter) => name === 'f' && parameter === 'zip');
    const text =
      '<tool_call><function=f><parameter=zip>\n0301\n</parameter><parameter=n>3</parameter></function></tool_call>';
    const calls = [...text].flatMap((piece) => reader.push(piece).calls);
    expect(calls).to.eql([call('f', { zip: '0301', n: 3 })]);
  });
});

describe('server: chat templates', () => {
  const source =
    '{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}';
  const template = new ChatTemplate(source, { bos_token: '<s>' });
  const user = (content: string) => ({ role: 'user', content });

  it('go on behind what was said', () => {
    const text = template.render({ messages: [user('a'), { role: 'assistant', content: 'b' }, user('c')] });
    const first = template.render({ messages: [user('a')] });
    expect(`${first}b${template.continuation({ messages: [user('c')] })}`).to.equal(text);
  });

  it('that refuse messages are a failure of the request', () => {
    const strict = new ChatTemplate("{{ raise_exception('roles must alternate') }}", {});
    expect(refused(400, () => strict.render({ messages: [] })).message).to.match(/roles must alternate/);
    const forgetful = new ChatTemplate('{{ messages[-1].content }}', {});
    refused(400, () => forgetful.continuation({ messages: [user('c')] }));
  });

  it('tell what they refuse of the variables that they are given from what they refuse of messages', () => {
    const strict = new ChatTemplate(
      "{% if mood %}{{ raise_exception('no moods') }}{% endif %}{{ messages[0].content }}",
      {},
    );
    const input = { messages: [user('a')] };
    expect(strict.render(input)).to.equal('a');
    const error = refused(400, () => strict.render({ ...input, variables: { mood: 'x' } }));
    expect([error.param, error.message]).to.eql([
      'chat_template_kwargs',
      "The model's chat template refuses these variables: no moods",
    ]);
    const empty = new ChatTemplate("{{ raise_exception('never') }}", {});
    expect(refused(400, () => empty.render({ ...input, variables: { mood: 'x' } })).param).to.equal('messages');
  });

  it('give functions as they are, not as text', () => {
    const calls = new ChatTemplate(
      '{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments.a }}{% endfor %}{% endfor %}',
      {},
    );
    const message = {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: '1', type: 'function' as const, function: { name: 'f', arguments: '{"a":7}' } }],
    };
    expect(calls.render({ messages: [message] })).to.equal('7');
  });
});

describe('server: small parts', () => {
  it('names say when they were made, and are not guessed', () => {
    const id = newId('sess');
    expect(isStoredId(id, 'sess')).to.equal(true);
    expect(isStoredId(id, 'resp')).to.equal(false);
    expect(Math.abs(createdAt(id) - Date.now() / 1000)).to.be.below(2);
    for (const bad of ['sess_', `${id}.x`, `../${id}`, id.toUpperCase(), ''])
      expect(isStoredId(bad, 'sess'), bad).to.equal(false);
  });

  it('answers are kept for their key, as many as fit, and no key takes the room of all', async () => {
    const texts = new TextsInMemory(10);
    await texts.set('a', 'one', '12345');
    await texts.set('b', 'one', '12345');
    expect([await texts.get('a', 'one'), await texts.get('a', 'two')]).to.eql(['12345', undefined]);
    await texts.set('c', 'two', '123');
    expect([await texts.get('a', 'one'), await texts.get('c', 'two')]).to.eql([undefined, '123']);
    await texts.set('d', 'one', '12');
    await texts.set('e', 'one', '12345');
    expect([await texts.get('b', 'one'), await texts.get('d', 'one')]).to.eql([undefined, '12']);
    expect(await texts.get('c', 'two')).to.equal('123');
    expect([await texts.delete('c', 'one'), await texts.delete('c', 'two')]).to.eql([false, true]);
    await texts.set('f', 'one', 'x'.repeat(11));
    expect(await texts.get('f', 'one')).to.equal(undefined);
  });

  it('answers in a folder are found by another process, and go when they are old', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-texts-'));
    const id = newId('resp');
    const texts = new TextsInFolder(path.join(folder, 'texts'));
    expect([await texts.get(id, 'one'), await texts.delete(id, 'one')]).to.eql([undefined, false]);
    await texts.sweep(1e12);
    await texts.set(id, 'one', '{"a":"é"}');
    const again = new TextsInFolder(path.join(folder, 'texts'));
    expect([await again.get(id, 'one'), await again.get(id, 'two')]).to.eql(['{"a":"é"}', undefined]);
    await again.sweep(createdAt(id));
    expect(await texts.get(id, 'one')).to.be.a('string');
    await again.sweep(createdAt(id) + 1);
    expect(await texts.get(id, 'one')).to.equal(undefined);
    writeFileSync(path.join(folder, 'file'), '');
    const refused = await new TextsInFolder(path.join(folder, 'file'))
      .set(id, 'one', 'x')
      .catch((error: ApiError) => error);
    expect(refused).to.be.instanceOf(ApiError).with.property('code', 'states_unavailable');
    rmSync(folder, { recursive: true });
  });

  it('several streams are one, also where one of them fails', async () => {
    const ended: string[] = [];
    async function* count(name: string, to: number, fails = false): AsyncGenerator<string> {
      try {
        for (let i = 0; i < to; i++) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          yield name + i;
        }
        if (fails) throw new Error('broken');
      } finally {
        ended.push(name);
      }
    }
    const all: string[] = [];
    for await (const each of merge([count('a', 3), count('b', 2)])) all.push(each);
    expect(all.sort()).to.eql(['a0', 'a1', 'a2', 'b0', 'b1']);
    const some: string[] = [];
    for await (const each of merge([count('a', 2), count('b', 1), count('c', 2)], 1)) some.push(each);
    expect(some).to.eql(['a0', 'a1', 'b0', 'c0', 'c1']);
    ended.splice(0);
    const error = await (async () => {
      for await (const each of merge([count('c', 100), count('d', 1, true)])) all.push(each);
    })().catch((reason: Error) => reason.message);
    expect(error).to.equal('broken');
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(ended.sort()).to.eql(['c', 'd']);
  });
});
