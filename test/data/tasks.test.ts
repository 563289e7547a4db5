// Built-in tasks: labels against brute force, independence of training and evaluation, determinism, statistics.
import { expect } from 'chai';
import { FastWeightsError, HostRandom } from '../../lib/core';
import {
  Accuracy,
  associativeRecall,
  associativeRetrieval2016,
  associativeRetrieval2021,
  type Batch,
  copy,
  createTask,
  type Dataset,
  IGNORED,
  mqar,
  parity,
  ratio,
  type RetrievalBatch,
  tasks,
} from '../../lib/data';
import { distinct, weightedDistinct, wideBelow } from '../../lib/data/sampling';

const names = Object.keys(tasks) as (keyof typeof tasks)[];

function rows(batch: Batch): { inputs: number[]; labels: number[]; groups: number[] }[] {
  const T = batch.sequenceLength;
  return Array.from({ length: batch.batchSize }, (_, b) => {
    const row = <A extends Int32Array | Uint8Array>(a: A): number[] => [...a.subarray(b * T, (b + 1) * T)];
    return {
      inputs: row(batch.inputs),
      labels: row(batch.labels),
      groups: row(batch.groups ?? new Uint8Array(b * T + T)),
    };
  });
}

/** Pearson's statistic over its degrees of freedom: about 1 for a uniform sample. */
function chiSquare(counts: number[]): number {
  const mean = counts.reduce((a, b) => a + b, 0) / counts.length;
  return counts.reduce((sum, n) => sum + (n - mean) ** 2 / mean, 0) / (counts.length - 1);
}

const evaluationOf = (task: Dataset, batchSize: number): Batch[] => [...task.evaluation(batchSize)];

describe('every task', () => {
  for (const name of names) {
    describe(name, () => {
      it('is a pure function of seed and step', () => {
        const [a, b] = [createTask(name, { seed: 7 }), createTask(name, { seed: 7 })];
        b.batch(4, 2);
        expect(a.batch(5, 3)).to.eql(b.batch(5, 3));
        expect(a.batch(5, 3).inputs).to.not.eql(a.batch(6, 3).inputs);
        expect(a.batch(5, 3).inputs).to.not.eql(createTask(name, { seed: 8 }).batch(5, 3).inputs);
        expect(rows(a.batch(5, 1))[0]).to.eql(rows(a.batch(5, 3))[0]);
      });

      it('has one evaluation set whatever the batch size', () => {
        const task = createTask(name, { evaluationSize: 10 });
        const whole = evaluationOf(task, 10);
        const parts = evaluationOf(task, 4);
        expect(parts.map((batch) => batch.batchSize)).to.eql([4, 4, 2]);
        expect(parts.flatMap(rows)).to.eql(rows(whole[0]));
        expect(evaluationOf(task, 10)).to.eql(whole);
      });

      it('keeps ids in the vocabulary, counts labels, and decodes', () => {
        const task = createTask(name);
        const batch = task.batch(0, 50);
        expect(batch.inputs.length).to.equal(50 * task.sequenceLength);
        expect(batch.labelCount)
          .to.equal(batch.labels.filter((label) => label !== IGNORED).length)
          .and.above(49);
        for (const id of batch.inputs) expect(id).to.be.within(0, task.vocabSize - 1);
        for (const id of batch.labels) if (id !== IGNORED) expect(id).to.be.within(0, task.vocabSize - 1);
        for (const group of batch.groups ?? []) expect(group).to.be.below(task.groups.length);
        expect(task.decode(batch.inputs.subarray(0, task.sequenceLength))).to.not.include('undefined');
      });

      it('rejects bad arguments', () => {
        const task = createTask(name);
        expect(() => task.batch(-1, 2)).to.throw(FastWeightsError, 'step');
        expect(() => task.batch(0, 0)).to.throw(FastWeightsError, 'batchSize');
        expect(() => evaluationOf(task, 1.5)).to.throw(FastWeightsError, 'batchSize');
        expect(() => createTask(name, { seed: -1 })).to.throw(FastWeightsError, 'seed');
        expect(() => createTask(name, { sede: 1 } as object)).to.throw(FastWeightsError, 'unknown option sede');
      });
    });
  }

  it('shares no sequence between training and evaluation', () => {
    for (const task of [associativeRecall(), mqar(), copy(), parity({ minLength: 60, maxLength: 80 })]) {
      const seen = new Set(
        Array.from({ length: 100 }, (_, step) => rows(task.batch(step, 16)))
          .flat()
          .map((r) => r.inputs.join()),
      );
      expect(seen.size, task.name).to.equal(1600);
      for (const row of evaluationOf(task, 64).flatMap(rows))
        expect(seen.has(row.inputs.join()), task.name).to.equal(false);
    }
  });

  it('names what is wrong', () => {
    expect(() => createTask('nothing' as 'copy')).to.throw(
      FastWeightsError,
      "createTask: name must be 'associativeRecall'",
    );
    expect(() => mqar({ pairs: 17 })).to.throw(FastWeightsError, 'pairs must be a whole number from 1 to 16');
    expect(() => parity({ minLength: 5, maxLength: 4 })).to.throw(FastWeightsError, 'maxLength');
    expect(() => associativeRecall({ nKeys: 4 })).to.throw(FastWeightsError, 'pairs - replaced');
    expect(() => associativeRecall({ queries: 9 })).to.throw(FastWeightsError, 'queries');
    expect(() => copy({ length: 0 })).to.throw(FastWeightsError, 'length');
    expect(() => associativeRetrieval2016({ pairs: 27 })).to.throw(FastWeightsError, 'pairs');
    expect(() => associativeRetrieval2021({ setting: 'both' as 'update' })).to.throw(FastWeightsError, 'setting');
    expect(() => associativeRetrieval2021({ sequenceLength: 3 } as object)).to.throw(
      FastWeightsError,
      'sequenceLength',
    );
  });
});

