// /v1/responses: turns of a conversation whose state is kept; a later turn reads its own words alone.
import type { Engine } from '../engine/engine';
import type { ChatMessage, GenerateJob } from '../engine/protocol';
import { ApiError, invalid, unsupported } from '../errors';
import { isStoredId, newId, now, passingId } from '../ids';
import { engineOf, type Services } from '../services';
import type { Call } from './call';
import { chatPrompt, toolUse, type ToolChoice, variablesOf } from './chatInput';
import { type ChatDelta, type ChatLogprob, ChatText, type NamedCall } from './chatText';
import { constraintOf, jobOf, nothingYet, streamError, tokensOf, usageOf } from './generate';
import { type InputItem, type ResponseBody, textOf } from './schemas';
import { keyOf } from './sessions';
import { eventStream, frame } from './sse';

export async function responses(services: Services, call: Call, body: ResponseBody): Promise<Response> {
  const engine = engineOf(services, body.model);
  call.model = engine.name;
  call.fields = {
    prompt: 'input',
    messages: 'input',
    max_tokens: 'max_output_tokens',
    response_format: 'text.format',
  };
  const { owner } = call.key!;
  const { previous_response_id: previous, instructions, store = true } = body;
  if (previous !== undefined) {
    if (!isStoredId(previous, 'resp')) throw lost(previous);
    if (instructions !== undefined) {
      throw unsupported(
        'instructions',
        "They stand at the beginning of what the state has read: give none beside 'previous_response_id'.",
      );
    }
  }
  await engine.available();
  const choice = body.tool_choice ?? 'auto';
  const named: ToolChoice = typeof choice === 'string' ? choice : { name: choice.name };
  const format = body.text?.format;
  const constraint = constraintOf(
    format?.type === 'json_schema' ? { type: 'json_schema', json_schema: { schema: format.schema } } : format,
  );
  const use = toolUse(engine, body.tools ?? [], named, constraint);
  if (use.constraint?.kind === 'tools') call.fields = { ...call.fields, response_format: 'tools' };
  const messages = messagesOf(body.input);
  if (instructions !== undefined) messages.unshift({ role: 'system', content: instructions });
  const id = newId('resp');
  const job: GenerateJob = {
    ...jobOf(services, body, { maxTokens: body.max_output_tokens, param: 'max_output_tokens' }),
    prompt: chatPrompt(messages, use.tools, variablesOf(body.chat_template_kwargs)),
    stop: [],
    samples: 1,
    logprobs: body.top_logprobs !== undefined,
    constraint: use.constraint,
    special: use.reads && engine.info?.toolForm === 'kimi',
    ...(previous !== undefined && { from: keyOf(owner, previous) }),
    ...(store && { to: keyOf(owner, id) }),
  };
  if (body.top_logprobs) job.drawing.topLogprobs = body.top_logprobs;
  call.note({ input: body.input });
  const answer = new Answer(services, engine, call, body, id, job, new ChatText(engine, use.reads, use.tools));
  return body.stream ? answer.stream() : answer.whole();
}

function lost(id: string): ApiError {
  return new ApiError(400, `Previous response with id '${id.slice(0, 80)}' not found.`, {
    param: 'previous_response_id',
    code: 'previous_response_not_found',
  });
}

/** The items of an input as messages; calls of functions that stand together are one message. */
function messagesOf(input: string | readonly InputItem[]): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  const messages: ChatMessage[] = [];
  for (const [i, item] of input.entries()) {
    if (item.type === 'function_call') {
      const call = {
        id: item.call_id,
        type: 'function' as const,
        function: { name: item.name, arguments: item.arguments },
      };
      const last = messages.at(-1);
      if (last?.role === 'assistant') (last.tool_calls ??= []).push(call);
      else messages.push({ role: 'assistant', content: null, tool_calls: [call] });
    } else if (item.type === 'function_call_output') {
      messages.push({ role: 'tool', content: textOf(item.output, `input[${i}].output`), tool_call_id: item.call_id });
    } else {
      const role = item.role === 'developer' ? 'system' : item.role;
      messages.push({ role, content: textOf(item.content, `input[${i}].content`) });
    }
  }
  return messages;
}

