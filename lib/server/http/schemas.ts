// The bodies that requests may have. What OpenAI's API has and this server neither acts on nor refuses is here as `ignored`.
import { z } from 'zod';
import { type Drawing, MOST_INSPECTED } from '../engine/protocol';
import { invalid } from '../errors';

/** null says the same as nothing. */
function maybe<T extends z.ZodType>(type: T): z.ZodType<z.output<T> | undefined> {
  return type.nullish().transform((value) => value ?? undefined);
}

const flag = maybe(z.boolean());
const ignored = z
  .unknown()
  .optional()
  .transform(() => undefined);
const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
const count = z.int().min(1);

/** As many as OpenAI takes; tokens are made of each, to see that it is none of the special ones. */
const stopString = z.string().min(1).max(1024);
const stop = maybe(z.union([stopString, z.array(stopString).max(4)]));

/** How tokens are drawn, in all endpoints; the second half is not OpenAI's. */
const drawing = {
  temperature: maybe(z.number().min(0).max(2)),
  top_p: maybe(z.number().gt(0).max(1)),
  presence_penalty: maybe(z.number().min(-2).max(2)),
  frequency_penalty: maybe(z.number().min(-2).max(2)),
  logit_bias: maybe(z.record(z.string(), z.number().min(-100).max(100))),
  seed: maybe(z.int()),
  top_k: maybe(count),
  min_p: maybe(z.number().min(0).max(1)),
  typical_p: maybe(z.number().gt(0).max(1)),
  repetition_penalty: maybe(z.number().gt(0).max(10)),
  stop_token_ids: maybe(z.array(tokenId).max(64)),
  ignore_eos: flag,
  speculate: maybe(z.enum(['ngram', 'draft'])),
};

/** Of the completions, the two of them. */
const completing = {
  ...drawing,
  model: z.string(),
  n: maybe(z.int().min(1).max(128)),
  stop,
  stream: flag,
  stream_options: maybe(z.strictObject({ include_usage: flag, include_obfuscation: ignored })),
  user: ignored,
  metadata: ignored,
  service_tier: ignored,
  store: ignored,
  safety_identifier: ignored,
  prompt_cache_key: ignored,
  prompt_cache_retention: ignored,
};

/** Numbers without a value each: threads hand them on as bytes. */
const ids = z
  .array(tokenId)
  .min(1)
  .transform((given) => Int32Array.from(given));

const responseFormat = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    json_schema: z.strictObject({
      name: z.string().min(1).max(64),
      description: maybe(z.string()),
      schema: maybe(z.record(z.string(), z.unknown())),
      strict: flag,
    }),
  }),
  z.strictObject({ type: z.literal('grammar'), grammar: z.string().min(1) }),
]);

export const completionBody = z.strictObject({
  ...completing,
  prompt: maybe(z.union([z.string(), z.array(z.string()).min(1).max(128), ids, z.array(ids).min(1).max(128)])),
  max_tokens: maybe(z.int().min(0)),
  logprobs: maybe(z.int().min(0).max(20)),
  echo: flag,
  best_of: maybe(count),
  resume: flag,
  response_format: maybe(responseFormat),
});

/** Text in parts; others are refused by name. */
const textPart = z.strictObject({ type: z.enum(['text', 'input_text', 'output_text', 'refusal']), text: z.string() });
type Part = { type: string; [field: string]: unknown };

/** The text of a part; undefined where it is none. */
function partText(part: Part): string | undefined {
  return textPart.safeParse(part.type === 'output_text' ? { type: part.type, text: part.text } : part).data?.text;
}

/** Of parts that are all text their one text: it is handed on in a piece. */
function joined(given: readonly Part[]): string | undefined {
  const texts = given.map(partText);
  return texts.includes(undefined) ? undefined : texts.join('');
}

const parts = z
  .array(z.looseObject({ type: z.string() }))
  .max(1000)
  .transform((given) => joined(given) ?? given);
const content = z.union([z.string(), parts]);

const functionCall = z.strictObject({ name: z.string(), arguments: z.string() });