describe('associative recall', () => {
  it('asks for the last value, and tells replaced keys from fresh ones', () => {
    for (const options of [{}, { pairs: 20, replaced: 15, queries: 3 }, { pairs: 1 }, { pairs: 8, replaced: 0 }]) {
      const { pairs, replaced, queries } = {
        pairs: 12,
        replaced: Math.floor((options.pairs ?? 12) / 3),
        queries: undefined,
        ...options,
      };
      const task = associativeRecall(options);
      for (const { inputs, labels, groups } of rows(task.batch(3, 40))) {
        const history = new Map<number, number[]>();
        for (let i = 0; i < pairs; i++)
          history.set(inputs[2 * i], [...(history.get(inputs[2 * i]) ?? []), inputs[2 * i + 1]]);
        expect(history.size).to.equal(pairs - replaced);
        for (const values of history.values()) values.forEach((v, i) => i > 0 && expect(v).to.not.equal(values[i - 1]));
        expect(labels.slice(0, 2 * pairs + 1).every((label) => label === IGNORED)).to.equal(true);
        const asked = inputs.slice(2 * pairs + 1);
        expect(new Set(asked).size)
          .to.equal(asked.length)
          .and.equal(queries ?? history.size);
        asked.forEach((key, i) => {
          const values = history.get(key)!;
          expect(labels[2 * pairs + 1 + i]).to.equal(values[values.length - 1]);
          expect(task.groups[groups[2 * pairs + 1 + i]]).to.equal(values.length > 1 ? 'replaced' : 'fresh');
        });
      }
    }
  });

  it('draws keys, values and places of overwriting evenly', () => {
    const task = associativeRecall({ nKeys: 16, nValues: 8 });
    const keys = new Array<number>(16).fill(0);
    const answers = new Array<number>(8).fill(0);
    let firstQueryReplaced = 0;
    const all = Array.from({ length: 40 }, (_, step) => rows(task.batch(step, 50))).flat();
    for (const { inputs, labels, groups } of all) {
      keys[inputs[0] - 1]++;
      answers[labels[25] - 17]++;
      firstQueryReplaced += groups[25];
    }
    expect(chiSquare(keys)).to.be.below(3);
    expect(chiSquare(answers)).to.be.below(3);
    expect(firstQueryReplaced / all.length).to.be.closeTo(0.5, 0.05);
  });
});

describe('associative retrieval of 2016', () => {
  it('asks for the digit of one of its letters', () => {
    const task = associativeRetrieval2016({ seed: 2 });
    expect([task.sequenceLength, task.vocabSize]).to.eql([11, 37]);
    const asked = new Array<number>(4).fill(0);
    const digits = new Array<number>(10).fill(0);
    for (const { inputs, labels } of rows(task.batch(1, 2000))) {
      const text = task.decode(inputs);
      expect(text).to.match(/^([a-z][0-9]){4}\?\?[a-z]$/);
      const letters = [0, 2, 4, 6].map((t) => inputs[t]);
      expect(new Set(letters).size).to.equal(4);
      const place = letters.indexOf(inputs[10]);
      expect(labels).to.eql([...new Array<number>(10).fill(IGNORED), inputs[2 * place + 1]]);
      asked[place]++;
      digits[labels[10] - 26]++;
    }
    expect(chiSquare(asked)).to.be.below(4);
    expect(chiSquare(digits)).to.be.below(3);
    expect(
      associativeRetrieval2016({ pairs: 3 }).decode(rows(associativeRetrieval2016({ pairs: 3 }).batch(0, 1))[0].inputs),
    ).to.have.lengthOf(9);
  });
});