interface MessageItem {
  id: string;
  type: 'message';
  status: 'in_progress' | 'completed' | 'incomplete';
  role: 'assistant';
  content: { type: 'output_text'; text: string; annotations: []; logprobs: ChatLogprob[] }[];
}

interface CallItem {
  id: string;
  type: 'function_call';
  status: 'in_progress' | 'completed';
  call_id: string;
  name: string;
  arguments: string;
}

type Status = 'in_progress' | 'completed' | 'incomplete' | 'failed';

/** Gives a response's events while it is written; without a stream they are made and not sent. */
class Answer {
  private readonly created = now();
  private readonly progress = nothingYet();
  /** Whether a part of a stream was sent: what fails then is told in it. */
  private begun = false;
  private readonly output: (MessageItem | CallItem)[] = [];
  private message: MessageItem | null = null;
  private status: Status = 'in_progress';
  private sequence = 0;
  private frames = '';

  constructor(
    private readonly services: Services,
    private readonly engine: Engine,
    private readonly call: Call,
    private readonly body: ResponseBody,
    private readonly id: string,
    private readonly job: GenerateJob,
    private readonly text: ChatText,
  ) {}

  async whole(): Promise<Response> {
    for await (const deltas of this.deltas()) for (const delta of deltas) this.add(delta);
    await this.complete();
    return Response.json(this.object());
  }

  stream(): Promise<Response> {
    return eventStream(this.pieces(), {
      closed: () => this.call.end(200),
      cancelled: () => this.call.gone(),
    });
  }

  private async *pieces(): AsyncGenerator<string> {
    try {
      this.emit('response.created', { response: this.object() });
      this.emit('response.in_progress', { response: this.object() });
      for await (const deltas of this.deltas()) {
        for (const delta of deltas) this.add(delta);
        this.begun = true;
        yield this.taken();
      }
      await this.complete();
      this.emit(`response.${this.status}`, { response: this.object() });
      yield this.taken();
    } catch (error) {
      if (!this.begun) throw error;
      const told = streamError(error, this.call);
      this.call.end(told.status, told);
      this.status = 'failed';
      const { message } = told;
      this.emit('response.failed', {
        response: { ...this.object(), error: { code: told.code ?? 'server_error', message } },
      });
      yield this.taken();
    }
  }

  private async *deltas(): AsyncGenerator<ChatDelta[]> {
    try {
      for await (const tokens of tokensOf(this.engine, this.call, this.job, this.progress))
        yield this.text.take(tokens);
    } catch (error) {
      const { previous_response_id: previous } = this.body;
      const missing = error instanceof ApiError && error.code === 'state_not_found';
      throw missing && previous !== undefined ? lost(previous) : error;
    }
  }

  private add({ content, calls, logprobs, finish }: ChatDelta): void {
    if (content !== '' || logprobs.length > 0) this.say(content, logprobs);
    for (const call of calls) {
      this.endMessage('completed');
      this.callFunction(call);
    }
    if (finish === undefined) return;
    this.status = finish === 'length' ? 'incomplete' : 'completed';
    if (this.output.length === 0) this.say('', []);
    this.endMessage(this.status);
  }

  private say(text: string, logprobs: ChatLogprob[]): void {
    const message = this.message ?? this.beginMessage();
    const part = message.content[0];
    part.text += text;
    part.logprobs.push(...logprobs);
    this.emit('response.output_text.delta', { ...this.placeOf(message), content_index: 0, delta: text, logprobs });
  }

  private beginMessage(): MessageItem {
    const message: MessageItem = {
      id: passingId('msg_'),
      type: 'message',
      status: 'in_progress',
      role: 'assistant',
      content: [],
    };
    this.message = message;
    this.output.push(message);
    const output_index = this.output.length - 1;
    this.emit('response.output_item.added', { output_index, item: message });
    message.content.push({ type: 'output_text', text: '', annotations: [], logprobs: [] });
    this.emit('response.content_part.added', { ...this.placeOf(message), content_index: 0, part: message.content[0] });
    return message;
  }

