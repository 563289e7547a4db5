// Grammars that many requests bring at once, and such as would take minutes.
import { expect } from 'chai';
import { loadTokenizer } from '../../lib';
import { CompiledGrammars } from '../../lib/server/engine/compiledGrammars';
import { Grammars } from '../../lib/server/engine/grammar';
import { type Asked, serving } from './running';

/** What is used of it; Node's types do not have it. */
const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly;
interface Wasm {
  Memory: new (size: object) => { buffer: ArrayBuffer };
  instantiate(...given: unknown[]): Promise<{ instance: { exports: Record<string, unknown> } }>;
}

describe('server: many grammars', function () {
  this.timeout(120_000);
  const server = serving({ requestTimeout: 30 });
  const ask = (format: object): Promise<Asked> =>
    server().ask('POST', '/v1/completions', { model: 'small', prompt: 'a', max_tokens: 2, response_format: format });
  const grammar = (text: string): object => ({ type: 'grammar', grammar: text });

  it('more than are kept are compiled side by side, beside some that are wrong', async () => {
    const right = Array.from({ length: 40 }, (_, i) => ask(grammar(`root ::= "${i}" root | "."`)));
    const wrong = Array.from({ length: 12 }, (_, i) => ask(grammar(`root ::= nope${i}`)));
    const plain = server().ask('POST', '/v1/completions', { model: 'small', prompt: 'a', max_tokens: 2 });
    const statuses = async (asked: Promise<Asked>[]): Promise<number[]> => [
      ...new Set((await Promise.all(asked)).map(({ status }) => status)),
    ];
    expect(await statuses(right)).to.eql([200]);
    expect(await statuses(wrong)).to.eql([400]);
    expect((await plain).status).to.equal(200);
  });

  it('counts within counts are multiplied before anything is compiled', async () => {
    for (const format of [
      grammar('root ::= (("a"{0,1000}){0,1000}){0,1000}'),
      grammar('root ::= [a-z]{3000}'),
      { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'string', pattern: '^((a{0,300}){0,300})$' } } },
    ]) {
      const { status, body } = await ask(format);
      expect([status, body.error.code]).to.eql([400, 'invalid_grammar']);
    }
    const uuid = '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    const fine = { name: 'x', schema: { type: 'string', pattern: uuid } };
    expect((await ask({ type: 'json_schema', json_schema: fine })).status).to.equal(200);
  });

  it('are refused where what may be left out would take minutes', async () => {
    const properties = (count: number, name = 'p'): Record<string, object> =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`${name}${i}`, {}]));
    const schema = (given: object): object => ({ type: 'json_schema', json_schema: { name: 'x', schema: given } });
    const types = (count: number): object[] =>
      Array.from({ length: count }, (_, i) => ({ type: 'object', properties: properties(500, `${i}.`) }));
    const patterns = Array.from({ length: 300 }, (_, i) => ({ type: 'string', pattern: `^(a{${i}})$` }));
    for (const format of [
      schema({ type: 'object', properties: properties(1200) }),
      schema({ type: 'object', properties: properties(80), minProperties: 1 }),
      schema({ type: 'object', properties: properties(80), maxProperties: 40 }),
      schema({ anyOf: types(5) }),
      schema({ type: 'object', patternProperties: properties(600) }),
      schema({ anyOf: patterns }),
      grammar(`root ::= ${'[a-z]? '.repeat(2100)}`),
    ]) {
      const { status, body } = await ask(format);
      expect([status, body.error.code, body.error.param]).to.eql([400, 'invalid_grammar', 'response_format']);
      expect(body.error.message).to.match(/too large/);
    }
    const many = properties(1200);
    for (const fine of [
      { type: 'object', properties: many, required: Object.keys(many), additionalProperties: false },
      { type: 'object', properties: properties(300) },
      { type: 'object', properties: properties(12), minProperties: 1 },
      { anyOf: patterns.slice(0, 40) },
    ]) {
      expect((await ask(schema(fine))).status).to.equal(200);
    }
  });

  it('are told of where the request has them', async () => {
    const wrong = { type: 'object', properties: { a: { type: 'string' } }, required: [[1]] };
    const tool = { name: 'f', parameters: wrong };
    const chat = { model: 'small', messages: [{ role: 'user', content: 'a' }], tool_choice: 'required' };
    const tools = [{ type: 'function', function: tool }];
    const response = { model: 'small', input: 'a', tool_choice: 'required', tools: [{ type: 'function', ...tool }] };
    for (const asked of [
      await server().ask('POST', '/v1/chat/completions', { ...chat, tools }),
      await server().ask('POST', '/v1/responses', response),
    ]) {
      expect([asked.status, asked.body.error.param]).to.eql([400, 'tools']);
      expect(asked.body.error.message).to.match(/cannot be used: \D/);
    }
  });

  it('the memory of what compiles them stays as it is', async () => {
    const memories: { buffer: ArrayBuffer }[] = [];
    const { instantiate } = wasm;
    wasm.instantiate = async (...given) => {
      const made = await instantiate(...given);
      for (const each of Object.values(made.instance.exports)) if (each instanceof wasm.Memory) memories.push(each);
      return made;
    };
    try {
      const tokenizer = await loadTokenizer(server.model().folder);
      const grammars = new Grammars(tokenizer, tokenizer.vocabSize, [258], 'hermes');
      const compile = async (name: string): Promise<void> => {
        const properties = Object.fromEntries(
          Array.from({ length: 60 }, (_, i) => [`${name} ${i}`, { type: 'string', maxLength: 20 }]),
        );
        const schema = JSON.stringify({ type: 'object', properties });
        (await grammars.matcher({ kind: 'schema', schema }, name)).dispose();
      };
      const bytes = (): number => Math.max(...memories.map(({ buffer }) => buffer.byteLength));
      for (let i = 0; i < 34; i++) await compile(`first ${i}`);
      const before = bytes();
      expect(before).to.be.above(1e6);
      for (let i = 0; i < 24; i++) await compile(`then ${i}`);
      expect(bytes()).to.equal(before);
    } finally {
      wasm.instantiate = instantiate;
    }
  });
});

