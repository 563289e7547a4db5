// The text of generated tokens, and the strings that end it.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectRejection } from '../support/errors';

describe('text in generate', () => {
  const tokenizer = fw.byteTokenizer();
  let model: fw.models.CausalLM;
  before(() => {
    const sizes = { vocabSize: 256, hiddenSize: 8, numLayers: 1, numHeads: 1, intermediateSize: 8 };
    model = fw.createModel('deltanet', { ...sizes, device: 'js' });
  });
  after(() => model.dispose());

  /** What the model says where it is made to say this text. */
  async function say(said: string, options: fw.GenerateOptions, prompt = 'x'): Promise<fw.GeneratedToken[]> {
    const bytes = tokenizer.encode(said);
    const begin = tokenizer.encode(prompt);
    const script = (row: Float32Array, ids: Int32Array): void => void (row[bytes[ids.length - begin.length]] = 1000);
    const tokens: fw.GeneratedToken[] = [];
    const own = { maxNewTokens: bytes.length, logitProcessors: [script], stopTokens: [], tokenizer, ...options };
    for await (const token of model.generate(begin, own)) tokens.push(token);
    return tokens;
  }
  const pieces = (tokens: fw.GeneratedToken[]): (string | undefined)[] => tokens.map(({ text }) => text);

  it('comes with the tokens, characters when they are whole', async () => {
    expect(pieces(await say('aé!', {}))).to.eql(['a', '', 'é', '!']);
    expect(pieces(await say('aé', { maxNewTokens: 2 }))).to.eql(['a', '\uFFFD']);
    expect(pieces(await say('a', { tokenizer: undefined }))).to.eql([undefined]);
  });

  it('comes with why it ended', async () => {
    const ends = async (options: fw.GenerateOptions): Promise<(string | undefined)[]> =>
      (await say('abc', options)).map(({ finish }) => finish);
    expect(await ends({})).to.eql([undefined, undefined, 'length']);
    expect(await ends({ stopStrings: ['bc'] })).to.eql([undefined, undefined, 'stop']);
    expect(await ends({ stopTokens: tokenizer.encode('b') })).to.eql([undefined, 'stop']);
    expect(await ends({ tokenizer: undefined })).to.eql([undefined, undefined, undefined]);
  });

  it('ends where a stop string begins, also between bytes of characters', async () => {
    expect(pieces(await say('a\n\nUser: b', { stopStrings: ['b', '\n\nUser:'] }))).to.eql([
      'a',
      ...Array<string>(7).fill(''),
    ]);
    expect(pieces(await say('a😁😀b', { stopStrings: ['😀'] })).join('')).to.equal('a😁');
    expect(await say('a😁😀b', { stopStrings: ['😀'] })).to.have.lengthOf(9);
    expect(pieces(await say('abc', { stopStrings: ['bd'] }))).to.eql(['a', '', 'bc']);
    expect(pieces(await say('abcb', { stopStrings: ['bd'] }))).to.eql(['a', '', 'bc', 'b']);
    expect(pieces(await say('b!', { stopStrings: ['ab'] }, 'a'))).to.eql(['b', '!']);
  });

  it('leaves stop tokens out', async () => {
    expect(pieces(await say('ab!c', { stopTokens: [33], stopStrings: ['bc'] }))).to.eql(['a', '', 'b']);
  });

  it('is cut, but the tokens belong to the conversation', async () => {
    using session = model.createSession();
    const script = (row: Float32Array): void => void (row[65] = 1000);
    const options = { tokenizer, stopStrings: ['AAA'], logitProcessors: [script] };
    const tokens = [];
    for await (const token of session.generate([1, 2], options)) tokens.push(token);
    expect(pieces(tokens)).to.eql(['', '', '']);
    expect(session.length).to.equal(5);
  });

  it('says nothing that the tokenizer has no text of', async () => {
    using session = model.createSession();
    const options = {
      tokenizer: fw.characterTokenizer('ab'),
      logitProcessors: [(row: Float32Array) => void (row[65] = 1000)],
    };
    const tokens = session.generate([0], options);
    await expectRejection('INVALID_ARGUMENT', /65/, tokens.next());
    expect(session.length).to.equal(1);
  });

  it('refuses special tokens as stop strings, which no text holds', async () => {
    const special = {
      ...tokenizer,
      encode: (text: string) => (text === '<|end|>' ? [7] : tokenizer.encode(text)),
      decode: (ids: ArrayLike<number>, { skipSpecialTokens = false } = {}) =>
        Array.from(ids, (id) => (id !== 7 ? tokenizer.decode([id]) : skipSpecialTokens ? '' : '<|end|>')).join(''),
    };
    const options = { tokenizer: special, stopStrings: ['a', '<|end|>'] };
    const error = await expectRejection('INVALID_ARGUMENT', /7 in stopTokens ends there/, say('b', options));
    expect(error.argument).to.equal('stopStrings[1]');
    expect(pieces(await say('b', { ...options, stopStrings: ['a'] }))).to.eql(['b']);
  });

  it('refuses wrong options by name', async () => {
    for (const [argument, options] of [
      ['tokenizer', { stopStrings: ['a'], tokenizer: undefined }],
      ['tokenizer', { tokenizer: {} }],
      ['stopStrings', { stopStrings: 'a' }],
      ['stopStrings[0]', { stopStrings: [''] }],
    ] as [string, fw.GenerateOptions][]) {
      const error = await expectRejection('INVALID_ARGUMENT', /^generate: /, say('a', options));
      expect(error.argument).to.equal(argument);
    }
  });
});
