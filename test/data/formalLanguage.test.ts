// Words of formal languages: membership and labels against independent recognisers, and what is refused.
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import {
  FORMAL_LANGUAGES,
  formalLanguage,
  type FormalLanguage,
  type FormalLanguageOptions,
  IGNORED,
} from '../../lib/data';

/** Words as text with their labels; start token, padding and ignored labels are checked on the way. */
function wordsOf(options: FormalLanguageOptions, count = 60): { word: string; labels: number[] }[] {
  const task = formalLanguage(options);
  const { inputs, labels, sequenceLength: T } = task.batch(2, count);
  return Array.from({ length: count }, (_, b) => {
    const text = task.decode(inputs.subarray(b * T, b * T + T));
    const [, word] = /^\.([^.]+)\.*$/.exec(text)!;
    const row = [...labels.subarray(b * T, b * T + T)];
    expect(row.filter((label, t) => (t === 0 || t > word.length) && label !== IGNORED)).to.eql([]);
    return { word, labels: row.slice(1, word.length + 1) };
  });
}

/** A Dyck word loses its adjacent pairs until nothing is left. */
function cancelled(word: string, ...pairs: string[]): string {
  const shorter = pairs.reduce((rest, pair) => rest.split(pair).join(''), word);
  return shorter === word ? word : cancelled(shorter, ...pairs);
}

const only = (word: string, symbols: string): string => [...word].filter((c) => symbols.includes(c)).join('');
const open = (prefix: string, pair: string): number => Number(cancelled(only(prefix, pair), pair) !== '');
const alike = (letters: string[], word: string): boolean => {
  const n = word.length / letters.length;
  return word === letters.map((letter) => letter.repeat(n)).join('');
};
/** Which symbols, $ for the end, go on from the prefix to a word of a^n b^n ..., as a class. */
const successors = (letters: string[]) => (prefix: string, word: string) => {
  const [n, last] = [prefix.split(letters[0]).length - 1, prefix[prefix.length - 1]];
  const next = prefix === word ? '$' : last === letters[0] && prefix.length === n ? 'ab' : word[prefix.length];
  return ['ab', ...letters.slice(1), '$'].indexOf(next);
};

const RECOGNISED: Record<
  FormalLanguage,
  { belongs(word: string): boolean; label(prefix: string, word: string): number }
> = {
  '(aa)*': { belongs: (w) => /^(aa)+$/.test(w), label: (p) => Number(/^(aa)+$/.test(p)) },
  '(abab)*': { belongs: (w) => /^(abab)+$/.test(w), label: (p) => Number(/^(abab)+$/.test(p)) },
  'a^n b^n': { belongs: (w) => alike(['a', 'b'], w), label: successors(['a', 'b']) },
  'a^n b^n c^n': { belongs: (w) => alike(['a', 'b', 'c'], w), label: successors(['a', 'b', 'c']) },
  'dyck-1': { belongs: (w) => cancelled(w, '()') === '', label: (p) => open(p, '()') },
  'shuffle-2': {
    belongs: (w) => cancelled(only(w, '()'), '()') + cancelled(only(w, '[]'), '[]') === '',
    label: (p) => open(p, '()') + 2 * open(p, '[]'),
  },
  'reset-dyck-1': {
    belongs(w) {
      const [cut, rest, ...more] = w.split('1');
      return more.length === 0 && /^\(*$/.test(cancelled(cut, '()')) && cancelled(rest, '()') === '';
    },
    label: (p) => open(p.slice(p.lastIndexOf('1') + 1), '()'),
  },
};

describe('formal languages', () => {
  for (const language of FORMAL_LANGUAGES) {
    it(`${language}: words within the bounds, and their labels`, () => {
      const { belongs, label } = RECOGNISED[language];
      for (const [minLength, maxLength] of [
        [1, 8],
        [20, 50],
        [52, 100],
      ]) {
        const lengths = new Set<number>();
        for (const { word, labels } of wordsOf({ language, minLength, maxLength })) {
          expect(word.length, word).to.be.within(minLength, maxLength);
          expect(belongs(word), word).to.equal(true);
          expect(labels, word).to.eql([...word].map((_, t) => label(word.slice(0, t + 1), word)));
          lengths.add(word.length);
        }
        expect(lengths.size, `lengths up to ${maxLength}`).to.be.above(1);
      }
    });
  }

  it('gives every length of a language without a choice the same chance', () => {
    const counts = new Map<number, number>();
    for (const { word } of wordsOf({ language: 'a^n b^n', minLength: 3, maxLength: 9 }, 3000))
      counts.set(word.length, (counts.get(word.length) ?? 0) + 1);
    expect([...counts.keys()].sort()).to.eql([4, 6, 8]);
    for (const count of counts.values()) expect(count).to.be.within(850, 1150);
  });

  it('crosses brackets of two kinds, and nests them as published', () => {
    const crossing = ({ word }: { word: string }): boolean => cancelled(word, '()', '[]') !== '';
    const bounds = { language: 'shuffle-2', minLength: 20, maxLength: 40 } as const;
    expect(wordsOf(bounds).filter(crossing)).to.have.length.above(20);
    expect(wordsOf({ ...bounds, nested: true }).filter(crossing)).to.eql([]);
    const word = wordsOf({ ...bounds, nested: true }).map((one) => one.word);
    expect(only(word.join(''), '[]').length).to.be.above(100);
  });

  it('bounds parts as published', () => {
    const counted = wordsOf({ language: 'a^n b^n c^n', minLength: 4, maxLength: 5, boundsOf: 'part' });
    expect(new Set(counted.map(({ word }) => word.length))).to.eql(new Set([12, 15]));
    const resets = wordsOf({ language: 'reset-dyck-1', minLength: 20, maxLength: 24, boundsOf: 'part' }, 400);
    expect(Math.max(...resets.map(({ word }) => word.length))).to.be.within(30, 49);
    for (const { word } of resets) for (const part of word.split('1')) expect(part).to.have.length.most(24);
    const { belongs } = RECOGNISED['reset-dyck-1'];
    expect(resets.filter(({ word }) => !belongs(word))).to.eql([]);
  });

  it('refuses bounds without words, and options that the language does not have', () => {
    const refused: [FormalLanguageOptions, string][] = [
      [{ language: 'dyck' as 'dyck-1' }, "language must be '\\(aa\\)\\*'"],
      [{ language: '(abab)*', minLength: 5, maxLength: 7 }, 'minLength must be in reach'],
      [{ language: 'dyck-1', minLength: 40, p: 0.1, q: 0 }, 'minLength must be in reach'],
      [{ language: 'dyck-1', minLength: 3, maxLength: 2 }, 'maxLength'],
      [{ language: 'dyck-1', maxLength: 5000 }, 'maxLength'],
      [{ p: 0.6, q: 0.3 }, 'q must be a number from 0 to 0.2'],
      [{ p: 1.1 }, 'p must be'],
      [{ language: 'dyck-1', nested: true }, 'nested'],
      [{ language: 'shuffle-2', boundsOf: 'part' }, 'boundsOf'],
      [{ boundsOf: 'half' as 'part' }, "boundsOf must be 'word' \\| 'part'"],
    ];
    for (const [options, message] of refused)
      expect(() => formalLanguage(options), JSON.stringify(options)).to.throw(FastWeightsError, new RegExp(message));
  });
});