describe('mqar', () => {
  const task = mqar({ vocabSize: 256, sequenceLength: 64, pairs: 8, seed: 1 });
  const all = Array.from({ length: 25 }, (_, step) => rows(task.batch(step, 40))).flat();

  it('labels each key once, at its query, with its value', () => {
    for (const { inputs, labels } of all) {
      const pairs = new Map(Array.from({ length: 8 }, (_, i) => [inputs[2 * i], inputs[2 * i + 1]]));
      expect(pairs.size).to.equal(8);
      expect(new Set(pairs.values()).size).to.equal(8);
      for (const [key, value] of pairs) {
        expect(key).to.be.within(1, 127);
        expect(value).to.be.within(128, 255);
      }
      const queries = labels.flatMap((label, t) => (label === IGNORED ? [] : [t]));
      expect(queries.map((t) => inputs[t]).sort()).to.eql([...pairs.keys()].sort());
      for (const t of queries) {
        expect(labels[t]).to.equal(pairs.get(inputs[t]));
        expect(t).to.be.at.least(16);
        expect(t % 2).to.equal(0);
      }
    }
  });

  it('prefers near queries by the power law', () => {
    const weights = Array.from({ length: 24 }, (_, i) => (i + 1) ** -0.99);
    const total = weights.reduce((a, b) => a + b);
    const first = new Array<number>(24).fill(0);
    const random = new HostRandom(3);
    for (let i = 0; i < 20_000; i++) first[weightedDistinct(random, 2, weights)[0]]++;
    first.forEach((n, i) => expect(n / 20_000).to.be.closeTo(weights[i] / total, 0.012));
    // The gap of the first pair is the first draw.
    const gaps = all.map(({ inputs }) => (inputs.indexOf(inputs[0], 16) - 16) / 2);
    expect(gaps.filter((gap) => gap === 0).length / gaps.length).to.be.closeTo(1 / total, 0.05);
  });

  it('fits the tightest length', () => {
    const { inputs, labels } = rows(mqar({ vocabSize: 64, sequenceLength: 16, pairs: 4 }).batch(0, 1))[0];
    expect(labels.filter((label) => label !== IGNORED)).to.have.lengthOf(4);
    expect(inputs).to.have.lengthOf(16);
  });
});

describe('parity', () => {
  it('counts ones, ignores padding, and marks the last bit', () => {
    const task = parity();
    const lengths = new Array<number>(38).fill(0);
    let ones = 0;
    let bits = 0;
    for (const { inputs, labels, groups } of Array.from({ length: 40 }, (_, step) =>
      rows(task.batch(step, 50)),
    ).flat()) {
      expect(inputs[0]).to.equal(2);
      const n = inputs.indexOf(2, 1) < 0 ? 40 : inputs.indexOf(2, 1) - 1;
      lengths[n - 3]++;
      labels.forEach((label, t) => {
        const sum = inputs.slice(1, t + 1).reduce((a, b) => a + b, 0);
        expect(label).to.equal(t === 0 || t > n ? IGNORED : sum % 2 === 0 ? 1 : 0);
        if (t > n) expect(inputs[t]).to.equal(2);
      });
      expect(groups.indexOf(1)).to.equal(n);
      ones += inputs.slice(1, n + 1).reduce((a, b) => a + b, 0);
      bits += n;
    }
    expect(chiSquare(lengths)).to.be.below(2.5);
    expect(ones / bits).to.be.closeTo(0.5, 0.01);
  });
});

describe('copy', () => {
  it('reproduces the string after the separator', () => {
    for (const n of [1, 2, 16]) {
      const task = copy({ symbols: 5, length: n });
      for (const { inputs, labels } of rows(task.batch(1, 20))) {
        const string = inputs.slice(0, n);
        expect(inputs).to.eql([...string, 5, ...string.slice(0, -1)]);
        expect(labels).to.eql([...new Array<number>(n).fill(IGNORED), ...string]);
      }
    }
    expect(copy({ symbols: 3, length: 3 }).decode([0, 1, 2, 3, 0, 1])).to.equal('abc|ab');
  });
});