export const chatMessage = z.discriminatedUnion('role', [
  z.strictObject({ role: z.literal('system'), content, name: maybe(z.string()) }),
  z.strictObject({ role: z.literal('developer'), content, name: maybe(z.string()) }),
  z.strictObject({ role: z.literal('user'), content, name: maybe(z.string()) }),
  z.strictObject({
    role: z.literal('assistant'),
    content: maybe(content),
    name: maybe(z.string()),
    refusal: ignored,
    audio: ignored,
    annotations: ignored,
    function_call: ignored,
    tool_calls: maybe(
      z.array(z.strictObject({ id: z.string(), type: z.literal('function'), function: functionCall })).max(128),
    ),
  }),
  z.strictObject({ role: z.literal('tool'), content, tool_call_id: z.string(), name: maybe(z.string()) }),
]);

const functionName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, 'it must be letters, digits, _ and -, at most 64');
const functionDefinition = z.strictObject({
  name: functionName,
  description: maybe(z.string()),
  parameters: maybe(z.record(z.string(), z.unknown())),
  strict: flag,
});

const tools = maybe(z.array(z.strictObject({ type: z.literal('function'), function: functionDefinition })).max(128));

export const chatBody = z.strictObject({
  ...completing,
  messages: z.array(chatMessage).max(10_000),
  max_tokens: maybe(count),
  max_completion_tokens: maybe(count),
  logprobs: flag,
  top_logprobs: maybe(z.int().min(0).max(20)),
  response_format: maybe(responseFormat),
  tools,
  tool_choice: maybe(
    z.union([
      z.enum(['none', 'auto', 'required']),
      z.strictObject({ type: z.literal('function'), function: z.strictObject({ name: z.string() }) }),
    ]),
  ),
  parallel_tool_calls: flag,
  reasoning_effort: maybe(z.string()),
  chat_template_kwargs: maybe(z.record(z.string(), z.unknown())),
  prediction: ignored,
});

const inputItem = z.union([
  z.strictObject({
    type: z.literal('message').optional(),
    role: z.enum(['user', 'assistant', 'system', 'developer']),
    content,
    id: ignored,
    status: ignored,
  }),
  z.strictObject({
    type: z.literal('function_call'),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
    id: ignored,
    status: ignored,
  }),
  z.strictObject({
    type: z.literal('function_call_output'),
    call_id: z.string(),
    output: content,
    id: ignored,
    status: ignored,
  }),
]);
export type InputItem = z.output<typeof inputItem>;

export const responseBody = z.strictObject({
  ...drawing,
  model: z.string(),
  input: z.union([z.string(), z.array(inputItem).min(1).max(10_000)]),
  instructions: maybe(z.string()),
  previous_response_id: maybe(z.string()),
  max_output_tokens: maybe(count),
  stream: flag,
  store: flag,
  tools: maybe(z.array(z.strictObject({ type: z.literal('function'), ...functionDefinition.shape })).max(128)),
  tool_choice: maybe(
    z.union([z.enum(['none', 'auto', 'required']), z.strictObject({ type: z.literal('function'), name: z.string() })]),
  ),
  parallel_tool_calls: flag,
  text: maybe(
    z.strictObject({
      format: maybe(
        z.discriminatedUnion('type', [
          z.strictObject({ type: z.literal('text') }),
          z.strictObject({ type: z.literal('json_object') }),
          z.strictObject({
            type: z.literal('json_schema'),
            name: z.string().min(1).max(64),
            description: maybe(z.string()),
            schema: z.record(z.string(), z.unknown()),
            strict: flag,
          }),
        ]),
      ),
      verbosity: ignored,
    }),
  ),
  top_logprobs: maybe(z.int().min(0).max(20)),
  truncation: maybe(z.enum(['disabled'])),
  chat_template_kwargs: maybe(z.record(z.string(), z.unknown())),
  metadata: maybe(z.record(z.string(), z.unknown())),
  user: ignored,
  include: ignored,
  reasoning: ignored,
  service_tier: ignored,
  safety_identifier: ignored,
  prompt_cache_key: ignored,
  prompt_cache_retention: ignored,
  stream_options: ignored,
});

