// Sampling against a plain implementation in float64 that sorts, and draws against the distribution it gives.
import { expect } from 'chai';
import * as fw from '../../lib';
import { HostRandom } from '../../lib/core';
import { expectError } from '../support/errors';

const VOCABULARY = 23;

/** The logits after everything that changes them, written down as plainly as possible. */
function changed(
  logits: readonly number[],
  options: fw.SamplingOptions,
  prompt: number[],
  generated: number[],
): number[] {
  const { logitBias = {}, repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = options;
  return logits.map((logit, id) => {
    let x = logit + (logitBias[id] ?? 0);
    if ([...prompt, ...generated].includes(id)) x = x > 0 ? x / repetitionPenalty : x * repetitionPenalty;
    const count = generated.filter((one) => one === id).length;
    return x - (count > 0 ? presencePenalty : 0) - count * frequencyPenalty;
  });
}

type Entry = { id: number; p: number };

/** Probabilities by id of what is left of a list. */
function normalised(entries: Entry[]): Entry[] {
  const total = entries.reduce((sum, { p }) => sum + p, 0);
  return entries.map(({ id, p }) => ({ id, p: p / total }));
}

/** The first entries in an order, until they reach a share. */
function reach(entries: Entry[], share: number, before: (a: Entry, b: Entry) => number): Entry[] {
  const sorted = normalised(entries).sort((a, b) => before(a, b) || a.id - b.id);
  const kept: Entry[] = [];
  for (let sum = 0; kept.length < sorted.length && sum < share; sum += kept.at(-1)!.p) kept.push(sorted[kept.length]);
  return normalised(kept);
}

function distribution(logits: readonly number[], options: fw.SamplingOptions): number[] {
  const { temperature = 0, topK = Infinity, topP = 1, minP = 0, typicalP = 1 } = options;
  const most = Math.max(...logits);
  const likeliest = (a: Entry, b: Entry): number => b.p - a.p;
  let left = normalised(logits.map((x, id) => ({ id, p: Math.exp((x - most) / temperature) })));
  left = normalised(left.sort((a, b) => likeliest(a, b) || a.id - b.id).slice(0, topK));
  if (topP < 1) left = reach(left, topP, likeliest);
  const top = Math.max(...left.map(({ p }) => p));
  left = normalised(left.filter(({ p }) => p >= minP * top));
  if (typicalP < 1) {
    const entropy = left.reduce((sum, { p }) => sum - (p > 0 ? p * Math.log(p) : 0), 0);
    const far = ({ p }: Entry): number => Math.abs(-Math.log(p) - entropy);
    left = reach(left, typicalP, (a, b) => far(a) - far(b));
  }
  const all = logits.map(() => 0);
  for (const { id, p } of left) all[id] = p;
  return all;
}

/** How often each token comes when the uniform number takes each of n equidistant values. */
function swept(
  logits: readonly number[],
  options: fw.SamplingOptions,
  n: number,
  context?: fw.SampledContext,
): number[] {
  const counts = logits.map(() => 0);
  for (let i = 0; i < n; i++) {
    const random = (): number => (i + 0.5) / n;
    counts[fw.sampleToken(logits, options, random, context).id]++;
  }
  return counts;
}

describe('sampling', () => {
  const random = new HostRandom(5);
  const next = (): number => random.next();
  const rows = Array.from({ length: 40 }, (_, i) =>
    // Numbers that float32 holds.
    Array.from({ length: VOCABULARY }, () => Math.fround((0.2 + i / 8) * (random.next() + random.next() - 1) * 4)),
  );

  it('leaves out what top-k, top-p, min-p and typical leave out, alone and in a row', () => {
    const n = 400;
    const filters: fw.SamplingOptions[] = [
      ...[1, 2, 7, VOCABULARY - 1, 50].map((topK) => ({ topK })),
      ...[0.01, 0.3, 0.6, 0.95, 0.9999].map((topP) => ({ topP })),
      ...[0.01, 0.1, 0.5, 1].map((minP) => ({ minP })),
      ...[0.01, 0.2, 0.5, 0.9, 0.999].map((typicalP) => ({ typicalP })),
      { topK: 9, topP: 0.8 },
      { topK: 12, typicalP: 0.5 },
      { topP: 0.9, minP: 0.2, typicalP: 0.7 },
      { topK: 15, topP: 0.95, minP: 0.05, typicalP: 0.8 },
    ];
    for (const row of rows.slice(0, 20)) {
      for (const filter of filters) {
        const options = { temperature: 0.5 + random.next(), ...filter };
        const expected = distribution(row, options);
        swept(row, options, n).forEach((count, id) => {
          const label = `${JSON.stringify(options)} token ${id}`;
          if (expected[id] === 0) expect(count, label).to.equal(0);
          else expect(count, label).to.be.closeTo(n * expected[id], 1.001);
        });
      }
    }
  });

  it('keeps the smaller ids of equal logits', () => {
    const equal = new Array<number>(40).fill(1);
    const kept = (options: fw.SamplingOptions): number => {
      const counts = swept(equal, { temperature: 1, ...options }, 400);
      const last = counts.lastIndexOf(10 * (40 / counts.filter((c) => c > 0).length));
      expect(counts.slice(0, last + 1).every((c) => c > 0)).to.equal(true);
      return last + 1;
    };
    expect([kept({ topK: 8 }), kept({ topP: 0.5 }), kept({ minP: 1 }), kept({ typicalP: 0.25 })]).to.eql([
      8, 20, 40, 10,
    ]);
  });

  it('large vocabularies: selects what sorting does', () => {
    const V = 5000;
    for (const digits of [1e6, 4]) {
      // With few different logits, too.
      const row = Array.from({ length: V }, () => Math.round(digits * (6 * random.next() - 3)) / digits);
      for (const options of [
        { topK: 700 },
        { topP: 0.6 },
        { typicalP: 0.6 },
        { topK: 3000, topP: 0.9, typicalP: 0.5 },
      ]) {
        const expected = distribution(row, { temperature: 1, ...options });
        const kept = expected.filter((p) => p > 0).length;
        const context = { temperature: 1, ...options };
        const found = new Set<number>();
        let at = 0;
        // In the middle of each token's part of the line.
        for (const [id, p] of expected.entries()) {
          if (p === 0) continue;
          const uniform = (): number => at + p / 2;
          const token = fw.sampleToken(row, context, uniform).id;
          expect(token, JSON.stringify(options)).to.equal(id);
          found.add(token);
          at += p;
          if (found.size > 40 && id < V - 200) break;
        }
        expect(kept).to.be.above(40);
      }
    }
  });

  it('changes logits by bias, penalties and processors, in this order', () => {
    for (const row of rows) {
      const ids = (n: number): number[] => Array.from({ length: n }, () => random.below(VOCABULARY));
      const [prompt, generated] = [ids(6), ids(9)];
      for (const options of [
        { repetitionPenalty: 1.5 },
        { repetitionPenalty: 0.4 },
        { presencePenalty: 1.25 },
        { frequencyPenalty: 0.5 },
        { presencePenalty: -0.5, frequencyPenalty: -0.25 },
        { logitBias: { 3: 2.5, 4: -Infinity } },
        { logitBias: { [prompt[0]]: 3 }, repetitionPenalty: 1.3, presencePenalty: 0.5, frequencyPenalty: 0.125 },
      ] as fw.SamplingOptions[]) {
        const expected = changed(row, options, prompt, generated);
        let seen: number[] = [];
        const logitProcessors = [
          (logits: Float32Array, given: Int32Array) => {
            seen = Array.from(logits);
            expect(Array.from(given)).to.eql([...prompt, ...generated]);
            logits.fill(-Infinity, 0, 11);
          },
          (logits: Float32Array) => logits.fill(100, 20, 21),
        ];
        const token = fw.sampleToken(row, { ...options, logitProcessors }, next, { prompt, generated });
        seen.forEach((x, id) =>
          x === -Infinity
            ? expect(expected[id]).to.equal(x)
            : expect(x).to.be.closeTo(expected[id], 1e-6 * (1 + Math.abs(x))),
        );
        expect(token.id).to.equal(20);
        const greedy = fw.sampleToken(row, options, next, { prompt, generated });
        expect(greedy.id).to.equal(expected.indexOf(Math.max(...expected)));
      }
    }
  });

  it('draws with the frequencies of the filtered distribution', () => {
    const [prompt, generated] = [
      [0, 5, 5, 7],
      [1, 1, 2, 9],
    ];
    const options = { temperature: 0.9, topK: 14, topP: 0.97, minP: 0.02, typicalP: 0.95 };
    const penalties = { repetitionPenalty: 1.2, presencePenalty: 0.3, frequencyPenalty: 0.2 };
    const expected = distribution(changed(rows[4], penalties, prompt, generated), options);
    const n = 30_000;
    const counts = expected.map(() => 0);
    const drawn = new HostRandom(17);
    for (let i = 0; i < n; i++) {
      counts[fw.sampleToken(rows[4], { ...options, ...penalties }, () => drawn.next(), { prompt, generated }).id]++;
    }
    let chiSquare = 0;
    counts.forEach((count, id) => {
      if (expected[id] === 0) expect(count).to.equal(0);
      else chiSquare += (count - n * expected[id]) ** 2 / (n * expected[id]);
    });
    const freedom = expected.filter((p) => p > 0).length - 1;
    expect(freedom).to.be.above(5);
    // Of normal numbers' squares one in about a thousand sums is larger (Wilson and Hilferty 1931).
    const limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * Math.sqrt(2 / (9 * freedom))) ** 3;
    expect(chiSquare).to.be.below(limit);
  });

  it('is greedy whatever is filtered', () => {
    for (const row of rows) {
      const best = row.indexOf(Math.max(...row));
      for (const filter of [{ topK: 3 }, { topP: 0.2 }, { minP: 0.5 }, { typicalP: 0.1 }]) {
        expect(fw.sampleToken(row, filter, next).id).to.equal(best);
      }
    }
  });

  it("reports the model's own log-probabilities, of the likeliest tokens, too", () => {
    for (const row of rows.slice(0, 8)) {
      const own = distribution(row, { temperature: 1 }).map(Math.log);
      const order = [...own.keys()].sort((a, b) => own[b] - own[a]);
      const options = { temperature: 2, repetitionPenalty: 3, logitBias: { 0: 9 }, topLogprobs: 5 };
      const token = fw.sampleToken(row, options, next, { prompt: [1, 2] });
      expect(token.logProbability).to.be.closeTo(own[token.id], 1e-12);
      expect(token.topLogprobs!.map(({ id }) => id)).to.eql(order.slice(0, 5));
      for (const { id, logProbability } of token.topLogprobs!) expect(logProbability).to.be.closeTo(own[id], 1e-12);
    }
  });

  it('far down the exponentials are still right', () => {
    const row = Array.from({ length: 800 }, (_, i) => -i);
    const { topLogprobs } = fw.sampleToken(row, { topLogprobs: 800 }, next);
    const total = 1 / (1 - Math.exp(-1));
    topLogprobs!.forEach(({ logProbability }, i) => expect(logProbability).to.be.closeTo(-i - Math.log(total), 1e-12));
    for (const gap of [0.3, 1e-9, 30, 600]) {
      const { logProbability } = fw.sampleToken([0, -gap], { logitBias: { 0: -1000 } }, next);
      expect(logProbability).to.be.closeTo(-gap - Math.log1p(Math.exp(-gap)), 1e-12 * (1 + gap));
    }
  });

  it('refuses wrong options by name', () => {
    const cases: [string, unknown][] = [
      ...[-0.1, 1.1, NaN, '0.5'].map((minP): [string, unknown] => ['minP', { minP }]),
      ...[0, -0.1, 1.1, NaN].map((typicalP): [string, unknown] => ['typicalP', { typicalP }]),
      ...[0, -1, Infinity, NaN].map((repetitionPenalty): [string, unknown] => [
        'repetitionPenalty',
        { repetitionPenalty },
      ]),
      ...[Infinity, NaN, '1'].map((presencePenalty): [string, unknown] => ['presencePenalty', { presencePenalty }]),
      ...[-Infinity, NaN].map((frequencyPenalty): [string, unknown] => ['frequencyPenalty', { frequencyPenalty }]),
      ...[-1, 1.5, 4].map((topLogprobs): [string, unknown] => ['topLogprobs', { topLogprobs }]),
      ...[[1], new Map([[1, 2]]), { 3: 1 }, { '-1': 1 }, { x: 1 }, { '01': 1 }].map((logitBias): [string, unknown] => [
        'logitBias',
        { logitBias },
      ]),
      ...[NaN, Infinity, '1'].map((x): [string, unknown] => ['logitBias[2]', { logitBias: { 2: x } }]),
      ['logitProcessors', { logitProcessors: () => undefined }],
      ['logitProcessors[1]', { logitProcessors: [() => undefined, 3] }],
    ];
    for (const [argument, options] of cases) {
      const draw = (): unknown => fw.sampleToken([1, 2, 3], options as fw.SamplingOptions, next);
      expect(expectError('INVALID_ARGUMENT', /^sampleToken: /, draw).argument).to.equal(argument);
    }
    const others: [string, unknown, unknown][] = [
      ['logits', [], next],
      ['logits[0]', [true, false], next],
      ['logits[1]', [1, 2n], next],
      ...[undefined, { next }, () => NaN, () => 1, () => -0.1, () => '0', async () => Promise.resolve(0.5)].map(
        (given): [string, unknown, unknown] => ['random', [1, 2], given],
      ),
    ];
    for (const [argument, logits, given] of others) {
      const draw = (): unknown => fw.sampleToken(logits as number[], { temperature: 1 }, given as () => number);
      expect(expectError('INVALID_ARGUMENT', /^sampleToken: .* must be /, draw).argument).to.equal(argument);
    }
    expect(fw.sampleToken([1, 2], { temperature: 1 }, Math.random).id).to.be.within(0, 1);
    const nan = (): unknown => fw.sampleToken([0, NaN], {}, next);
    expectError('INVALID_ARGUMENT', /^sampleToken: the logits hold NaN/, nan);
    const draw = (logitProcessors: readonly fw.LogitProcessor[], context?: fw.SampledContext) => () =>
      fw.sampleToken([1, 2, 3], { logitProcessors }, next, context);
    expectError('INVALID_ARGUMENT', /logitProcessors left NaN/, draw([(row) => row.fill(NaN)]));
    expectError('INVALID_ARGUMENT', /largest logit is -Infinity/, draw([(row) => row.fill(-Infinity)]));
    expectError('INVALID_ARGUMENT', /promise/, draw([async () => Promise.resolve()]));
    expectError('INVALID_ARGUMENT', /prompt\[1\] must be a whole number from 0 to 2/, draw([], { prompt: [0, 3] }));
    expectError('INVALID_ARGUMENT', /did you mean generated/, draw([], { generatd: [0] } as never));
  });

  it('says what left no token to choose', () => {
    const big = 3e38;
    const rows: [string, number[], fw.SamplingOptions, RegExp, string, string][] = [
      ['of the model', [0, Infinity], {}, /the largest logit is Infinity, before anything/, 'logits', 'Infinity'],
      [
        'of the model',
        [-Infinity, -Infinity],
        {},
        /is -Infinity, which leaves no token, before/,
        'logits',
        '-Infinity',
      ],
      [
        'of float32',
        [1e39, 0],
        { logitBias: { 1: 1 } },
        /after rounding to float32/,
        'rounding to float32',
        'Infinity',
      ],
      [
        'bias',
        [0, 1],
        { logitBias: { 0: -Infinity, 1: -Infinity } },
        /no token, after logitBias/,
        'logitBias',
        '-Infinity',
      ],
      ['bias', [big, 1], { logitBias: { 0: big } }, /is Infinity, after logitBias/, 'logitBias', 'Infinity'],
      ['penalty', [big, 1], { repetitionPenalty: 0.5 }, /after repetitionPenalty/, 'repetitionPenalty', 'Infinity'],
      ['penalty', [big, 1], { presencePenalty: -big }, /after presencePenalty/, 'presencePenalty', 'Infinity'],
      [
        'penalty',
        [-Infinity, 1],
        { frequencyPenalty: -1e308, presencePenalty: -1e308 },
        /frequencyPenalty left NaN/,
        'frequencyPenalty',
        'NaN',
      ],
      [
        'processors',
        [0, 1],
        { logitProcessors: [(row) => row.fill(Infinity)] },
        /after logitProc/,
        'logitProcessors',
        'Infinity',
      ],
      [
        'processors behind a bias that is no fault',
        [0, 1],
        { logitBias: { 0: 2 }, logitProcessors: [(row) => row.fill(-Infinity)] },
        /is -Infinity, which leaves no token, after logitProcessors/,
        'logitProcessors',
        '-Infinity',
      ],
    ];
    const context = { prompt: [0], generated: [0, 0] };
    for (const [label, logits, options, message, argument, found] of rows) {
      const error = expectError('INVALID_ARGUMENT', message, () => fw.sampleToken(logits, options, next, context));
      expect(error, label).to.include({ argument, found });
    }
    const repaired = {
      logitBias: { 0: -Infinity, 1: -Infinity },
      logitProcessors: [(row: Float32Array) => row.fill(0, 1)],
    };
    expect(fw.sampleToken([0, 1], repaired, next).id).to.equal(1);
  });
});

