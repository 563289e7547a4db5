// Conversations by turns: the text that the states have read is the one that the template writes of the whole.
import { expect } from 'chai';
import { ChatTemplate } from '../../lib/server/engine/chatTemplate';
import { type Answered, serving } from './running';

type Message = { role: string; content: string };
const system = { role: 'system', content: 'Be brief.' };
const user = { role: 'user', content: 'Hi' };
const assistant = { role: 'assistant', content: 'Good' };
const tool = (name: string) => ({ type: 'function', function: { name, parameters: { type: 'object' } } });

describe('server: conversations that begin with messages', function () {
  this.timeout(30_000);
  const running = serving();
  const ask = async (path: string, body: object, status = 200): Promise<Answered> => {
    const { status: found, text, body: answered } = await running().ask('POST', path, { model: 'small', ...body });
    expect(found, text).to.equal(status);
    return answered;
  };
  const drawn = { max_tokens: 8, seed: 2 };
  const chat = (id: string | null, messages: Message[], more: object = {}, status?: number): Promise<Answered> =>
    ask(`/v1${id === null ? '' : `/sessions/${id}`}/chat/completions`, { ...drawn, messages, ...more }, status);
  /** What a session says is what it would say to the whole conversation, whose tokens it has read. */
  const expectSame = async (turn: Answered, whole: Message[], more: object = {}): Promise<void> => {
    const expected = await chat(null, whole, more);
    expect(turn.choices[0].message.content).to.equal(expected.choices[0].message.content);
    expect(turn.usage.prompt_tokens).to.equal(expected.usage.prompt_tokens);
  };

  for (const [what, opening] of [
    ["the system's words", [system]],
    ['an answer', [system, user, assistant]],
    ['several of the system', [system, { role: 'developer', content: 'Now.' }]],
  ] as const) {
    it(`go on behind ${what} as the template has it`, async () => {
      const { id, length } = await ask('/v1/sessions', { messages: opening });
      expect(length).to.be.above(0);
      const { id: fork } = await ask(`/v1/sessions/${id}/fork`, {});
      for (const session of [id, fork]) {
        const turn = await chat(session, [{ role: 'user', content: 'And?' }], { logit_bias: { 258: 100 } });
        const messages = [...opening, { role: 'user', content: 'And?' }];
        await expectSame(turn, messages, { logit_bias: { 258: 100 } });
        // The assistant has said nothing, and the next turn is one of the usual ones.
        const next = await chat(session, [user]);
        await expectSame(next, [...messages, { role: 'assistant', content: '' }, user]);
      }
    });
  }

  it('answer a question that they begin with, and take no other before', async () => {
    const { id } = await ask('/v1/sessions', { messages: [system, user] });
    const refused = await chat(id, [user], {}, 400);
    expect(refused.error.message).to.match(/waits for an answer/);
    expect(refused.error.param).to.equal('messages');
    await expectSame(await chat(id, []), [system, user]);
    expect((await chat(id, [], {}, 400)).error.message).to.match(/no question that waits/);
    expect((await chat(null, [], {}, 400)).error.param).to.equal('messages');
  });

  it('keep the tools of their first turn', async () => {
    const tools = [tool('f'), tool('g')];
    const { id } = await ask('/v1/sessions', { messages: [system], tools });
    const free = { tools, tool_choice: 'auto', logit_bias: { 258: 100 } };
    await expectSame(await chat(id, [user], free), [system, user], free);
    const { id: later } = await ask('/v1/sessions', {});
    await chat(later, [user], { tools });
    for (const session of [id, later]) {
      await chat(session, [user], { tools });
      await chat(session, [user]);
      const { error } = await chat(session, [user], { tools: [tool('f')] }, 400);
      expect([error.code, error.param]).to.eql(['tools_changed', 'tools']);
      expect(error.message).to.match(/began with others/);
    }
    const { id: plain } = await ask('/v1/sessions', { messages: [system] });
    expect((await chat(plain, [user], { tools }, 400)).error.message).to.match(/began with none/);
    expect((await ask('/v1/sessions', { prompt: 'a', tools }, 400)).error.param).to.equal('tools');
  });

  it('as responses, too', async () => {
    const tools = [{ type: 'function', name: 'f', parameters: { type: 'object' } }];
    const respond = (body: object, status?: number): Promise<Answered> =>
      ask('/v1/responses', { input: 'Hi', max_output_tokens: 4, ...body }, status);
    const first = await respond({ tools });
    const second = await respond({ tools, previous_response_id: first.id });
    await respond({ previous_response_id: second.id });
    const other = [{ ...tools[0], name: 'g' }];
    expect((await respond({ tools: other, previous_response_id: second.id }, 400)).error.code).to.equal(
      'tools_changed',
    );
    const plain = await respond({});
    expect((await respond({ tools, previous_response_id: plain.id }, 400)).error.code).to.equal('tools_changed');
  });
});

describe('server: where a template can be stopped', () => {
  const refused = (template: ChatTemplate, messages: Message[]): string => {
    try {
      template.opening({ messages });
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };

  it('is found out by what it writes of the whole', () => {
    // The system's words are part of the first message of the user, as in Gemma.
    const merged = new ChatTemplate(
      "{% if messages[0].role == 'system' %}{% set first = messages[0].content + ' ' %}{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}<{{ m.role }}>{% if loop.first %}{{ first }}{% endif %}{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
      {},
    );
    expect(refused(merged, [system])).to.match(/cannot be stopped behind a message of the role system/);
    expect(merged.opening({ messages: [system, user] })).to.deep.include({ stands: 'asked' });
    expect(merged.opening({ messages: [user, assistant] })).to.eql({
      text: '<user>Hi<end><assistant>Good',
      stands: 'said',
    });
    // Only the last answer has its thoughts, and the one of a finished turn none: as in Qwen3.
    const forgetful = new ChatTemplate(
      '{% for m in messages %}<{{ m.role }}>{{ m.content if loop.last else m.content[0:2] }}<end>{% endfor %}',
      {},
    );
    expect(refused(forgetful, [user, assistant])).to.match(/leaves out what was said before/);
    const alone = new ChatTemplate(
      "{% if messages|length == 1 and messages[0].role == 'system' %}{{ raise_exception('no question') }}{% endif %}{{ messages[0].content }}",
      {},
    );
    expect(refused(alone, [system])).to.match(/no question/);
  });
});
