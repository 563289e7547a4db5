// Text data sets: windows, the split, and what the evaluation covers.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import { IGNORED, textDataset } from '../../lib/data';

/** A text in which every number says its own place. */
const text = Array.from({ length: 1000 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join('');

describe('text data sets', () => {
  it('puts the last tokens aside and never trains on them', () => {
    const data = textDataset({ text, tokenizer: 'characters', sequenceLength: 16, validationFraction: 0.2 });
    expect([data.training.length, data.validation.length, data.vocabSize]).to.eql([800, 200, 1000]);
    const held = new Set(data.validation);
    for (let step = 0; step < 200; step++) {
      const { inputs, labels, labelCount } = data.batch(step, 8);
      expect(labelCount).to.equal(128);
      for (const id of [...inputs, ...labels]) expect(held.has(id)).to.equal(false);
    }
  });

  it('labels each token with the next one, at positions that depend on seed and step only', () => {
    const data = textDataset({ text, tokenizer: 'characters', sequenceLength: 7, seed: 3 });
    const { inputs, labels } = data.batch(11, 5);
    for (let i = 0; i < 35; i++) {
      expect(labels[i]).to.equal(inputs[i] + 1);
      if (i % 7 > 0) expect(inputs[i]).to.equal(labels[i - 1]);
    }
    data.batch(12, 5);
    expect(data.batch(11, 5).inputs).to.eql(inputs);
    expect(data.batch(11, 2).inputs).to.eql(inputs.slice(0, 14));
    expect(data.batch(12, 5).inputs).to.not.eql(inputs);
    const other = textDataset({ text, tokenizer: 'characters', sequenceLength: 7, seed: 4 });
    expect(other.batch(11, 5).inputs).to.not.eql(inputs);
  });

  it('starts windows everywhere, first and last position included', () => {
    const data = textDataset({
      text: text.slice(0, 20),
      tokenizer: 'characters',
      sequenceLength: 9,
      validationFraction: 0,
    });
    const counts = new Array<number>(11).fill(0);
    for (let step = 0; step < 550; step++) {
      const { inputs } = data.batch(step, 10);
      for (let b = 0; b < 10; b++) counts[inputs[9 * b]]++;
    }
    for (const count of counts) expect(count).to.be.within(420, 580);
    expect([...data.evaluation(4)]).to.eql([]);
  });

  it('evaluates every validation token but the first exactly once', () => {
    for (const [length, T, batchSize] of [
      [100, 10, 4],
      [101, 10, 4],
      [102, 10, 3],
      [2, 10, 1],
      [11, 10, 1],
      [12, 10, 9],
    ]) {
      const all = text.slice(0, 800) + text.slice(0, length);
      const data = textDataset({
        text: all,
        tokenizer: 'characters',
        sequenceLength: T,
        validationFraction: (length + 0.5) / all.length,
      });
      expect(data.validation.length).to.equal(length);
      const seen: number[] = [];
      let labelCount = 0;
      for (const batch of data.evaluation(batchSize)) {
        expect(batch.batchSize).to.be.within(1, batchSize);
        expect(batch.inputs.length).to.equal(batch.batchSize * T);
        labelCount += batch.labelCount;
        batch.labels.forEach((label, i) => {
          if (label === IGNORED) return;
          seen.push(label);
          expect(batch.inputs[i]).to.equal(label - 1);
        });
      }
      expect(seen).to.eql([...data.validation.subarray(1)]);
      expect(labelCount).to.equal(length - 1);
    }
  });

  it('reads bytes, files and several files', () => {
    const folder = mkdtempSync(join(tmpdir(), 'fast-weights-'));
    try {
      const paths = ['a.txt', 'b.txt'].map((name) => join(folder, name));
      writeFileSync(paths[0], 'hé'.repeat(50));
      writeFileSync(paths[1], 'end'.repeat(50));
      const data = textDataset({ path: paths, sequenceLength: 8 });
      expect(data.training.length + data.validation.length).to.equal(300);
      expect(data.decode(data.training.subarray(0, 6))).to.equal('héhé');
      expect(textDataset({ path: paths[1], sequenceLength: 8 }).decode([101, 110, 100])).to.equal('end');
      expect(() => textDataset({ path: join(folder, 'none') }))
        .to.throw(FastWeightsError, 'cannot read')
        .with.property('code', 'IO');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('names text when it is empty, too short or missing', () => {
    for (const tokenizer of ['bytes', 'characters'] as const) {
      for (const short of ['', 'a', 'too short for a window']) {
        expect(() => textDataset({ text: short, tokenizer }))
          .to.throw(FastWeightsError, 'text')
          .with.property('argument', 'text');
      }
    }
    expect(() => textDataset({}))
      .to.throw(FastWeightsError)
      .with.property('argument', 'text');
    expect(() => textDataset({ text, path: 'x' }))
      .to.throw(FastWeightsError)
      .with.property('argument', 'text');
    expect(() => textDataset({ text, tokenizer: 'words' as 'bytes' })).to.throw(FastWeightsError, 'tokenizer');
    expect(() => textDataset({ text, validationFraction: 2 })).to.throw(FastWeightsError, 'validationFraction');
    expect(() => textDataset({ text, sequenceLength: 0 })).to.throw(FastWeightsError, 'sequenceLength');
  });
});
