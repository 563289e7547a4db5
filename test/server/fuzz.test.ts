// Bodies that nobody meant: every answer has a status of OpenAI's and the form of an error, and the server goes on.
// FAST_WEIGHTS_FUZZ_BODIES=10000 asks for more of them.
import { rmSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { type SmallModel, smallModel } from './folder';
import { TestServer } from './running';
import { writeAdapter } from './adapter';

const BODIES = Number(process.env.FAST_WEIGHTS_FUZZ_BODIES ?? 300);
const STATUSES = [200, 400, 404, 409, 413, 415];

const text = fc.string({ unit: 'binary', maxLength: 20 });
const odd = fc.oneof(
  fc.constantFrom(null, true, false, 0, -1, 1, 1.5, 1e308, -1e308, 2 ** 53, '', 'auto', [], {}, [[]], [null]),
  text,
  fc.integer(),
  fc.double(),
  fc.jsonValue({ maxDepth: 3 }),
);
const content = fc.oneof(text, odd, fc.array(fc.record({ type: fc.constantFrom('text', 'image_url'), text: odd })));
const message = fc.record(
  {
    role: fc.constantFrom('system', 'user', 'assistant', 'tool', 'developer', 'robot'),
    content,
    name: odd,
    tool_calls: odd,
    tool_call_id: odd,
  },
  { requiredKeys: ['role'] },
);
const schema = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.record(
    {
      type: fc.constantFrom('object', 'string', 'array', 'integer', 'nonsense'),
      properties: odd,
      items: odd,
      enum: odd,
      required: odd,
      pattern: text,
      $ref: text,
      anyOf: odd,
    },
    { requiredKeys: [] },
  ),
);
const tool = fc.record({
  type: fc.constantFrom('function', 'x'),
  function: fc.record({ name: fc.oneof(text, fc.constant('f')), parameters: schema }),
});
const format = fc.oneof(
  odd,
  fc.record({ type: fc.constant('json_schema'), json_schema: fc.record({ name: fc.constant('x'), schema }) }),
  fc.record({
    type: fc.constant('grammar'),
    grammar: fc.oneof(text, fc.constantFrom('root ::= root', 'root ::= "a', 'root ::= [z-a]', 'x ::= "a"')),
  }),
);

/** What may stand in a body beside what must, and what makes one of each path. */
const anything: Record<string, fc.Arbitrary<unknown>> = {
  model: odd,
  messages: fc.oneof(fc.array(message, { maxLength: 4 }), odd),
  prompt: fc.oneof(text, fc.array(fc.integer({ min: -2, max: 300 })), fc.array(text), odd),
  input: fc.oneof(text, fc.array(fc.oneof(message, text), { maxLength: 3 }), odd),
  tools: fc.oneof(fc.array(tool, { maxLength: 2 }), odd),
  response_format: format,
  text: fc.record({ format }),
  stop: fc.oneof(text, fc.array(text), odd),
  logit_bias: fc.oneof(fc.dictionary(fc.oneof(fc.nat(300).map(String), text), fc.double()), odd),
};
const NAMES = [
  ...['temperature', 'top_p', 'top_k', 'min_p', 'typical_p', 'repetition_penalty', 'n', 'seed', 'presence_penalty'],
  ...['stream', 'logprobs', 'top_logprobs', 'tool_choice', 'stream_options', 'echo', 'resume', 'instructions'],
  ...['previous_response_id', 'store', 'dimensions', 'encoding_format', 'history', 'stop_token_ids', 'best_of'],
  ...['max_tokens', 'max_output_tokens', 'chat_template_kwargs', 'reasoning_effort', '__proto__', 'constructor', 'x'],
  ...['tokens', 'layer', 'head', 'matrix', 'threshold', 'survey', 'page', 'name', 'snapshot', 'ignore_eos'],
];
for (const name of NAMES) anything[name] = odd;
anything.speculate = fc.oneof(fc.constantFrom('ngram', 'draft'), odd);
anything.model = fc.oneof(fc.constantFrom('small:fr', 'small:', 'small:no', ':fr', 'SMALL'), odd);

