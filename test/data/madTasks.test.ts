// The tasks of the MAD suite and modular arithmetic: labels against what a reader with a table would say.
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import {
  type Batch,
  compression,
  type Dataset,
  IGNORED,
  inContextRecall,
  memorization,
  modularArithmetic,
  selectiveCopy,
} from '../../lib/data';
import { FastWeightsError } from '../../lib/core';

type Row = { inputs: number[]; labels: number[] };

function rowsOf(task: Dataset, count = 40): Row[] {
  const { inputs, labels, sequenceLength: T }: Batch = task.batch(3, count);
  const row = (all: Int32Array, b: number): number[] => [...all.subarray(b * T, (b + 1) * T)];
  return Array.from({ length: count }, (_, b) => ({ inputs: row(inputs, b), labels: row(labels, b) }));
}

/** Reads key tokens below `half`, values below 2 half; says what must follow a key that it has seen with its value. */
function recalled({ inputs }: Row, half: number): number[] {
  const labels = inputs.map(() => IGNORED);
  const isKey = (token: number): boolean => token < half;
  const isValue = (token: number): boolean => token >= half && token < 2 * half;
  const memory = new Map<string, number[]>();
  for (let t = 0; t < inputs.length;) {
    const from = t;
    while (t < inputs.length && isKey(inputs[t])) t++;
    const key = inputs.slice(from, t).join();
    const at = t;
    while (t < inputs.length && isValue(inputs[t])) t++;
    if (t === from) t++;
    const value = inputs.slice(at, t);
    if (key === '' || value.length === 0 || !isValue(value[0])) continue;
    const known = memory.get(key);
    if (known) value.forEach((_, i) => (labels[at - 1 + i] = known[i]));
    else memory.set(key, value);
  }
  return labels;
}

describe('the tasks of the MAD suite', () => {
  it('recall values of keys that were there, among noise, of one token and of several', () => {
    for (const options of [
      {},
      { noisePercent: 30, noiseSymbols: 5 },
      { motif: 3, length: 90 },
      { motif: 2, keys: 3 },
    ]) {
      const task = inContextRecall(options);
      let counted = 0;
      for (const row of rowsOf(task)) {
        expect(row.labels).to.eql(recalled(row, 8));
        counted += row.labels.filter((label) => label !== IGNORED).length;
        const noise = row.inputs.filter((token) => token >= 16).length;
        if (options.noisePercent) expect(noise / row.inputs.length).to.be.within(0.1, 0.55);
        else expect(noise).to.equal(0);
      }
      expect(counted / 40).to.be.above(20);
    }
    const few = rowsOf(inContextRecall({ keys: 3 })).map(
      ({ inputs }) => new Set(inputs.filter((token) => token < 8)).size,
    );
    expect(Math.max(...few)).to.equal(3);
  });

  it('copy symbols in their order from among blanks', () => {
    for (const { inputs, labels } of rowsOf(selectiveCopy({ symbols: 5, copied: 4, length: 20 }))) {
      expect(inputs[15]).to.equal(6);
      expect(inputs.slice(16)).to.eql([5, 5, 5, 5]);
      expect(labels.slice(0, 16).every((label) => label === IGNORED)).to.equal(true);
      expect(labels.slice(16)).to.eql(inputs.slice(0, 15).filter((token) => token !== 5));
    }
  });

  it('ask for one dictionary in training and evaluation, whatever their seed', () => {
    const known = new Map<number, number>();
    for (const seed of [0, 1]) {
      for (const { inputs, labels } of rowsOf(memorization({ seed, keys: 9, queries: 5 }))) {
        for (let t = 0; t < 10; t += 2) {
          expect([inputs[t + 1], labels[t]]).to.eql([18, IGNORED]);
          expect(labels[t + 1]).to.equal(known.get(inputs[t]) ?? labels[t + 1]);
          known.set(inputs[t], labels[t + 1]);
        }
      }
    }
    expect([...known.values()].sort((a, b) => a - b)).to.eql([9, 10, 11, 12, 13, 14, 15, 16, 17]);
    const other = rowsOf(memorization({ keys: 9, queries: 5, dictionary: 1 }));
    expect(other.some(({ inputs, labels }) => known.get(inputs[0]) !== labels[1])).to.equal(true);
  });

  it('ask for every symbol before the last token', () => {
    for (const { inputs, labels } of rowsOf(compression({ symbols: 4, length: 7 }))) {
      expect(inputs[6]).to.equal(4);
      expect(labels).to.eql([...inputs.slice(0, 6), IGNORED]);
    }
  });

  it('reckon sums of products modulo a number, as JavaScript does', () => {
    const task = modularArithmetic({ modulus: 7, maxLength: 9 });
    const lengths = new Set<number>();
    for (const { inputs, labels } of rowsOf(task, 200)) {
      const end = inputs.indexOf(10, 1) < 0 ? inputs.length : inputs.indexOf(10, 1);
      lengths.add(end / 2);
      labels.forEach((label, t) => {
        if (t % 2 === 0 || t >= end) return expect(label).to.equal(IGNORED);
        const text = inputs.slice(1, t + 1).map((token) => (token < 7 ? String(token) : '+-*'[token - 7]));
        const value = Number(runInNewContext(text.join(' ')));
        expect(label, text.join(' ')).to.equal(((value % 7) + 7) % 7);
      });
    }
    expect([...lengths].sort((a, b) => a - b)).to.eql([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('name what is wrong', () => {
    expect(() => inContextRecall({ motif: 9 })).to.throw(FastWeightsError, 'motif must be a whole number from 1 to 8');
    expect(() => inContextRecall({ noisePercent: 100 })).to.throw(FastWeightsError, 'noisePercent');
    expect(() => selectiveCopy({ length: 32 })).to.throw(FastWeightsError, 'length must be a whole number >= 33');
    expect(() => modularArithmetic({ minLength: 5, maxLength: 4 })).to.throw(FastWeightsError, 'maxLength');
  });
});
