// Stop strings: the text is cut where they begin, whatever tokens they come in, and no more is held back than may be one.
import { expect } from 'chai';
import fc from 'fast-check';
import { byteTokenizer, StreamDecoder } from '../../lib/io';
import { expectError } from '../support/errors';

/** The text before the string that is complete first, the longest of those with the same end; null without one. */
function cut(text: string, stops: readonly string[]): string | null {
  for (let end = 1; end <= text.length; end++) {
    for (let begin = 0; begin < end; begin++) if (stops.includes(text.slice(begin, end))) return text.slice(0, begin);
  }
  return null;
}

/** How much of a text's end is the beginning of a string. */
function open(text: string, stops: readonly string[]): number {
  for (let n = text.length; n > 0; n--) {
    if (stops.some((stop) => stop.length > n && stop.startsWith(text.slice(-n)))) return n;
  }
  return 0;
}

describe('io: stop strings', () => {
  const tokenizer = byteTokenizer();
  const decoderOf = (stopStrings: string[], prompt = ''): StreamDecoder =>
    new StreamDecoder(tokenizer, { stopStrings, prompt: tokenizer.encode(prompt) });

  it('that are long, in a text that nearly holds them, cost little', () => {
    const decoder = decoderOf([`${'a'.repeat(40_000)}c`]);
    const said = tokenizer.encode(`${'a'.repeat(20_000)}b`.repeat(2));
    const began = performance.now();
    const text = said.map((id) => decoder.push(id)).join('');
    expect(text.length).to.equal(40_002);
    expect(performance.now() - began).to.be.below(8000);
  });

  it('cut any text exactly, and hold back only what may be one', () => {
    const letters = fc.constantFrom('a', 'b', 'ab', 'é', 'è', '漢', '😀', '😁', '\n');
    const words = (maxLength: number, minLength = 0): fc.Arbitrary<string> =>
      fc.array(letters, { minLength, maxLength }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(words(30), fc.array(words(4, 1), { maxLength: 4 }), (text, stops) => {
        const decoder = decoderOf(stops);
        let written = '';
        let whole = '';
        const bytes = tokenizer.encode(text);
        for (const [i, byte] of bytes.entries()) {
          written += decoder.push(byte);
          // What the bytes so far surely are.
          whole = tokenizer.decode(bytes.slice(0, i + 1)).replace(/\uFFFD+$/, '');
          const end = cut(whole, stops);
          expect(decoder.stopped).to.equal(end !== null);
          expect(written).to.equal(end ?? whole.slice(0, whole.length - open(whole, stops)));
        }
        expect(written + decoder.flush()).to.equal(cut(text, stops) ?? text);
      }),
      { numRuns: 500 },
    );
  });

  it('do not begin in the prompt, nor in the text before', () => {
    const decoder = decoderOf(['lo!'], 'Hello');
    expect([...tokenizer.encode('! lo')].map((id) => decoder.push(id)).join('')).to.equal('! ');
    expect(decoder.flush()).to.equal('lo');
    expect(decoder.push(tokenizer.encode('!')[0])).to.equal('!');
    expect(decoder.stopped).to.equal(false);
  });

  it('end a text once', () => {
    const decoder = decoderOf(['.']);
    expect(tokenizer.encode('a.b').map((id) => decoder.push(id))).to.eql(['a', '', '']);
    expect([decoder.stopped, decoder.flush(), decoder.stopped]).to.eql([true, '', false]);
    expect(tokenizer.encode('b').map((id) => decoder.push(id))).to.eql(['b']);
  });

  it('may be what is only certain at the end', () => {
    const decoder = decoderOf(['\uFFFD']);
    expect(decoder.push(0x61) + decoder.push(0xc3) + decoder.flush()).to.equal('a');
  });

  it('are refused by name where they are none', () => {
    for (const [argument, stopStrings] of [
      ['stopStrings', 'a'],
      ['stopStrings[1]', ['a', '']],
      ['stopStrings[0]', [3]],
    ] as const) {
      const error = expectError('INVALID_ARGUMENT', /^StreamDecoder: /, () => decoderOf(stopStrings as never));
      expect(error.argument).to.equal(argument);
    }
  });
});
