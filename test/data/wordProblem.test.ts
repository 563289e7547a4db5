// Word problems: labels against moving things about, the groups themselves, and what is refused.
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import { IGNORED, WORD_PROBLEM_GROUPS, wordProblem, type WordProblemOptions } from '../../lib/data';

/** The elements of each word as strings of images, with the labels decoded alike. */
function wordsOf(options: WordProblemOptions, count = 50): { word: string[]; labels: string[] }[] {
  const task = wordProblem(options);
  const { inputs, labels, sequenceLength: T } = task.batch(1, count);
  return Array.from({ length: count }, (_, b) => {
    const [start, ...rest] = task.decode(inputs.subarray(b * T, b * T + T)).split(' ');
    const word = rest.filter((element) => element !== '.');
    expect(start).to.equal('.');
    expect(rest.slice(word.length).every((element) => element === '.')).to.equal(true);
    const row = [...labels.subarray(b * T, b * T + T)];
    expect(row.map((label) => label !== IGNORED)).to.eql(row.map((_, t) => t > 0 && t <= word.length));
    return { word, labels: task.decode(row.slice(1, word.length + 1)).split(' ') };
  });
}

/** Cycles that a permutation falls into; it is even iff it moves an even number of things beyond one per cycle. */
function cycles(images: string): number {
  const seen = new Set<number>();
  let count = 0;
  for (let i = 0; i < images.length; i++) {
    if (!seen.has(i)) count++;
    for (let at = i; !seen.has(at); at = Number(images[at])) seen.add(at);
  }
  return count;
}

describe('word problems', () => {
  for (const group of WORD_PROBLEM_GROUPS) {
    it(`${group}: labels say where each thing has got to`, () => {
      const n = Number(group[1]);
      const met = new Set<string>();
      for (const { word, labels } of wordsOf({ group, length: 40 })) {
        expect(word).to.have.lengthOf(40);
        const places = Array.from({ length: n }, (_, thing) => thing);
        word.forEach((element, t) => {
          places.forEach((place, thing) => (places[thing] = Number(element[place])));
          expect(labels[t]).to.equal(places.join(''));
          met.add(element);
        });
      }
      const order = [1, 2, 3, 4, 5].slice(0, n).reduce((a, b) => a * b) / (group[0] === 'A' ? 2 : 1);
      expect(met.size).to.equal(order);
      if (group[0] === 'A') for (const element of met) expect((n - cycles(element)) % 2).to.equal(0);
      expect(wordProblem({ group }).vocabSize).to.equal(order + 1);
    });
  }

  it('numbers the identity 0, and draws lengths evenly from minLength on', () => {
    const task = wordProblem({ group: 'S5' });
    expect(task.decode([0, 1, 119, 120])).to.equal('01234 01243 43210 .');
    const lengths = wordsOf({ group: 'Z2', length: 5, minLength: 3 }, 300).map(({ word }) => word.length);
    for (const n of [3, 4, 5]) expect(lengths.filter((length) => length === n).length).to.be.within(70, 130);
  });

  it('draws generators alone where it is told to, which reach the whole group', () => {
    const all = wordsOf({ group: 'S4', length: 60, generators: true });
    expect([...new Set(all.flatMap(({ word }) => word))].sort()).to.eql(['0123', '0132', '0213', '1023']);
    expect(new Set(all.flatMap(({ labels }) => labels)).size).to.equal(24);
  });

  it('refuses what no group has', () => {
    const refused: [WordProblemOptions, string][] = [
      [{ group: 'S6' as 'S5' }, "group must be 'S3'"],
      [{ group: 'A5', generators: true }, 'generators must be false in A5'],
      [{ length: 0 }, 'length'],
      [{ length: 4, minLength: 5 }, 'minLength'],
    ];
    for (const [options, message] of refused)
      expect(() => wordProblem(options), JSON.stringify(options)).to.throw(FastWeightsError, message);
  });
});