describe('server: compiled grammars', () => {
  const grammar = { dispose: () => undefined };

  it('are kept for the owner who asked for them, and no owner takes the room of all', async () => {
    const kept = new CompiledGrammars();
    let compiled = 0;
    /** Whether it was compiled for this request. */
    const use = async (owner: string, name: string): Promise<boolean> => {
      const before = compiled;
      const compile = async (): Promise<typeof grammar> => {
        compiled++;
        return grammar;
      };
      await kept.use(owner, name, compile, async () => undefined);
      return compiled > before;
    };
    expect([await use('a', 'x'), await use('a', 'x'), await use('b', 'x'), await use('b', 'x')]).to.eql([
      true,
      false,
      true,
      false,
    ]);
    for (let i = 0; i < 100; i++) await use('flood', `${i}`);
    expect([await use('a', 'x'), await use('b', 'x'), await use('flood', '99'), await use('flood', '0')]).to.eql([
      false,
      false,
      false,
      true,
    ]);
  });

  it('go when nobody uses them any more, and fail for all who wait for one that cannot be', async () => {
    const kept = new CompiledGrammars();
    let [alive, wrong] = [0, 0];
    const compile = async (): Promise<typeof grammar> => {
      alive++;
      return { dispose: () => void alive-- };
    };
    let end = (): void => undefined;
    const busy = new Promise<void>((resolve) => (end = resolve));
    const uses = Array.from({ length: 40 }, (_, i) => kept.use('a', `${i}`, compile, () => busy));
    await new Promise((resolve) => setImmediate(resolve));
    expect(alive).to.equal(40);
    end();
    await Promise.all(uses);
    await new Promise((resolve) => setImmediate(resolve));
    expect(alive).to.equal(32);
    const failing = (): Promise<never> => {
      wrong++;
      return Promise.reject(new Error('no grammar'));
    };
    const both = [1, 2].map(() => kept.use('a', 'wrong', failing, async () => undefined));
    expect((await Promise.allSettled(both)).map(({ status }) => status)).to.eql(['rejected', 'rejected']);
    expect(wrong).to.equal(1);
    await kept.use('a', 'wrong', compile, async () => undefined);
  });
});
