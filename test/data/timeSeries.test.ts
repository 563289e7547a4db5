// Series observed at irregular times: the generated ones, and files of the UEA archive.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { irregularSeries, parseTimeSeries, seriesDataset } = fw.data;

describe('irregularSeries', () => {
  it('turns at the speed and in the direction of its class, until the last observation', () => {
    const set = irregularSeries({ noise: 0, missing: 0, length: 40, speeds: 3 });
    expect([set.classes, set.channels]).to.deep.equal([6, 3]);
    const { times, values, finalIndex, labels } = set.batch(0, 50);
    expect(new Set(labels).size).to.equal(6);
    expect([times[0], times[39]]).to.deep.equal([0, 1]);
    const coordinates = (b: number, i: number): number[] => [
      ...values.subarray((b * 40 + i) * 3, (b * 40 + i) * 3 + 3),
    ];
    labels.forEach((label, b) => {
      let angle = 0;
      for (let i = 1; i <= finalIndex[b]; i++) {
        const [[, x0, y0], [t, x, y]] = [coordinates(b, i - 1), coordinates(b, i)];
        expect(t).to.be.closeTo(times[i], 1e-6);
        angle += Math.atan2(x0 * y - y0 * x, x0 * x + y0 * y);
      }
      const turns = (1 + Math.floor(label / 2)) * (label % 2 === 0 ? 1 : -1);
      expect(angle / (2 * Math.PI)).to.be.closeTo(turns * times[finalIndex[b]], 1e-5);
      if (finalIndex[b] < 39) expect(coordinates(b, finalIndex[b] + 1).slice(1)).to.deep.equal([NaN, NaN]);
    });
  });

  it('is the same for the same seed and step, and its evaluation for every size of batch', () => {
    const [one, other] = [irregularSeries({ seed: 3, evaluationSize: 10 }), irregularSeries({ seed: 3 })];
    expect(one.batch(4, 5)).to.deep.equal(other.batch(4, 5));
    expect(one.batch(5, 5)).to.not.deep.equal(one.batch(4, 5));
    const [{ values, labels, times }] = one.evaluation(10);
    const parts = [...one.evaluation(4)];
    expect(parts.flatMap((part) => [...part.values])).to.deep.equal([...values]);
    expect(parts.flatMap((part) => [...part.labels])).to.deep.equal([...labels]);
    expect(times.every((t, i) => i === 0 || t > times[i - 1])).to.equal(true);
    const share = values.reduce((count, value) => count + Number(Number.isNaN(value)), 0) / values.length;
    expect(share).to.be.within(0.2, 0.6);
    expectError('INVALID_ARGUMENT', /missing must be/, () => irregularSeries({ missing: 1 }));
    expectError('INVALID_ARGUMENT', /length must be/, () => irregularSeries({ length: 2 }));
  });

  it('drives a model', () => {
    const { times, values, finalIndex, labels } = irregularSeries({ length: 6 }).batch(0, 4);
    const model = new fw.models.OdeModel({ inputChannels: 3, hiddenSize: 8, outputSize: 4, heads: 2 });
    const x = fw.tensor(values, { shape: [4, 6, 3] });
    const answers = model.forward(x, [...times], { finalIndex: [...finalIndex] });
    const loss = fw.crossEntropy(answers, fw.tensor(labels, { dtype: 'int32' }));
    loss.backward();
    expect(loss.item()).to.be.within(0.1, 10);
  });
});

