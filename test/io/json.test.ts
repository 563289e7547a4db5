// The tolerant reader of configurations.
import { expect } from 'chai';
import fc from 'fast-check';
import { existsSync, readFileSync, writeFileSync, truncateSync } from 'node:fs';
import { FastWeightsError } from '../../lib/core';
import { parseJson, readJson, writeJson } from '../../lib/io';
import { rejection, temporaryFolder } from './folder';

const parse = (text: string): unknown => parseJson(text, 'config.json');

describe('io: JSON', () => {
  const at = temporaryFolder();

  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), fc.constantFrom(undefined, 1, '\t'), (text, indent) => {
        const value: unknown = JSON.parse(text);
        expect(parse(JSON.stringify(value, null, indent))).to.deep.equal(value);
      }),
    );
  });

  it('refuses what JSON.parse refuses, except the words for infinities', () => {
    const character = fc.constantFrom(
      ...'{}[]",:0123-+.eE\\u tfnaN\n\u0001'.split(''),
      'true',
      'null',
      '"a"',
      '\u00e9',
    );
    fc.assert(
      fc.property(fc.array(character, { maxLength: 12 }), (parts) => {
        const text = parts.join('');
        if (text.includes('NaN')) return;
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          expect(() => parse(text), text).to.throw(FastWeightsError, /config\.json: line \d+, column \d+/);
          return;
        }
        expect(parse(text)).to.deep.equal(expected);
      }),
      { numRuns: 3000 },
    );
  });

  it('reads infinities as bare words and tagged', () => {
    const text = '{"a": [Infinity, -Infinity, NaN], "b": {"__float__": "-Infinity"}, "c": "Infinity, NaN"}';
    expect(parse(text)).to.deep.equal({ a: [Infinity, -Infinity, NaN], b: -Infinity, c: 'Infinity, NaN' });
    expect(parse('{"__float__": "NaN"}')).to.be.NaN;
    expect(parse('{"__float__": "Infinity", "x": 1}')).to.deep.equal({ __float__: 'Infinity', x: 1 });
    expect(parse('{"__float__": "other"}')).to.deep.equal({ __float__: 'other' });
    for (const bad of ['infinity', 'nan', '+Infinity', '-NaN', 'Infinity1', 'undefined', 'constructor', '- Infinity']) {
      expect(() => parse(bad), bad).to.throw(FastWeightsError);
    }
  });

  it('names the place of an error', () => {
    expect(() => parse('{\n  "a": 1,\n  "b": tru\n}')).to.throw('config.json: line 3, column 8');
    expect(() => parse('[1, 2')).to.throw(/line 1, column 6.*the end/);
    expect(() => parse('{"a": 01}')).to.throw(/column 7/);
    expect(() => parse('"a\\q"')).to.throw(/column 1.*escapes/);
  });

  it('keeps __proto__ as data', () => {
    const value = parse('{"__proto__": {"polluted": 1}, "a": 2}') as object;
    expect(Object.keys(value)).to.deep.equal(['__proto__', 'a']);
    expect(Object.getPrototypeOf(value)).to.equal(Object.prototype);
    expect('polluted' in value).to.equal(false);
  });

  it('refuses deep nesting and takes long strings', () => {
    expect(() => parse('['.repeat(1e6))).to.throw(FastWeightsError, /deep/);
    expect(() => parse('{"a":'.repeat(1e5))).to.throw(FastWeightsError, /deep/);
    const long = 'x'.repeat(2e7);
    expect(parse(`"${long}"`)).to.equal(long);
    expect(() => parse(`"${long}`)).to.throw(FastWeightsError, /closed/);
  });

  it('writes and reads files', async () => {
    const value = { limit: [0, Infinity, -Infinity], none: NaN, text: 'Infinity \u2028 \ud83d\ude00' };
    await writeJson(at('a.json'), value);
    expect(await readJson(at('a.json'))).to.deep.equal(value);
    expect(() => JSON.parse(readFileSync(at('a.json'), 'utf8')) as unknown).not.to.throw();
    await rejection(readJson(at('missing.json')), 'IO', /missing\.json.*ENOENT/);
    writeFileSync(at('bad.json'), '{');
    await rejection(readJson(at('bad.json')), 'FORMAT', /bad\.json: line 1/);
    if (existsSync('/dev/zero')) await rejection(readJson('/dev/zero'), 'IO', /zero: no regular file/);
    truncateSync(at('bad.json'), 100_000_001);
    await rejection(readJson(at('bad.json')), 'FORMAT', /at most 100000000 bytes long, got 100000001/);
  });
});
