// Text token by token: all pieces are the text of all ids, whatever a tokenizer does to spaces and bytes.
import { expect } from 'chai';
import fc from 'fast-check';
import { mkdirSync, writeFileSync } from 'node:fs';
import { byteTokenizer, characterTokenizer, loadTokenizer, StreamDecoder, type Tokenizer } from '../../lib/io';
import { temporaryFolder } from './folder';
import { stream } from './stream';

/** The package's own tokenizer. */
interface Reference {
  decode(ids: readonly number[], options: { skip_special_tokens: boolean }): string;
}

const SPECIAL = ['<unk>', '<s>', '</s>'];

/** Pieces of words in every notation, punctuation that clean-up moves, bytes. */
const TOKENS = [
  ...SPECIAL,
  ...['\u2581', '\u2581a', '\u2581\u2581', 'b', 'c</w>', '</w>', '##d', '|', '\u6f22', '\u00e9'],
  ...['.', '\u2581.', ',', "'", "\u2581'", 's', 'n', 't', "\u2581n't", 've', ' ', ' .', " ' "],
  ...[0x0a, 0x41, 0x80, 0xc3, 0xa9, 0xe6, 0xbc, 0xa2, 0xf0, 0x9f, 0x98, 0xff].map(
    (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  ),
];
/** The same bytes as characters of byte-level tokenizers, and a space. */
const BYTE_LEVEL = [
  ...SPECIAL,
  '<tool>',
  ..."\u0120\u0120a.',st!\u00e9\u00e6\u00bc\u00a2\u00f0\u0141\u013a\u0122\u00ff",
];

const replace = { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' };
const sequence = (...decoders: object[]): object => ({ type: 'Sequence', decoders });
const strip = (start: number, stop: number): object => ({ type: 'Strip', content: ' ', start, stop });

const DECODERS: [name: string, decoder: object | null, model?: object][] = [
  ['a SentencePiece tokenizer', sequence(replace, { type: 'ByteFallback' }, { type: 'Fuse' }, strip(1, 0))],
  ['one that keeps the first space', sequence(replace, { type: 'ByteFallback' }, { type: 'Fuse' })],
  ['one that strips both ends', sequence(replace, { type: 'Fuse' }, strip(2, 2))],
  ['one that strips every token', sequence(replace, strip(1, 1), { type: 'Fuse' })],
  ['Metaspace', { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true }],
  ['WordPiece', { type: 'WordPiece', prefix: '##', cleanup: false }],
  ['WordPiece with clean-up', { type: 'WordPiece', prefix: '##', cleanup: true }],
  ['words that end in a suffix', { type: 'BPEDecoder', suffix: '</w>' }],
  ['a suffix of the model', sequence({ type: 'Fuse' }), { end_of_word_suffix: '</w>' }],
  ['CTC', { type: 'CTC', pad_token: '<s>', word_delimiter_token: '|', cleanup: true }],
  ['a longer pattern', sequence({ type: 'Fuse' }, { ...replace, pattern: { String: "\u2581'\u2581" } })],
  ['an expression', sequence({ ...replace, pattern: { Regex: '\u2581+' } }, { type: 'Fuse' })],
  ['an expression over the text', sequence({ type: 'Fuse' }, { ...replace, pattern: { Regex: '\u2581+' } })],
  ['bytes as characters', { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true }],
  ['no decoder', null],
];

describe('io: text token by token', () => {
  const at = temporaryFolder();
  let Package: new (definition: object, configuration: object) => Reference;

  before(async () => {
    ({ Tokenizer: Package } = (await import('@huggingface/tokenizers')) as unknown as { Tokenizer: typeof Package });
  });

  /** A tokenizer of these tokens, ours and the package's own. */
  async function make(decoder: object | null, model: object, configuration: object): Promise<[Tokenizer, Reference]> {
    const tokens = decoder && 'use_regex' in decoder ? [...new Set(BYTE_LEVEL)] : TOKENS;
    const definition = {
      version: '1.0',
      added_tokens: tokens.flatMap((content, id) =>
        /^<\D+>$/.test(content) && content !== '</w>' ? [{ id, content, special: content !== '<tool>' }] : [],
      ),
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder,
      model: { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges: [], ...model },
    };
    mkdirSync(at('model'), { recursive: true });
    writeFileSync(at('model/tokenizer.json'), JSON.stringify(definition));
    writeFileSync(at('model/tokenizer_config.json'), JSON.stringify(configuration));
    return [await loadTokenizer(at('model')), new Package(structuredClone(definition), structuredClone(configuration))];
  }

  for (const [name, decoder, model = {}] of DECODERS) {
    for (const clean of [false, true]) {
      it(`${name}${clean ? ', spaces cleaned up' : ''}: the pieces are the text of all ids`, async () => {
        const [tokenizer, reference] = await make(decoder, model, { clean_up_tokenization_spaces: clean });
        const ids = fc.array(fc.nat(tokenizer.vocabSize - 1), { maxLength: 24 });
        fc.assert(
          fc.property(ids, fc.boolean(), fc.nat(24), (ids, skipSpecialTokens, length) => {
            const options = { skipSpecialTokens };
            const whole = tokenizer.decode(ids, options);
            if (ids.length > 0) {
              const theirs = reference.decode(ids, { skip_special_tokens: skipSpecialTokens });
              expect(whole).to.equal(theirs);
            }
            expect(stream(tokenizer, ids, options).join('')).to.equal(whole);
            const prompt = ids.slice(0, length);
            const before = tokenizer.decode(prompt, options);
            let shared = 0;
            while (shared < before.length && before[shared] === whole[shared]) shared++;
            const after = stream(tokenizer, ids.slice(length), { ...options, prompt });
            expect(after.join('')).to.equal(whole.slice(shared));
          }),
          { numRuns: 150 },
        );
      });
    }
  }

  it('pieces come as soon as nothing can change them', async () => {
    const [tokenizer] = await make(DECODERS[0][1], {}, { clean_up_tokenization_spaces: true });
    const pieces = (...tokens: string[]): string[] =>
      stream(
        tokenizer,
        tokens.map((token) => TOKENS.indexOf(token)),
      );
    expect(pieces('\u2581a', '\u2581a', 'b', '.')).to.deep.equal(['a', ' a', 'b', '.', '']);
    expect(pieces('\u2581a', '\u2581', '.', '\u2581', 'b')).to.deep.equal(['a', '', '.', '', ' b', '']);
    expect(pieces('<0xE6>', '<0xBC>', '<0xA2>', '<0xE6>', 'b')).to.deep.equal(['', '', '\u6f22', '', '\ufffdb', '']);
  });

  it('a prompt seeds the text: no space is lost behind it, and none of it comes again', async () => {
    const [tokenizer] = await make(DECODERS[0][1], {}, { clean_up_tokenization_spaces: true });
    const ids = (...tokens: string[]): number[] => tokens.map((token) => TOKENS.indexOf(token));
    const after = (prompt: number[], ...tokens: string[]): string =>
      stream(tokenizer, ids(...tokens), { prompt, skipSpecialTokens: true }).join('');
    expect(after(ids('<s>', '\u2581a'), '\u2581a', '</s>')).to.equal(' a');
    expect(after([], '\u2581a', '</s>', '\u2581a')).to.equal('a a');
    expect(after(ids('\u2581a', '\u2581'), 'b')).to.equal('b');
    expect(after(ids('\u2581a', '\u2581'), '.')).to.equal('.');
    expect(after(ids('b', '<0xE6>', '<0xBC>'), '<0xA2>')).to.equal('\u6f22');
    for (const prompt of ['text', 3, null]) {
      expect(() => new StreamDecoder(tokenizer, { prompt: prompt as unknown as number[] })).to.throw(/a list of ids/);
    }
  });

  it('tokens that either file calls special are no text', async () => {
    const [tokenizer] = await make(
      DECODERS[0][1],
      {},
      {
        eos_token: { __type: 'AddedToken', content: 'b' },
        additional_special_tokens: ['.', { content: ',' }],
        added_tokens_decoder: { 5: { content: 's', special: true }, 6: { content: 'n', special: false } },
      },
    );
    const ids = ['\u2581a', 'b', '.', ',', 's', 'n', '</s>'].map((token) => TOKENS.indexOf(token));
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).to.equal('an');
    expect(stream(tokenizer, ids, { skipSpecialTokens: true })).to.deep.equal(['a', '', '', '', '', 'n', '', '']);
  });

  it('takes no longer for a token at the end of a long text, be it of invalid bytes', async function () {
    this.timeout(10_000);
    const [fallback] = await make(DECODERS[0][1], {}, {});
    const [byteLevel] = await make(DECODERS.find(([name]) => name === 'bytes as characters')![1], {}, {});
    const repeated: [Tokenizer, number][] = [
      [byteTokenizer(), 0xff],
      [byteTokenizer(), 0x80],
      [fallback, TOKENS.indexOf('<0xFF>')],
      [fallback, TOKENS.indexOf('\u2581')],
      [byteLevel, [...new Set(BYTE_LEVEL)].indexOf('\u00ff')],
    ];
    for (const [tokenizer, id] of repeated) {
      const pieces = stream(tokenizer, new Array<number>(100_000).fill(id));
      expect(pieces.join('').length).to.be.greaterThan(99_000);
    }
  });

  it('a tokenizer that can only decode lists is asked for the last ids alone', () => {
    const words = ['a', ' b', ' c', '\u00e9', ' ', '\ufffd'];
    let longest = 0;
    const only: Tokenizer = {
      ...characterTokenizer('x'),
      decode(ids) {
        longest = Math.max(longest, ids.length);
        return Array.from(ids, (id) => words[id])
          .join('')
          .replace(/^ /, '');
      },
    };
    delete only.stream;
    const ids = fc.array(fc.nat(words.length - 1), { maxLength: 300 });
    fc.assert(
      fc.property(ids, (ids) => {
        const whole = only.decode(ids);
        longest = 0;
        expect(stream(only, ids).join('')).to.equal(whole);
        expect(longest).to.be.at.most(64);
      }),
    );
  });
});
