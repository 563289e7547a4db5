// Grammars that many requests bring at once, and such as would take minutes.
import { expect } from 'chai';
import { type Asked, serving } from './running';

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
});