const said = fc.constant([{ role: 'user', content: 'Hi' }]);
const model = fc.constantFrom('small', 'small', 'small', 'small:fr');
const max_tokens = fc.constant(3);
const VALID: Record<string, Record<string, fc.Arbitrary<unknown>>> = {
  '/v1/completions': { model, max_tokens, prompt: fc.constant('ab') },
  '/v1/chat/completions': { model, max_tokens, messages: said },
  '/v1/responses': { model, max_output_tokens: max_tokens, input: said },
  '/v1/embeddings': { model, input: fc.constant('ab') },
  '/v1/sessions': { model, prompt: fc.constant('ab') },
  '/v1/sessions/x/fork': {},
  // Those of sessions that are there.
  '/v1/sessions/{id}/completions': { model: fc.constant('small'), max_tokens },
  '/v1/sessions/{id}/chat/completions': { model: fc.constant('small'), max_tokens, messages: said },
  '/v1/sessions/{id}/inspect': { tokens: fc.nat(40) },
  '/v1/sessions/{id}/rollback': { tokens: fc.nat(4) },
  '/v1/sessions/{id}/snapshots': { name: fc.constantFrom('a', 'b') },
};
const MODELS = ['small', 'small:fr'];
const PATHS = Object.keys(VALID);

/** One of a path, with some of it changed or added. */
const bodyOf = (path: string): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.record(VALID[path]),
      fc
        .uniqueArray(fc.constantFrom(...Object.keys(anything)), { maxLength: 2 })
        .chain((names) => fc.tuple(...names.map((name) => anything[name].map((value) => [name, value] as const)))),
    )
    .map(([valid, more]) => JSON.stringify({ ...valid, ...Object.fromEntries(more) }));

/** Bodies that are no JSON, or nearly. */
const broken = fc.oneof(
  bodyOf('/v1/completions').chain((json) => fc.nat(json.length).map((at) => json.slice(0, at))),
  text,
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  fc.constantFrom('{"a":1e999999}', '{"model":"small","prompt":"\\ud800"}', '"', '\u0000', '[[[[', 'NaN'),
);
describe('server: bodies that nobody meant', function () {
  this.timeout(BODIES * 1000);
  let small: SmallModel;
  let server: TestServer;
  before(async () => {
    small = await smallModel();
    const { folder } = small;
    const adapters = { fr: path.join(folder, 'fr') };
    await writeAdapter(folder, adapters.fr, 1);
    const models = [{ folder, name: 'small', adapters, draft: folder }];
    server = await TestServer.start({ models, maxTokens: 8, maxBodyBytes: 100_000, logTexts: false });
  });
  after(async () => {
    await TestServer.stopAll();
    rmSync(small.folder, { recursive: true, force: true });
  });

  it(`get a typed answer, ${BODIES} of them`, async () => {
    const sessions: string[] = [];
    for (const model of MODELS) {
      for (const history of [true, false]) {
        const { body } = await server.ask('POST', '/v1/sessions', { model, prompt: 'abc abc', history });
        sessions.push(body.id);
      }
    }
    const before = process.memoryUsage().rss;
    const counts = new Map<number, number>();
    const given = fc
      .constantFrom(...PATHS)
      .chain((path) =>
        fc.tuple(
          fc.constantFrom(...Array.from({ length: 4 }, (_, i) => path.replace('{id}', () => sessions[i]))),
          fc.oneof({ weight: 8, arbitrary: bodyOf(path) }, { weight: 1, arbitrary: broken }),
        ),
      );
    await fc.assert(
      fc.asyncProperty(given, async ([path, json]) => {
        const { status, text: answered, body: answer, headers } = await server.ask('POST', path, json);
        counts.set(status, (counts.get(status) ?? 0) + 1);
        expect(STATUSES, `${status}: ${answered}`).to.include(status);
        if (status >= 400) expect(answer.error).to.have.keys('message', 'type', 'param', 'code');
        expect(headers.get('x-request-id')).to.match(/^req_/);
      }),
      { numRuns: BODIES },
    );
    expect(counts.get(200) ?? 0).to.be.above(BODIES / 20);
    expect((await server.ask('GET', '/ready')).status).to.equal(200);
    expect(server.log.filter(({ level }) => level === 'error')).to.eql([]);
    expect(process.memoryUsage().rss - before).to.be.below(400e6);
  });
});
