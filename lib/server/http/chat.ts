// /v1/chat/completions: messages in, the assistant's next one out.
import type { Engine } from '../engine/engine';
import type { GenerateJob } from '../engine/protocol';
import { invalid } from '../errors';
import { now, passingId } from '../ids';
import { engineOf, type Services } from '../services';
import type { Call } from './call';
import { chatPrompt, messagesOf, toolUse, variablesOf } from './chatInput';
import { type ChatDelta, type ChatLogprob, ChatText, type NamedCall } from './chatText';
import { constraintOf, jobOf, nothingYet, type Place, refuseSeveral, streamError, tokensOf, usageOf } from './generate';
import { type ChatBody, listOf } from './schemas';
import { DONE, eventStream, frame } from './sse';

export async function chat(services: Services, call: Call, body: ChatBody, place: Place = {}): Promise<Response> {
  const engine = engineOf(services, body.model);
  call.model = engine.name;
  call.fields = {
    prompt: 'messages',
    max_tokens: 'max_completion_tokens',
    ...(!body.chat_template_kwargs && { chat_template_kwargs: 'reasoning_effort' }),
  };
  const { n = 1, logprobs = false, top_logprobs: top, max_completion_tokens: most = body.max_tokens } = body;
  refuseSeveral(place, n);
  if (body.messages.length === 0 && place.from === undefined) {
    throw invalid('messages', "Invalid 'messages': a conversation begins with at least one.");
  }
  if (top !== undefined && !logprobs) throw invalid('top_logprobs', "'top_logprobs' needs 'logprobs' to be true.");
  await engine.available();
  const { tool_choice: choice = 'auto' } = body;
  const named = typeof choice === 'string' ? choice : { name: choice.function.name };
  const functions = (body.tools ?? []).map((tool) => tool.function);
  const use = toolUse(engine, functions, named, constraintOf(body.response_format));
  if (use.constraint?.kind === 'tools') call.fields = { ...call.fields, response_format: 'tools' };
  const variables = variablesOf(body.chat_template_kwargs, body.reasoning_effort);
  const job: GenerateJob = {
    ...jobOf(services, body, { maxTokens: most, param: 'max_completion_tokens' }),
    prompt: chatPrompt(messagesOf(body.messages), use.tools, variables),
    stop: listOf(body.stop),
    samples: n,
    logprobs,
    constraint: use.constraint,
    special: use.reads && engine.info?.toolForm === 'kimi',
    ...place,
  };
  if (top) job.drawing.topLogprobs = top;
  call.note({ messages: body.messages });
  const answer = new Answer(engine, call, body, job, new ChatText(engine, use.reads, use.tools));
  return body.stream ? answer.stream() : answer.whole();
}

interface Message {
  role: 'assistant';
  content: string | null;
  refusal: null;
  tool_calls?: object[];
}

interface Choice {
  index: number;
  message: Message;
  logprobs: { content: ChatLogprob[]; refusal: null } | null;
  finish_reason: ChatDelta['finish'] | null;
}

class Answer {
  private readonly id = passingId('chatcmpl-');
  private readonly created = now();
  private readonly progress = nothingYet();
  /** Whether a part of a stream was sent: what fails then is told in it. */
  private begun = false;

  constructor(
    private readonly engine: Engine,
    private readonly call: Call,
    private readonly body: ChatBody,
    private readonly job: GenerateJob,
    private readonly text: ChatText,
  ) {}

  async whole(): Promise<Response> {
    const { n = 1, logprobs } = this.body;
    const choices = Array.from({ length: n }, (_, index): Choice => ({
      index,
      message: { role: 'assistant', content: null, refusal: null },
      logprobs: logprobs ? { content: [], refusal: null } : null,
      finish_reason: null,
    }));
    for await (const deltas of this.deltas()) {
      for (const { sample, content, calls, logprobs: more, finish } of deltas) {
        const choice = choices[sample];
        const { message } = choice;
        if (content !== '') message.content = (message.content ?? '') + content;
        if (calls.length > 0) (message.tool_calls ??= []).push(...calls.map(callOf));
        choice.logprobs?.content.push(...more);
        if (finish !== undefined) choice.finish_reason = finish;
      }
    }
    for (const { message } of choices) if (!message.tool_calls) message.content ??= '';
    this.call.note({ choices: choices.map(({ message }) => message) });
    return Response.json({ ...this.head('chat.completion'), choices, usage: usageOf([this.progress]) });
  }

  stream(): Promise<Response> {
    return eventStream(this.frames(), {
      closed: () => this.call.end(200),
      cancelled: () => this.call.gone(),
    });
  }

  private async *frames(): AsyncGenerator<string> {
    const { n = 1, stream_options: options, logprobs } = this.body;
    const usage = options?.include_usage ? { usage: null } : {};
    const chunk = (choice: object): string =>
      frame({ ...this.head('chat.completion.chunk'), choices: [choice], ...usage });
    const counts = new Map<number, number>();
    const texts: Record<number, string> = {};
    try {
      for await (const deltas of this.deltas()) {
        let out = '';
        for (const { sample, content, calls, logprobs: more, finish } of deltas) {
          const rest = { logprobs: logprobs ? { content: more, refusal: null } : null, finish_reason: null };
          if (!counts.has(sample)) {
            counts.set(sample, 0);
            out += chunk({
              index: sample,
              delta: { role: 'assistant', content: '', refusal: null },
              logprobs: null,
              finish_reason: null,
            });
          }
          if (content !== '' || more.length > 0) out += chunk({ index: sample, delta: { content }, ...rest });
          texts[sample] = (texts[sample] ?? '') + content;
          for (const call of calls) {
            const index = counts.get(sample)!;
            counts.set(sample, index + 1);
            const delta = { tool_calls: [{ index, ...callOf(call) }] };
            out += chunk({ index: sample, delta, logprobs: null, finish_reason: null });
          }
          if (finish !== undefined) out += chunk({ index: sample, delta: {}, logprobs: null, finish_reason: finish });
        }
        if (out === '') continue;
        this.begun = true;
        yield out;
      }
      if (counts.size < n) throw new Error(`of ${n} texts ${counts.size} came`);
      if (options?.include_usage) {
        yield frame({ ...this.head('chat.completion.chunk'), choices: [], usage: usageOf([this.progress]) });
      }
      this.call.note({ choices: Object.values(texts) });
      yield DONE;
    } catch (error) {
      if (!this.begun) throw error;
      const told = streamError(error, this.call);
      this.call.end(told.status, told);
      yield frame(told.body);
    }
  }

  private async *deltas(): AsyncGenerator<ChatDelta[]> {
    for await (const tokens of tokensOf(this.engine, this.call, this.job, this.progress)) yield this.text.take(tokens);
  }

  private head(object: string): object {
    return { id: this.id, object, created: this.created, model: this.body.model, system_fingerprint: null };
  }
}

function callOf({ id, name, arguments: given }: NamedCall): object {
  return { id, type: 'function', function: { name, arguments: given } };
}