export const embeddingBody = z.strictObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.string()).min(1).max(2048), ids, z.array(ids).min(1).max(2048)]),
  encoding_format: maybe(z.enum(['float', 'base64'])),
  dimensions: maybe(count),
  user: ignored,
});

export const sessionBody = z.strictObject({
  model: z.string(),
  prompt: maybe(z.union([z.string(), ids])),
  messages: maybe(z.array(chatMessage).min(1).max(10_000)),
  tools,
  history: flag,
});

export const listQuery = z.strictObject({
  limit: maybe(
    z
      .string()
      .regex(/^\d{1,4}$/, 'it must be a whole number from 1 to 1000')
      .transform(Number)
      .pipe(z.int().min(1).max(1000)),
  ),
  after: maybe(z.string()),
});

const snapshotName = z.string().regex(/^[a-z0-9-]{1,24}$/, 'it must be 1 to 24 of a-z, 0-9 and -');
export const snapshotBody = z.strictObject({ name: maybe(snapshotName) });
export const rollbackBody = z
  .strictObject({ tokens: maybe(z.int().min(0)), snapshot: maybe(snapshotName) })
  .refine(({ tokens, snapshot }) => (tokens === undefined) !== (snapshot === undefined), 'it takes tokens or snapshot');

export const inspectBody = z.strictObject({
  tokens: maybe(z.int().min(1).max(MOST_INSPECTED)),
  layer: maybe(count),
  head: maybe(count),
  matrix: maybe(z.string().max(40)),
  threshold: maybe(z.number().gt(0).max(1)),
  survey: flag,
  page: flag,
});

export type ChatBody = z.output<typeof chatBody>;
export type ChatMessageBody = z.output<typeof chatMessage>;
export type CompletionBody = z.output<typeof completionBody>;
export type ResponseBody = z.output<typeof responseBody>;
export type ResponseFormat = z.output<typeof responseFormat>;
type DrawingBody = Pick<CompletionBody, Extract<keyof typeof drawing, keyof CompletionBody>>;

/** In the library's words. */
export function drawingOf(body: DrawingBody): Drawing {
  return {
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k,
    minP: body.min_p,
    typicalP: body.typical_p,
    repetitionPenalty: body.repetition_penalty,
    presencePenalty: body.presence_penalty,
    frequencyPenalty: body.frequency_penalty,
    logitBias: body.logit_bias && biasOf(body.logit_bias),
  };
}

/** -100 forbids a token, as OpenAI says it does. */
function biasOf(given: Readonly<Record<string, number>>): Record<number, number> {
  const bias: Record<number, number> = {};
  for (const [id, added] of Object.entries(given)) {
    if (!/^\d{1,9}$/.test(id)) {
      throw invalid('logit_bias', `Invalid key in 'logit_bias': ${JSON.stringify(id.slice(0, 40))} is no token id.`);
    }
    bias[Number(id)] = added === -100 ? -Infinity : added;
  }
  return bias;
}

/** The library counts its seeds from 0 and adds the index of the text. */
export function seedOf(seed: number | undefined): number | undefined {
  const modulus = 2 ** 52;
  return seed === undefined ? undefined : ((seed % modulus) + modulus) % modulus;
}

export function listOf(stop: string | readonly string[] | undefined): readonly string[] {
  return stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop;
}

/** The text of a message; parts that are left are not all of them text. */
export function textOf(given: z.output<typeof content>, param: string): string {
  if (typeof given === 'string') return given;
  const at = given.findIndex((part) => partText(part) === undefined);
  const { type } = given[at];
  const isText = textPart.shape.type.safeParse(type).success;
  const message = isText
    ? `Invalid '${param}[${at}]': a part of type '${type}' has a 'text', which is a string, and nothing else.`
    : `The models here read text only; a part is of type '${type.slice(0, 40)}'.`;
  throw invalid(`${param}[${at}]`, message);
}