describe('associative retrieval 2021', () => {
  const check = (batch: RetrievalBatch): void => {
    const { length: L, queryCount: Q } = batch;
    for (let b = 0; b < batch.batchSize; b++) {
      for (let i = 0; i < Q; i++) {
        const label = batch.labels[b * Q + i];
        if (label === IGNORED) continue;
        let answer = -1;
        for (let t = 0; t < L; t++)
          if (batch.keys[b * L + t] === batch.queries[b * Q + i]) answer = batch.values[b * L + t];
        expect(label).to.equal(answer);
      }
    }
  };

  it('setting 1: every key and every value once', () => {
    const data = associativeRetrieval2021({ keys: 30, setting: 'capacity' });
    for (const batch of [data.batch(0), data.evaluation()]) {
      check(batch);
      expect(batch.length).to.equal(30);
      for (let b = 0; b < batch.batchSize; b++) {
        expect(new Set(batch.keys.subarray(b * 30, b * 30 + 30)).size).to.equal(30);
        expect(new Set(batch.values.subarray(b * 30, b * 30 + 30)).size).to.equal(30);
      }
    }
    expect(data.batch(0).batchSize).to.equal(32);
    expect(data.evaluation().queryCount).to.equal(30);
    expect(data.evaluation().labels.includes(IGNORED)).to.equal(false);
  });

  it('setting 2: 2 N positions to train on, N to evaluate on, with replacement', () => {
    const data = associativeRetrieval2021({ keys: 20, seed: 1 });
    const batch = data.batch(9);
    check(batch);
    expect([batch.length, batch.queryCount]).to.eql([40, 1]);
    const evaluation = data.evaluation();
    check(evaluation);
    expect([evaluation.length, evaluation.batchSize]).to.eql([20, 20]);
    for (let b = 0; b < 20; b++) {
      const keys = new Set(evaluation.keys.subarray(b * 20, b * 20 + 20));
      const Q = evaluation.queryCount;
      const labels = evaluation.labels.subarray(b * Q, b * Q + Q);
      const queries = evaluation.queries.subarray(b * Q, b * Q + Q).filter((_, i) => labels[i] !== IGNORED);
      expect([...queries]).to.eql([...keys].sort((x, y) => x - y));
    }
    expect(data.evaluation()).to.eql(evaluation);
    expect(data.batch(9)).to.eql(associativeRetrieval2021({ keys: 20, seed: 1 }).batch(9));
    const counts = new Array<number>(20).fill(0);
    for (let step = 0; step < 30; step++) for (const key of data.batch(step).keys) counts[key]++;
    expect(chiSquare(counts)).to.be.below(2.5);
  });

  it('asks at most 200 queries', () => {
    expect(associativeRetrieval2021({ keys: 240, setting: 'capacity' }).evaluation().queryCount).to.equal(200);
  });
});

describe('sampling and accuracy', () => {
  it('draws distinct numbers, every one as often', () => {
    const random = new HostRandom(5);
    const counts = Array.from({ length: 6 }, () => new Array<number>(10).fill(0));
    for (let i = 0; i < 5000; i++) {
      const drawn = distinct(random, 6, 20, 30);
      expect(new Set(drawn).size).to.equal(6);
      drawn.forEach((x, place) => counts[place][x - 20]++);
    }
    for (const place of counts) expect(chiSquare(place)).to.be.below(3);
    expect(distinct(random, 10, 0, 10).sort()).to.eql([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(distinct(random, 0, 0, 0)).to.eql([]);
  });

  it('reaches every residue of a range beyond 24 bits', () => {
    const random = new HostRandom(6);
    const n = 3 * 2 ** 30;
    const residues = new Array<number>(8).fill(0);
    const eighths = new Array<number>(8).fill(0);
    for (let i = 0; i < 4000; i++) {
      const x = wideBelow(random, n);
      expect(x).to.be.within(0, n - 1);
      residues[x % 8]++;
      eighths[Math.floor((8 * x) / n)]++;
    }
    expect(chiSquare(residues)).to.be.below(3);
    expect(chiSquare(eighths)).to.be.below(3);
  });

  it('tells groups and whole sequences apart', () => {
    const task = parity({ minLength: 3, maxLength: 5 });
    const batch = task.batch(0, 8);
    const accuracy = new Accuracy(task.groups);
    // Right everywhere but at the last bit of the first sequence.
    const wrong = batch.groups!.indexOf(1);
    accuracy.add(
      batch,
      batch.labels.map((label, i) => (i === wrong ? 1 - label : label)),
    );
    expect(accuracy.labels).to.eql({ correct: batch.labelCount - 1, total: batch.labelCount });
    expect(accuracy.sequences).to.eql({ correct: 7, total: 8 });
    expect(accuracy.groups).to.eql({
      prefix: { correct: batch.labelCount - 8, total: batch.labelCount - 8 },
      last: { correct: 7, total: 8 },
    });
    expect(ratio({ correct: 0, total: 0 })).to.be.NaN;
    expect(() => accuracy.add(batch, [1])).to.throw(FastWeightsError, 'predictions');
  });
});
