// The server as OpenAI's own client sees it.
import { expect } from 'chai';
import OpenAI from 'openai';
import * as fw from '../../lib';
import { IM_END } from './folder';
import { serving, until } from './running';

const question = [{ role: 'user' as const, content: 'Hi' }];
const parameters = {
  type: 'object',
  properties: { city: { enum: ['Bern', 'Oslo'] }, days: { type: 'integer', minimum: 1, maximum: 9 } },
  required: ['city', 'days'],
  additionalProperties: false,
};
const weather = { type: 'function' as const, function: { name: 'weather', parameters } };

async function failure(promise: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error('it should have failed');
}

describe("server: OpenAI's client", function () {
  this.timeout(30_000);
  const running = serving({ maxTokens: 20_000 });
  const client = (): OpenAI => running().client();
  const small = { model: 'small' };

  /** What the library itself writes behind some ids. */
  async function written(ids: number[], options: fw.GenerateOptions): Promise<string> {
    const { folder } = running.model();
    const tokenizer = await fw.loadTokenizer(folder);
    const model = await fw.AutoModelForCausalLM.fromPretrained(folder);
    try {
      let text = '';
      for await (const token of model.generate(ids, { tokenizer, ...options })) text += token.text;
      return text;
    } finally {
      model.dispose();
    }
  }
  const chatIds = async (text: string): Promise<number[]> => {
    const tokenizer = await fw.loadTokenizer(running.model().folder);
    return tokenizer.encode(text, { addSpecialTokens: false });
  };

  it('lists models', async () => {
    const models = await client().models.list();
    expect(models.data.map(({ id }) => id)).to.eql(['small']);
    expect((await client().models.retrieve('small')).owned_by).to.equal('fast-weights');
    expect((await failure(client().models.retrieve('large'))).status).to.equal(404);
  });

  it('writes what the library writes', async () => {
    const ids = [72, 101, 108];
    const drawn = {
      temperature: 0.9,
      topP: 0.9,
      presencePenalty: 0.5,
      frequencyPenalty: 0.3,
      logitBias: { 65: 4 },
      seed: 7,
    };
    const expected = await written(ids, { ...drawn, maxNewTokens: 24, topK: 40, minP: 0.01 });
    const answer = await client().completions.create({
      ...small,
      prompt: ids,
      max_tokens: 24,
      temperature: 0.9,
      top_p: 0.9,
      presence_penalty: 0.5,
      frequency_penalty: 0.3,
      logit_bias: { 65: 4 },
      seed: 7,
      top_k: 40,
      min_p: 0.01,
    } as OpenAI.CompletionCreateParamsNonStreaming);
    expect(answer.choices[0].text).to.equal(expected);
    expect(answer.object).to.equal('text_completion');
    expect(answer.usage).to.deep.include({ prompt_tokens: 3, total_tokens: 3 + answer.usage!.completion_tokens });
  });

  it('renders messages by the chat template', async () => {
    const ids = await chatIds(
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    );
    const expected = await written(ids, { maxNewTokens: 16, temperature: 1, seed: 3 });
    const messages = [
      { role: 'developer' as const, content: 'Be brief.' },
      { role: 'user' as const, content: [{ type: 'text' as const, text: 'Hi' }] },
    ];
    const answer = await client().chat.completions.create({ ...small, messages, max_completion_tokens: 16, seed: 3 });
    expect(answer.choices[0].message.content).to.equal(expected);
    expect(answer.usage!.prompt_tokens).to.equal(ids.length);
  });

  it('writes several texts, each as with a seed of its own', async () => {
    const body = { ...small, prompt: 'ab', max_tokens: 6, seed: 5 };
    const several = await client().completions.create({ ...body, n: 3 });
    expect(several.choices.map(({ index }) => index)).to.eql([0, 1, 2]);
    for (const { index, text } of several.choices) {
      const one = await client().completions.create({ ...body, seed: 5 + index });
      expect(text).to.equal(one.choices[0].text);
    }
    const prompts = await client().completions.create({ ...body, prompt: ['ab', 'cd'] });
    expect(prompts.choices.map(({ index }) => index)).to.eql([0, 1]);
    expect(prompts.choices[0].text).to.equal(several.choices[0].text);
    expect(prompts.usage!.prompt_tokens).to.equal(4);
  });

  it('streams what it gives whole', async () => {
    const body = { ...small, messages: question, max_tokens: 20, seed: 4, n: 2, logprobs: true, top_logprobs: 2 };
    const whole = await client().chat.completions.create(body);
    const stream = await client().chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    const texts = ['', ''];
    const probabilities: number[][] = [[], []];
    const reasons: (string | null)[] = [null, null];
    let usage;
    for await (const chunk of stream) {
      for (const { index, delta, finish_reason: reason, logprobs } of chunk.choices) {
        texts[index] += delta.content ?? '';
        reasons[index] = reason ?? reasons[index];
        probabilities[index].push(...(logprobs?.content ?? []).map(({ logprob }) => logprob));
      }
      usage = chunk.usage ?? usage;
    }
    expect(texts).to.eql(whole.choices.map(({ message }) => message.content));
    expect(reasons).to.eql(whole.choices.map((choice) => choice.finish_reason));
    expect(probabilities).to.eql(whole.choices.map(({ logprobs }) => logprobs!.content!.map(({ logprob }) => logprob)));
    expect(whole.choices[0].logprobs!.content![0].top_logprobs).to.have.lengthOf(2);
    expect(usage).to.eql(whole.usage);
    const text = client().chat.completions.stream({ ...body, n: 1 });
    expect(await text.finalContent()).to.equal(whole.choices[0].message.content);
  });

  it('streams completions with an echo of the prompt', async () => {
    const body = { ...small, prompt: 'ab', max_tokens: 5, seed: 4, echo: true };
    const whole = await client().completions.create(body);
    expect(whole.choices[0].text.startsWith('ab')).to.equal(true);
    let text = '';
    for await (const chunk of await client().completions.create({ ...body, stream: true }))
      text += chunk.choices[0].text;
    expect(text).to.equal(whole.choices[0].text);
  });

  it('reads a prompt without writing anything', async () => {
    const body = { ...small, prompt: ['ab', 'cde'], max_tokens: 0, echo: true };
    const whole = await client().completions.create(body);
    const expected = ['ab', 'cde'].map((text, index) => ({ text, index, logprobs: null, finish_reason: 'length' }));
    expect(whole.choices).to.eql(expected);
    const streamed: unknown[] = [];
    let usage;
    const options = { stream: true as const, stream_options: { include_usage: true } };
    for await (const chunk of await client().completions.create({ ...body, ...options })) {
      streamed.push(...chunk.choices);
      usage = chunk.usage ?? usage;
    }
    expect(streamed).to.eql(expected);
    expect(usage).to.eql(whole.usage);
    const long = { ...small, prompt: 'x'.repeat(300), max_tokens: 0 };
    await client().completions.create(long);
    const again = await client().completions.create(long);
    expect(again.usage).to.deep.include({ prompt_tokens: 300, completion_tokens: 0 });
    expect(again.usage!.prompt_tokens_details!.cached_tokens).to.equal(256);
    expect(running().log.at(-1)!.tokens).to.deep.include({ prompt: 44, reused: 256 });
  });

  it('gives of several tokens with one text the most probable', async () => {
    const tokenizer = await fw.loadTokenizer(running.model().folder);
    const model = await fw.AutoModelForCausalLM.fromPretrained(running.model().folder);
    const expected: Record<string, number>[] = [];
    for await (const { topLogprobs } of model.generate([97, 98], {
      temperature: 1,
      maxNewTokens: 6,
      seed: 5,
      topLogprobs: 20,
    })) {
      const best: Record<string, number> = {};
      for (const { id, logProbability } of topLogprobs!) best[tokenizer.decode([id])] ??= logProbability;
      expected.push(best);
    }
    model.dispose();
    // Parts of characters are the same U+FFFD.
    expect(Object.keys(expected[0])).to.include('\uFFFD').and.to.have.lengthOf.below(19);
    const { choices } = await client().completions.create({
      ...small,
      prompt: [97, 98],
      max_tokens: 6,
      seed: 5,
      logprobs: 20,
    });
    expect(choices[0].logprobs!.top_logprobs).to.eql(expected);
  });

  it('ends at stop strings, stop tokens and lengths, and says which', async () => {
    const body = { ...small, prompt: 'ab', max_tokens: 30, seed: 9 };
    const free = (await client().completions.create(body)).choices[0];
    expect(free.finish_reason).to.equal('length');
    const at = [...free.text].findIndex((each, i) => i > 3 && each !== '\uFFFD');
    const stop = [...free.text][at];
    const ended = (await client().completions.create({ ...body, stop })).choices[0];
    expect(ended).to.deep.include({ text: free.text.slice(0, free.text.indexOf(stop)), finish_reason: 'stop' });
    const certain = await client().completions.create({ ...body, logit_bias: { [IM_END]: 100 } });
    expect(certain.choices[0]).to.deep.include({ text: '', finish_reason: 'stop' });
    expect(certain.usage!.completion_tokens).to.equal(1);
    const ignoring = { ...body, logit_bias: { [IM_END]: 100 }, ignore_eos: true, max_tokens: 4 };
    expect((await client().completions.create(ignoring)).choices[0].finish_reason).to.equal('length');
  });

  it('writes what a JSON schema allows', async () => {
    const schema = { ...parameters, properties: { ...parameters.properties, note: { type: 'string', maxLength: 12 } } };
    for (const seed of [1, 2, 3]) {
      const answer = await client().chat.completions.create({
        ...small,
        messages: question,
        max_tokens: 400,
        seed,
        response_format: { type: 'json_schema', json_schema: { name: 'plan', strict: true, schema } },
      });
      const [{ message, finish_reason: reason }] = answer.choices;
      expect(reason).to.equal('stop');
      const value = JSON.parse(message.content!) as { city: string; days: number };
      expect(value.city).to.be.oneOf(['Bern', 'Oslo']);
      expect(value.days).to.be.within(1, 9);
    }
    const grammar = { type: 'grammar', grammar: 'root ::= ("yes" | "no")' } as never;
    const answer = await client().chat.completions.create({ ...small, messages: question, response_format: grammar });
    expect(answer.choices[0].message.content).to.be.oneOf(['yes', 'no']);
  });

  it('refuses schemas that it cannot follow, and goes on', async () => {
    const ask = (schema: Record<string, unknown>) =>
      client().chat.completions.create({
        ...small,
        messages: question,
        max_tokens: 30,
        response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
      });
    const good = ask({ enum: ['a long text that is written while the other is refused'] });
    const error = await failure(ask({ type: 'nonsense' }));
    expect([error.status, error.code]).to.eql([400, 'invalid_grammar']);
    expect(error.message).to.match(/Unsupported type "nonsense"/);
    expect((await good).choices[0].message.content).to.match(/^"a long/);
    expect((await failure(ask({ type: 'string', minLength: 1e6 }))).message).to.match(/minLength above/);
  });

  it('calls functions', async () => {
    const body = { ...small, messages: question, max_tokens: 400, seed: 2, tools: [weather] };
    const answer = await client().chat.completions.create({ ...body, tool_choice: 'required' });
    const [{ message, finish_reason: reason }] = answer.choices;
    expect([reason, message.content]).to.eql(['tool_calls', null]);
    const [call] = message.tool_calls as OpenAI.ChatCompletionMessageFunctionToolCall[];
    expect(call.function.name).to.equal('weather');
    expect(JSON.parse(call.function.arguments)).to.have.keys('city', 'days');
    const runner = client().chat.completions.stream({
      ...body,
      tool_choice: { type: 'function', function: { name: 'weather' } },
    });
    const [streamed] = (await runner.finalChatCompletion()).choices;
    expect(streamed.message.tool_calls![0].function).to.include({
      arguments: call.function.arguments,
    });
    // And takes what they gave.
    const messages = [...question, message, { role: 'tool' as const, tool_call_id: call.id, content: '21 degrees' }];
    const next = await client().chat.completions.create({ ...body, messages, max_tokens: 4 });
    expect(next.usage!.prompt_tokens).to.be.above(answer.usage!.prompt_tokens);
    const without = await client().chat.completions.create({ ...body, tool_choice: 'none', max_tokens: 1 });
    expect(without.usage!.prompt_tokens).to.be.below(answer.usage!.prompt_tokens);
  });

  it('goes on from a response by its id, and reads the new words alone', async () => {
    const ask = (input: string, previous?: string, text?: { seed: number }) =>
      client().responses.create({
        ...small,
        input,
        max_output_tokens: 12,
        previous_response_id: previous,
        ...text,
      } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
    const first = await ask('Hi', undefined, { seed: 1 });
    expect(first.status).to.equal('incomplete');
    const text = `<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n`;
    const ids = await chatIds(text);
    expect(first.output_text).to.equal(await written(ids, { maxNewTokens: 12, temperature: 1, seed: 1 }));
    const second = await ask('More', first.id, { seed: 2 });
    expect(second.usage!.input_tokens_details.cached_tokens).to.equal(ids.length + 12);
    // A third time from the same place: a response is not used up.
    expect((await ask('More', first.id, { seed: 2 })).output_text).to.equal(second.output_text);
    expect((await client().responses.retrieve(second.id)).id).to.equal(second.id);
    await client().responses.delete(first.id);
    const error = await failure(ask('More', first.id));
    expect([error.status, error.code]).to.eql([400, 'previous_response_not_found']);
  });

  it('streams a response with its events in order', async () => {
    const types: string[] = [];
    let text = '';
    const body = {
      ...small,
      input: [{ role: 'user' as const, content: 'Hi' }],
      max_output_tokens: 8,
      stream: true as const,
    };
    for await (const event of await client().responses.create(body)) {
      types.push(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.incomplete') {
        const [item] = event.response.output as OpenAI.Responses.ResponseOutputMessage[];
        expect(item.content[0]).to.include({ type: 'output_text', text });
      }
    }
    const order = types.filter((type, i) => type !== types[i - 1]);
    expect(order).to.eql([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.incomplete',
    ]);
    const called = await client().responses.create({
      ...small,
      input: 'Hi',
      tools: [{ type: 'function', name: 'weather', parameters, strict: true }],
      tool_choice: 'required',
      max_output_tokens: 400,
    });
    const [item] = called.output;
    expect(item).to.include({ type: 'function_call', name: 'weather' });
    const output = {
      type: 'function_call_output' as const,
      call_id: (item as OpenAI.Responses.ResponseFunctionToolCall).call_id,
      output: '21',
    };
    const next = await client().responses.create({
      ...small,
      input: [output],
      previous_response_id: called.id,
      max_output_tokens: 4,
    });
    expect(next.previous_response_id).to.equal(called.id);
  });

  it('gives vectors of length 1 along the mean of hidden vectors, whatever else is asked for with them', async () => {
    const { data, usage } = await client().embeddings.create({ ...small, input: ['ab', 'a longer text'] });
    expect(data.map(({ embedding }) => embedding.length)).to.eql([32, 32]);
    expect(usage.prompt_tokens).to.equal(15);
    const alone = await client().embeddings.create({ ...small, input: [97, 98], encoding_format: 'float' });
    expect(alone.data[0].embedding).to.eql(data[0].embedding);
    const model = await fw.AutoModelForCausalLM.fromPretrained(running.model().folder);
    const ids = fw.tensor([97, 98], { shape: [1, 2], dtype: 'int32' });
    const expected = fw.noGrad(() => model.model.forward(ids).output.mean(1).tolist()) as number[][];
    model.dispose();
    const length = Math.hypot(...expected[0]);
    expected[0].forEach((value, i) => expect(value / length).to.be.closeTo(alone.data[0].embedding[i], 1e-6));
  });

  it('gives a stream that fails before its first token the status of the failure', async () => {
    const ask = (path: string, body: object) => running().ask('POST', path, { ...small, stream: true, ...body });
    const status = async (path: string, body: object): Promise<number> => (await ask(path, body)).status;
    expect(await status('/v1/completions', { prompt: [999] })).to.equal(400);
    expect(await status('/v1/sessions/sess_none/completions', { prompt: 'a' })).to.equal(404);
    expect(
      await status('/v1/chat/completions', { messages: question, response_format: { type: 'grammar', grammar: 'x' } }),
    ).to.equal(400);
    expect(await status('/v1/responses', { input: 'a', previous_response_id: 'resp_none' })).to.be.oneOf([400, 404]);
    expect(await status('/v1/completions', { prompt: 'a', max_tokens: 2 })).to.equal(200);
  });

  it('says what is wrong in the form of errors', async () => {
    const chat = (body: object) =>
      failure(client().chat.completions.create({ ...small, messages: question, ...body } as never));
    const expectFailure = async (body: object, status: number, code: string, param: string | null): Promise<void> => {
      const error = await chat(body);
      expect([error.status, error.code, error.param], error.message).to.eql([status, code, param]);
    };
    await expectFailure({ model: 'large' }, 404, 'model_not_found', 'model');
    await expectFailure({ messages: undefined }, 400, 'missing_required_parameter', 'messages');
    await expectFailure({ temperatur: 1 }, 400, 'unknown_parameter', 'temperatur');
    await expectFailure({ temperature: 'hot' }, 400, 'invalid_type', 'temperature');
    await expectFailure({ temperature: 3 }, 400, 'invalid_value', 'temperature');
    await expectFailure({ messages: [{ role: 'user' }] }, 400, 'missing_required_parameter', 'messages[0].content');
    await expectFailure({ messages: [{ role: 'robot', content: 'x' }] }, 400, 'invalid_value', 'messages[0].role');
    await expectFailure({ functions: [] }, 400, 'unsupported_parameter', 'functions');
    await expectFailure({ resume: true }, 400, 'unsupported_parameter', 'resume');
    await expectFailure({ stop: ['a', 'b', 'c', 'd', 'e'] }, 400, 'invalid_value', 'stop');
    await expectFailure({ stop: 'x'.repeat(1025) }, 400, 'invalid_value', 'stop');
    await expectFailure({ chat_template_kwargs: 5 }, 400, 'invalid_type', 'chat_template_kwargs');
    const own = { chat_template_kwargs: { tools: [] } };
    await expectFailure(own, 400, 'invalid_value', 'chat_template_kwargs.tools');
    await expectFailure({ logit_bias: { 99999: 1 } }, 400, 'invalid_argument', 'logit_bias');
    await expectFailure({ max_tokens: 30_000 }, 400, 'invalid_value', 'max_completion_tokens');
    await expectFailure({ top_logprobs: 2 }, 400, 'invalid_value', 'top_logprobs');
    const image = { type: 'image_url', image_url: { url: 'data:' } };
    await expectFailure(
      { messages: [{ role: 'user', content: [image] }] },
      400,
      'invalid_value',
      'messages[0].content[0]',
    );
    const said = async (part: object): Promise<string> =>
      (await chat({ messages: [{ role: 'user', content: [part] }] })).message;
    expect(await said(image)).to.match(/text only; a part is of type 'image_url'/);
    expect(await said({ type: 'text', text: 5 })).to.match(
      /'messages\[0\]\.content\[0\]': .* has a 'text', which is a string/,
    );
    expect(await failure(client().chat.completions.create({} as never))).to.be.instanceOf(OpenAI.BadRequestError);
    expect((await chat({ chat_template_kwargs: 5 })).message).to.match(/expected object, but got an integer/);
    expect((await chat({ logit_bias: { 99999: 1 } })).message).to.match(/^400 logit_bias must be/);
    // Each endpoint has its own names of the same.
    const param = async (path: string, body: object): Promise<unknown> =>
      (await running().ask('POST', `/v1/${path}`, { ...small, ...body })).body.error.param;
    const long = 'x'.repeat(140_000);
    expect(await param('completions', { prompt: long })).to.equal('prompt');
    expect(await param('chat/completions', { messages: [{ role: 'user', content: long }] })).to.equal('messages');
    expect(await param('responses', { input: long })).to.equal('input');
    expect(await param('embeddings', { input: long })).to.equal('input');
    expect(await param('sessions', { messages: [{ role: 'user', content: long }] })).to.equal('messages');
    expect(await param('completions', { prompt: 'a', stop_token_ids: [5, 1000] })).to.equal('stop_token_ids');
    expect(await param('completions', { prompt: 'a', resume: true, seed: 1 })).to.equal('prompt');
    const wrong = { input: 'a', text: { format: { type: 'json_schema', name: 'x', schema: { type: 'nonsense' } } } };
    expect(await param('responses', wrong)).to.equal('text.format');
    // null is as good as nothing, and what does nothing is taken.
    const ignored = {
      temperature: null,
      tools: null,
      user: 'me',
      metadata: { a: 'b' },
      service_tier: 'auto',
      store: false,
    };
    await client().chat.completions.create({ ...small, messages: question, max_tokens: 1, ...ignored } as never);
  });

  it('ends the generation of a request that is broken off', async () => {
    const long = { ...small, messages: question, max_tokens: 20_000, ignore_eos: true, stream: true as const };
    const idle = async (): Promise<boolean> =>
      /running_requests\{model="small"\} 0/.test((await running().ask('GET', '/metrics')).text);
    const stream = await client().chat.completions.create(long);
    let count = 0;
    for await (const chunk of stream) if (chunk && ++count === 5) break;
    await until(idle);
    // And one that has not begun to answer.
    const controller = new AbortController();
    const whole = client().chat.completions.create({ ...long, stream: false }, { signal: controller.signal });
    setTimeout(() => controller.abort(), 100);
    try {
      await whole;
      expect.fail('it was broken off');
    } catch (error) {
      expect(error).to.be.instanceOf(OpenAI.APIUserAbortError);
    }
    await until(idle);
    const ended = running().log.filter(({ status }) => status === 499);
    expect(ended).to.have.lengthOf(2);
    for (const { tokens } of ended) expect((tokens as { generated: number }).generated).to.be.below(20_000);
  });
});
