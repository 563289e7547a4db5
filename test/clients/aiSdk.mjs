// Vercel's AI SDK against the server: argument 1 is its address.
import assert from 'node:assert/strict';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { light, recolour } from './schemas.mjs';

const [url] = process.argv.slice(2);
const provider = createOpenAICompatible({
  name: 'fast-weights',
  baseURL: `${url}/v1`,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider('small');
const asked = {
  model,
  messages: [{ role: 'user', content: 'What is a fast weight?' }],
  maxOutputTokens: 24,
  maxRetries: 0,
};
const done = [];

const { text, usage, finishReason } = await generateText(asked);
assert.ok(text.length > 0 && usage.outputTokens > 0 && ['stop', 'length'].includes(finishReason));
done.push('chat');

const stream = streamText(asked);
let pieces = 0;
for await (const piece of stream.textStream) if (piece.length > 0) pieces++;
assert.ok(pieces > 1 && (await stream.usage).outputTokens > 0);
done.push('streaming');

const paint = tool({
  description: 'Paints.',
  inputSchema: recolour,
  execute: ({ colour }) => `painted ${colour}`,
});
const calling = { ...asked, tools: { paint }, toolChoice: 'required', maxOutputTokens: 200 };
const called = await generateText(calling);
assert.equal(called.toolResults.length, 1);
recolour.parse(called.toolCalls[0].input);
done.push('tools');

const loop = streamText({ ...calling, stopWhen: stepCountIs(2) });
for await (const _ of loop.textStream);
assert.equal((await loop.steps).length, 2);
done.push('two steps of tools in a stream');

const { output } = await generateText({ ...asked, maxOutputTokens: 100, output: Output.object({ schema: light }) });
light.parse(output);
done.push('structured output');

const { embeddings } = await embedMany({
  model: provider.textEmbeddingModel?.('small') ?? provider.embeddingModel('small'),
  values: ['a text', 'another one'],
});
assert.equal(embeddings.length, 2);
assert.ok(Math.abs(Math.hypot(...embeddings[0]) - 1) < 1e-5);
done.push('embeddings');

console.log(`AI SDK: ${done.join(', ')}`);
