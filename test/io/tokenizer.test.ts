// Tokenizers, and text that arrives token by token.
import { expect } from 'chai';
import fc from 'fast-check';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FastWeightsError } from '../../lib/core';
import { byteTokenizer, characterTokenizer, loadTokenizer, saveTokenizer } from '../../lib/io';
import { goldenFolder } from '../support/golden';
import { rejection, temporaryFolder } from './folder';
import { stream } from './stream';

interface ExpectedTokens {
  cases: { text: string; ids: number[]; decoded: string; decoded_skip_special: string }[];
  chat?: { text: string; ids: number[] };
}

const text = fc.string({ unit: 'binary' });

describe('io: tokenizers', () => {
  const at = temporaryFolder();

  it('turns text into bytes and back', () => {
    const bytes = byteTokenizer();
    fc.assert(fc.property(text, (s) => void expect(bytes.decode(bytes.encode(s))).to.equal(s)));
    expect(bytes.encode('\u00e9')).to.deep.equal([0xc3, 0xa9]);
    expect(bytes.decode([0xff, 65, 0xe2, 0x82])).to.equal('\ufffdA\ufffd');
    expect(bytes.decode(Int32Array.of(0xef, 0xbb, 0xbf, 65))).to.equal('\ufeffA');
    for (const id of [-1, 256, 0.5, NaN]) expect(() => bytes.decode([id])).to.throw(FastWeightsError, /an id/);
  });

  it('turns text into characters and back', () => {
    const characters = characterTokenizer('hello \ud83d\ude00\uffff');
    expect(characters.vocabSize).to.equal(7);
    expect(characters.encode(' eh\uffff\ud83d\ude00')).to.deep.equal([0, 1, 2, 5, 6]);
    fc.assert(
      fc.property(text, (s) => void expect(characterTokenizer(s).decode(characterTokenizer(s).encode(s))).to.equal(s)),
    );
    expect(() => characters.encode('hello\u00e9')).to.throw(FastWeightsError, /text must be made of.*U\+00E9/);
    expect(() => characters.decode([7])).to.throw(FastWeightsError, /an id/);
    expect(characterTokenizer(['b', 'a']).encode('ab')).to.deep.equal([1, 0]);
    for (const table of [['a', 'a'], ['ab'], [''], [1 as unknown as string]]) {
      expect(() => characterTokenizer(table)).to.throw(FastWeightsError, /table/);
    }
  });

  it('prints a character when its last byte is there', () => {
    const bytes = byteTokenizer();
    expect(stream(bytes, bytes.encode('a\u20ac\ud83d\ude00'))).to.deep.equal([
      'a',
      '',
      '',
      '\u20ac',
      '',
      '',
      '',
      '\ud83d\ude00',
      '',
    ]);
    expect(stream(bytes, [0xf0, 0x9f, 0x98])).to.deep.equal(['', '', '', '\ufffd']);
    // What no later byte can mend comes at once.
    expect(stream(bytes, [0xff, 65, 0xe2, 0xe2, 0x82, 65])).to.deep.equal([
      '\ufffd',
      'A',
      '',
      '\ufffd',
      '',
      '\ufffdA',
      '',
    ]);
    expect(stream(bytes, [0xe0, 0x80, 0xed, 0xa0, 0xf4, 0x90]).slice(1)).to.deep.equal([
      '\ufffd\ufffd',
      '',
      '\ufffd\ufffd',
      '',
      '\ufffd\ufffd',
      '',
    ]);
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.nat(255), fc.constantFrom(0xf0, 0x9f, 0x98, 0x80, 0xe2, 0x82))), (ids) => {
        expect(stream(bytes, ids).join('')).to.equal(bytes.decode(ids));
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(
        text,
        (s) => void expect(stream(characterTokenizer(s), characterTokenizer(s).encode(s)).join('')).to.equal(s),
      ),
    );
  });

  it('saves and loads its own tokenizers', async () => {
    mkdirSync(at('own'));
    for (const tokenizer of [byteTokenizer(), characterTokenizer('\ud83d\ude00 b\n"a')]) {
      await saveTokenizer(at('own'), tokenizer);
      const loaded = await loadTokenizer(at('own'));
      expect(loaded.kind).to.equal(tokenizer.kind);
      expect(loaded.files()).to.deep.equal(tokenizer.files());
    }
    const path = at('own/fast_weights_tokenizer.json');
    for (const bad of [
      '{',
      '[]',
      '{"kind":"word"}',
      '{"kind":"character"}',
      '{"kind":"character","characters":["ab"]}',
    ]) {
      writeFileSync(path, bad);
      await rejection(loadTokenizer(at('own')), 'FORMAT', /fast_weights_tokenizer\.json/);
    }
    mkdirSync(at('empty'));
    await rejection(loadTokenizer(at('empty')), 'IO', /holds no tokenizer\.json/);
    await rejection(loadTokenizer(at('absent')), 'IO');
  });

  it('refuses a tokenizer.json that is none', async () => {
    mkdirSync(at('broken'));
    for (const bad of ['{', '[]', '{}', '{"model":{"type":"Unheard"}}', '{"model":{"type":"BPE"},"added_tokens":3}']) {
      writeFileSync(at('broken/tokenizer.json'), bad);
      await rejection(loadTokenizer(at('broken')), 'FORMAT', /tokenizer\.json/);
    }
  });

  it('names the package to install where it is absent', () => {
    const hook = `export const resolve = (name, context, next) => {
      if (name !== '@huggingface/tokenizers') return next(name, context);
      throw Object.assign(new Error('not found'), { code: 'ERR_MODULE_NOT_FOUND' });
    };`;
    mkdirSync(at('peer'));
    writeFileSync(at('peer/tokenizer.json'), '{}');
    const script = `
      require('node:module').register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
      const { loadTokenizer } = require(${JSON.stringify(join(__dirname, '../../lib/io/index.ts'))});
      loadTokenizer(${JSON.stringify(at('peer'))}).catch((e) => console.log(e.code, e.message));`;
    const { stdout } = spawnSync(process.execPath, ['--import=tsx', '-e', script], { encoding: 'utf8' });
    expect(stdout).to.match(/^UNSUPPORTED loadTokenizer: .*npm install @huggingface\/tokenizers/);
  });

  for (const model of goldenFolder ? ['delta_net', 'gated_deltanet', 'llama', 'qwen3_next-moe'] : []) {
    it(`gives the reference's ids and text for ${model}`, async () => {
      const dir = join(goldenFolder!, 'models', model);
      const tokenizer = await loadTokenizer(dir);
      expect(tokenizer.kind).to.equal('huggingface');
      expect(tokenizer.vocabSize).to.equal(256);
      const expected = JSON.parse(readFileSync(join(dir, 'expected_tokens.json'), 'utf8')) as ExpectedTokens;
      for (const { text, ids, decoded, decoded_skip_special } of expected.cases) {
        expect(tokenizer.encode(text)).to.deep.equal(ids);
        expect(tokenizer.decode(ids)).to.equal(decoded);
        expect(tokenizer.decode(ids, { skipSpecialTokens: true })).to.equal(decoded_skip_special);
        expect(stream(tokenizer, ids).join('')).to.equal(decoded);
        expect(tokenizer.decode([...ids, 100_000])).to.equal(decoded);
      }
      if (expected.chat)
        expect(tokenizer.encode(expected.chat.text, { addSpecialTokens: false })).to.deep.equal(expected.chat.ids);
      mkdirSync(at(model));
      await saveTokenizer(at(model), tokenizer);
      expect((await loadTokenizer(at(model))).encode('O, Romeo!')).to.deep.equal(tokenizer.encode('O, Romeo!'));
    });
  }
});