  private endMessage(status: 'completed' | 'incomplete'): void {
    const { message } = this;
    if (!message) return;
    this.message = null;
    message.status = status;
    const [part] = message.content;
    const place = { ...this.placeOf(message), content_index: 0 };
    this.emit('response.output_text.done', { ...place, text: part.text, logprobs: part.logprobs });
    this.emit('response.content_part.done', { ...place, part });
    this.emit('response.output_item.done', { output_index: this.output.indexOf(message), item: message });
  }

  private callFunction({ id, name, arguments: given }: NamedCall): void {
    const item: CallItem = {
      id: passingId('fc_'),
      type: 'function_call',
      status: 'in_progress',
      call_id: id,
      name,
      arguments: '',
    };
    this.output.push(item);
    const place = this.placeOf(item);
    this.emit('response.output_item.added', { output_index: place.output_index, item });
    item.arguments = given;
    item.status = 'completed';
    this.emit('response.function_call_arguments.delta', { ...place, delta: given });
    this.emit('response.function_call_arguments.done', { ...place, name, arguments: given });
    this.emit('response.output_item.done', { output_index: place.output_index, item });
  }

  private placeOf(item: MessageItem | CallItem): { item_id: string; output_index: number } {
    return { item_id: item.id, output_index: this.output.indexOf(item) };
  }

  /** Behind the last token, when the state is stored. */
  private async complete(): Promise<void> {
    if (this.status === 'in_progress') throw invalid(null, 'The response ended before its text did.');
    if (this.job.to !== undefined)
      await this.services.responses.set(this.id, this.call.key!.owner, JSON.stringify(this.object()));
    this.call.note({ output: this.output });
  }

  private emit(type: string, fields: object): void {
    if (!this.body.stream) return;
    this.frames += frame({ type, sequence_number: this.sequence++, ...fields }, type);
  }

  private taken(): string {
    const { frames } = this;
    this.frames = '';
    return frames;
  }

  private object(): object {
    const { body, progress, status } = this;
    const usage = usageOf([progress]);
    return {
      id: this.id,
      object: 'response',
      created_at: this.created,
      status,
      background: false,
      error: null,
      incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
      instructions: body.instructions ?? null,
      max_output_tokens: body.max_output_tokens ?? null,
      metadata: body.metadata ?? {},
      model: body.model,
      output: this.output,
      parallel_tool_calls: body.parallel_tool_calls ?? true,
      previous_response_id: body.previous_response_id ?? null,
      reasoning: { effort: null, summary: null },
      store: this.job.to !== undefined,
      temperature: body.temperature ?? null,
      text: { format: body.text?.format ?? { type: 'text' } },
      tool_choice: body.tool_choice ?? 'auto',
      tools: body.tools ?? [],
      top_p: body.top_p ?? null,
      truncation: 'disabled',
      usage:
        status === 'in_progress'
          ? null
          : {
              input_tokens: usage.prompt_tokens,
              input_tokens_details: usage.prompt_tokens_details,
              output_tokens: usage.completion_tokens,
              output_tokens_details: { reasoning_tokens: 0, ...usage.completion_tokens_details },
              total_tokens: usage.total_tokens,
            },
    };
  }
}

/** A response that is asked for again. */
export async function storedResponse(services: Services, call: Call, id: string): Promise<Response> {
  const body = isStoredId(id, 'resp') ? await services.responses.get(id, call.key!.owner) : undefined;
  if (body !== undefined) return new Response(body, { headers: { 'content-type': 'application/json' } });
  throw new ApiError(404, `Response with id '${id.slice(0, 80)}' not found.`, { code: 'response_not_found' });
}

export async function deleteResponse(services: Services, call: Call, id: string): Promise<Response> {
  const { owner } = call.key!;
  let deleted = false;
  if (isStoredId(id, 'resp')) {
    deleted = await services.responses.delete(id, owner);
    for (const engine of services.engines) {
      const [there] = await engine.perform({ kind: 'delete', keys: [keyOf(owner, id)] }, call.signal);
      deleted ||= there;
    }
  }
  if (!deleted)
    throw new ApiError(404, `Response with id '${id.slice(0, 80)}' not found.`, { code: 'response_not_found' });
  return Response.json({ id, object: 'response', deleted: true });
}