describe('sampling in generate', () => {
  let model: fw.models.CausalLM;
  before(() => {
    fw.manualSeed(4);
    const sizes = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 1, numHeads: 2, initializerRange: 0.5 };
    model = fw.createModel('deltanet', { ...sizes, device: 'js' });
  });
  after(() => model.dispose());

  it('counts the prompt of the call and what it generated, token by token', async () => {
    const options = { repetitionPenalty: 1.4, presencePenalty: 0.2, frequencyPenalty: 0.3, logitBias: { 6: 1 } };
    using session = model.createSession();
    (await session.read([8, 9])).dispose();
    const prompt = [1, 2, 3, 2];
    const generated: number[] = [];
    const shown: number[][] = [];
    const logitProcessors = [(_: Float32Array, ids: Int32Array) => void shown.push(Array.from(ids))];
    using plain = model.createSession();
    let logits = await plain.read([8, 9, ...prompt]);
    const own = { maxNewTokens: 90, temperature: 0.7, topK: 5, seed: 3, stopTokens: [], ...options, logitProcessors };
    const random = new HostRandom(3);
    for await (const { id } of session.generate(prompt, own)) {
      const row = Array.from(await logits.data());
      logits.dispose();
      const context = { prompt, generated };
      expect(fw.sampleToken(row, { temperature: 0.7, topK: 5, ...options }, () => random.next(), context).id).to.equal(
        id,
      );
      expect(shown.at(-1)).to.eql([...prompt, ...generated]);
      generated.push(id);
      logits = plain.feed([id]);
    }
    logits.dispose();
    expect(generated).to.have.lengthOf(90);
  });

  it('is settled by the call, and gives the likeliest tokens where asked for', async () => {
    const logitBias: Record<number, number> = { 5: 100 };
    const tokens = model.generate([1], { maxNewTokens: 2, logitBias, topLogprobs: 2 });
    logitBias[5] = -100;
    for await (const token of tokens) {
      expect(token.id).to.equal(5);
      expect(token.topLogprobs).to.have.lengthOf(2);
    }
  });
});
