// LangChain.js against the server: argument 1 is its address.
import assert from 'node:assert/strict';
import { HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { tool } from '@langchain/core/tools';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { light, recolour } from './schemas.mjs';

const [url] = process.argv.slice(2);
const options = { apiKey: 'none', configuration: { baseURL: `${url}/v1` }, maxRetries: 0 };
const chat = new ChatOpenAI({ ...options, model: 'small', maxTokens: 200, temperature: 0.8 });
const question = [new SystemMessage('Be brief.'), new HumanMessage('What is a fast weight?')];

const done = [];

const answer = await chat.invoke(question);
assert.equal(typeof answer.content, 'string');
assert.ok(answer.usage_metadata.output_tokens > 0 && answer.usage_metadata.input_tokens > 20);
done.push('chat');

let [text, pieces] = ['', 0];
for await (const piece of await chat.stream(question)) {
  text += piece.content;
  pieces++;
}
assert.ok(pieces > 2 && text.length > 0);
done.push('streaming');

const paint = tool(({ colour }) => `painted ${colour}`, { name: 'paint', description: 'Paints.', schema: recolour });
const calling = chat.bindTools([paint], { tool_choice: 'required' });
const called = await calling.invoke(question);
assert.equal(called.tool_calls.length, 1);
const [call] = called.tool_calls;
recolour.parse(call.args);
const result = await paint.invoke(call);
assert.ok(result instanceof ToolMessage);
const last = await chat.bindTools([paint]).invoke([...question, called, result]);
assert.equal(typeof last.content, 'string');
done.push('tools');

const streamed = [];
for await (const piece of await calling.stream(question)) streamed.push(...(piece.tool_call_chunks ?? []));
recolour.parse(JSON.parse(streamed.map(({ args }) => args ?? '').join('')));
done.push('tools in a stream');

const structured = chat.withStructuredOutput(light, { name: 'light', method: 'jsonSchema', strict: true });
light.parse(await structured.invoke(question));
done.push('structured output');

const embeddings = new OpenAIEmbeddings({ ...options, model: 'small' });
const [a, b] = await embeddings.embedDocuments(['a text', 'another one']);
assert.equal(a.length, b.length);
assert.notDeepEqual(a, b);
assert.ok(Math.abs(Math.hypot(...(await embeddings.embedQuery('a text'))) - 1) < 1e-5);
done.push('embeddings');

const turns = new ChatOpenAI({ ...options, model: 'small', maxTokens: 24, useResponsesApi: true });
const first = await turns.invoke(question);
const { id } = first.response_metadata;
const second = await turns.invoke([new HumanMessage('And a slow one?')], { previous_response_id: id });
assert.ok(second.usage_metadata.input_token_details.cache_read >= first.usage_metadata.total_tokens - 1);
let said = '';
for await (const piece of await turns.stream(question)) said += piece.text;
assert.ok(said.length > 0);
done.push('responses');

const batch = await chat.batch([question, question, question]);
assert.equal(batch.length, 3);
done.push('several at once');

console.log(`LangChain.js: ${done.join(', ')}`);
