// Encoding in pieces: the ids of the whole text, whatever the tokenizer does at its ends and between words.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { HostRandom } from '../../lib/core';
import { encodeInPieces } from '../../lib/data/encode';
import { byteTokenizer, loadTokenizer, type Tokenizer } from '../../lib/io';
import { goldenFolder } from '../support/golden';

const PARTS = [
  'foo',
  ' bar',
  'baz.',
  '\n',
  '\n\n',
  ' ',
  '  ',
  '\t',
  '\r\n',
  'é',
  '人人',
  '\u{1F600}',
  'e\u0301',
  '42',
  '\u00a0',
];

function randomText(length: number): string {
  const random = new HostRandom(3);
  let text = '';
  while (text.length < length) text += PARTS[random.below(PARTS.length)];
  return text;
}

const PROSE = Array.from({ length: 120 }, (_, i) => `The ${i} quick brown foxes jump, and so on; Größe!`).join('\n');

const TEXTS: Record<string, string> = {
  'lines of prose': PROSE,
  'one line': PROSE.replaceAll('\n', ' '),
  'blank lines': PROSE.replaceAll('\n', '\n\n'),
  'Windows lines': PROSE.replaceAll('\n', '\r\n'),
  'no spaces': PROSE.replace(/\s/g, ''),
  'only spaces': ' '.repeat(4000),
  'one letter': 'a'.repeat(4000),
  'everything mixed': randomText(9000),
};

/** Tokens by a pattern, all of them words of one growing table. */
function patternTokenizer(pattern: RegExp, prepare = (text: string): string => text): Tokenizer {
  const table = new Map<string, number>();
  const encode = (text: string): number[] =>
    (prepare(text).match(pattern) ?? []).map((token) => {
      if (!table.has(token)) table.set(token, table.size);
      return table.get(token)!;
    });
  return { ...byteTokenizer(), kind: 'huggingface', vocabSize: 1e6, encode };
}

const TOKENIZERS: Record<string, Tokenizer> = {
  'words with the space before them': patternTokenizer(/ ?[^\s]+|\s+(?!\S)|\s+/g),
  'line ends with what stands before': patternTokenizer(/[^\r\n\w]?\w+| ?[^\s\w]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/g),
  'a mark at the front': patternTokenizer(/▁[^▁]*/g, (text) => `▁${text.replaceAll(' ', '▁')}`),
  'a text that is trimmed': patternTokenizer(/\S+/g, (text) => text.trim()),
  'pairs from the front': patternTokenizer(/[^]{1,2}/g),
  'all of the text as one token': patternTokenizer(/[^]+/g),
};

function inPieces(text: string, tokenizer: Tokenizer): number[] {
  const cuts = [0, 700, 701, 5000, text.length];
  const texts = cuts.slice(1).map((end, i) => text.slice(cuts[i], end));
  return [...encodeInPieces(texts, tokenizer, () => undefined)].flat();
}

function expectSame(tokenizer: Tokenizer): void {
  for (const [name, text] of Object.entries(TEXTS)) {
    const whole = tokenizer.encode(text, { addSpecialTokens: false, onUnknown: () => undefined });
    expect(inPieces(text, tokenizer), name).to.eql(whole);
  }
}

describe('encoding in pieces', () => {
  for (const [name, tokenizer] of Object.entries(TOKENIZERS)) it(name, () => expectSame(tokenizer));

  for (const model of goldenFolder ? ['delta_net', 'llama'] : []) {
    it(`the published tokenizer of ${model}`, async () => {
      expectSame(await loadTokenizer(join(goldenFolder!, 'models', model)));
    });
  }

  it('works on little more than the text, in small pieces', () => {
    const sizes: number[] = [];
    const words = TOKENIZERS['words with the space before them'];
    const counting: Tokenizer = {
      ...words,
      encode: (text, options) => {
        sizes.push(text.length);
        return words.encode(text, options);
      },
    };
    inPieces(PROSE.repeat(10), counting);
    expect(Math.max(...sizes)).to.be.below(2500);
    expect(sizes.reduce((a, b) => a + b)).to.be.below(1.3 * 10 * PROSE.length);
  });

  it('tells each part without an id once, in order', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'fast-weights-'));
    try {
      const letters = [...'abcdefghijklmnopqrstuvwxyz \n'];
      const vocab = Object.fromEntries([...letters, 'th'].map((letter, id) => [letter, id]));
      const definition = {
        model: { type: 'BPE', vocab, merges: [['t', 'h']], unk_token: null },
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: null,
        post_processor: null,
        decoder: null,
      };
      mkdirSync(join(folder, 'bpe'));
      writeFileSync(join(folder, 'bpe', 'tokenizer.json'), JSON.stringify(definition));
      const tokenizer = await loadTokenizer(join(folder, 'bpe'));
      const text = 'that is the line\n'.repeat(150);
      const odd = `${text}é the ß\n${text}ß ß\n${text}é`;
      const seen: [string, number][] = [];
      const ids = [...encodeInPieces([odd], tokenizer, (part, index) => seen.push([part, index]))].flat();
      expect(ids).to.eql(tokenizer.encode(odd.replace(/[éß]/g, '')));
      const n = text.length;
      expect(seen).to.eql([
        ['é', n],
        ['ß', n + 6],
        ['ß', 2 * n + 8],
        ['ß', 2 * n + 10],
        ['é', 3 * n + 12],
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