describe('parseTimeSeries', () => {
  const ts = [
    '#Worms',
    '@problemName Worms',
    '@dimensions 2',
    '@classLabel true a b',
    '@data',
    '1,2.5,?:-1e2,0,3:b',
    '',
    '4:5:a',
  ];
  const arff = [
    '@relation Worms',
    '@attribute Worms relational',
    '  @attribute t0 numeric',
    '@end Worms',
    "@attribute class {a, 'b'}",
    '@data',
    "'1,2.5,?\\n-1e2,0,3',b",
    '"4\\n5",a',
  ];

  it('reads both formats alike', () => {
    for (const lines of [ts, arff]) {
      for (const end of ['\n', '\r\n']) {
        const { classes, series, labels } = parseTimeSeries(lines.join(end));
        expect(classes).to.deep.equal(['a', 'b']);
        expect([...labels]).to.deep.equal([1, 0]);
        expect(series.map((one) => one.map((channel) => [...channel]))).to.deep.equal([
          [
            [1, 2.5, NaN],
            [-100, 0, 3],
          ],
          [[4], [5]],
        ]);
      }
    }
  });

  it('names the line that it cannot read', () => {
    const cases: [RegExp, string[]][] = [
      [/line 4 must be @data/, ts.slice(0, 4)],
      [/line 4 must be behind a line of class names/, ts.filter((line) => !line.startsWith('@class'))],
      [/line 6 must be of a class a \| b, found "c"/, [...ts.slice(0, 5), '1:2:c']],
      [/line 6 must be of numbers, found "x"/, [...ts.slice(0, 5), '1,x:2:a']],
      [/line 7 must be of 2 channels like the first, found 1/, [...ts.slice(0, 6), '1:a']],
      [/line 6 must be a series and its class, found "1,2"/, [...ts.slice(0, 5), '1,2']],
    ];
    for (const [message, lines] of cases) expectError('FORMAT', message, () => parseTimeSeries(lines.join('\n')));
  });
});

describe('seriesDataset', () => {
  // Series b holds b in its first channel, and b, NaN, b + 1 in its second; the last one is shorter.
  const labelled: fw.data.LabelledSeries = {
    classes: ['even', 'odd'],
    series: Array.from({ length: 10 }, (_, b) => [
      new Float32Array(b === 9 ? 2 : 3).fill(b),
      Float32Array.from([b, NaN, b + 1].slice(0, b === 9 ? 2 : 3)),
    ]),
    labels: Int32Array.from({ length: 10 }, (_, b) => b % 2),
  };

  it('splits series once, and scales channels by those that are trained on', () => {
    const data = seriesDataset(labelled, { seed: 4 });
    expect([data.classes, data.channels, data.evaluationSize]).to.deep.equal([2, 3, 3]);
    const [{ values, times, labels, finalIndex }] = [...data.evaluation(3)];
    expect([...times]).to.deep.equal([0, 0.5, 1]);
    const training = data.batch(0, 200);
    const first = (of: Float32Array, b: number): number => of[b * 9 + 1];
    const trained = [...new Set([...training.labels].map((_, b) => first(training.values, b)))].sort((a, b) => a - b);
    const evaluated = [...labels].map((_, b) => first(values, b));
    expect(trained).to.have.lengthOf(7);
    for (const one of evaluated) expect(trained).to.not.include(one);
    // Scaled values are even steps of which one is 1 in the file.
    const all = [...trained, ...evaluated].sort((a, b) => a - b);
    const unit = (all[9] - all[0]) / 9;
    const numbers = evaluated.map((value) => Math.round((value - all[0]) / unit));
    expect([...labels]).to.deep.equal(numbers.map((b) => b % 2));
    expect([...finalIndex]).to.deep.equal(numbers.map((b) => (b === 9 ? 1 : 2)));
    numbers.forEach((b, i) => {
      const own = [...values.subarray(i * 9, i * 9 + 9)].map(Number.isNaN);
      const gone = b === 9;
      expect(own).to.deep.equal([false, false, false, false, false, true, false, gone, gone]);
    });
    const [mean, squares] = [0, 1].map((power) => {
      const weights = trained.map((value) => (Math.round((value - all[0]) / unit) === 9 ? 2 : 3));
      const total = weights.reduce((a, b) => a + b, 0);
      return trained.reduce((sum, value, i) => sum + weights[i] * value ** (power + 1), 0) / total;
    });
    expect([mean, squares]).to.satisfy(([a, b]: number[]) => Math.abs(a) < 1e-6 && Math.abs(b - 1) < 1e-5);
  });

  it('is the same for the same seed and step, and needs two series', () => {
    const [one, other] = [seriesDataset(labelled, { seed: 1 }), seriesDataset(labelled, { seed: 1 })];
    expect(one.batch(3, 4)).to.deep.equal(other.batch(3, 4));
    expect([...one.evaluation(2)].map(({ labels }) => labels.length)).to.deep.equal([2, 1]);
    const single = { ...labelled, series: labelled.series.slice(0, 1) };
    expectError('INVALID_ARGUMENT', /series must be at least 2, got 1/, () => seriesDataset(single));
    expectError('INVALID_ARGUMENT', /held must be/, () => seriesDataset(labelled, { held: 2 }));
  });
});
