// Sessions and generation: snapshots, forks, rollback, sampling, bad input.
import { expect } from 'chai';
import * as fw from '../../lib';
import { HostRandom } from '../../lib/core';
import { expectError } from '../support/errors';
import { collectGarbage } from '../support/garbage';

const VOCABULARY = 17;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));

async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof fw.FastWeightsError) return error.code;
    throw error;
  }
  return 'none';
}

async function take<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);
const read = (logits: fw.Tensor): ArrayLike<number> => {
  const values = logits.dataSync();
  logits.dispose();
  return values;
};

for (const device of available) {
  for (const family of ['deltanet', 'linear-transformer', 'retnet', 'transformer', 'lstm'] as const) {
    describe(`session of ${family} on ${device}`, () => {
      let model: fw.models.CausalLM;
      before(() => {
        fw.manualSeed(3);
        const sizes = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16 };
        model = fw.createModel(family, { ...sizes, initializerRange: 0.3, device });
      });
      after(() => model.dispose());

      it('goes on when its model is cast, and says so when it was moved', async () => {
        const session = model.createSession();
        read(session.feed([1, 2, 3, 4]));
        const weights = Object.entries(model.stateDict()).map(([name, t]) => [name, t.clone()] as const);
        const exact = read(session.fork().feed([5]));
        model.to('bfloat16');
        const rounded = Array.from(read(session.feed([5])));
        rounded.forEach((x, i) => expect(x).to.be.closeTo(exact[i], 0.1));
        const elsewhere = device === 'js' ? available[0] : 'js';
        if (elsewhere !== device) {
          model.to(elsewhere);
          const feed = (ids: number[]): Promise<string> => codeOf(() => session.feed(ids));
          expect([await feed([6]), await feed([6, 7]), session.length]).to.eql(['DEVICE', 'DEVICE', 5]);
          expect(() => session.feed([6])).to.throw(/the session's state is on '.*', but its model was moved to/);
          model.to(device);
        }
        read(session.feed([6, 7]));
        model.to('float32').loadStateDict(Object.fromEntries(weights));
        session.dispose();
      });

      it('goes back to a snapshot and on from a fork with the same bits', () => {
        const session = model.createSession();
        read(session.feed([1, 2, 3, 4]));
        const snapshot = session.snapshot();
        const first = read(session.feed([5]));
        read(session.feed([6, 7]));
        session.restore(snapshot);
        expect(session.length).to.equal(4);
        const fork = session.fork();
        expect(read(session.feed([5]))).to.deep.equal(first);
        read(session.feed([9]));
        expect(read(fork.feed([5]))).to.deep.equal(first);
        session.restore(snapshot);
        expect(read(session.feed([5]))).to.deep.equal(first);
        const begun = model.createSession({ from: snapshot });
        expect(begun.length).to.equal(4);
        expect(read(begun.feed([5]))).to.deep.equal(first);
        expectError('INVALID_ARGUMENT', /from must be made by snapshot/, () =>
          model.createSession({ from: {} as never }),
        );
        expectError('SHAPE', /from must be/, () => model.createSession({ from: snapshot, batch: 2 }));
        for (const item of [session, fork, snapshot, begun]) item.dispose();
      });

      it('rolls back into prompts and over steps with the bits of a shorter text', async () => {
        const session = model.createSession({ history: true });
        read(session.feed([1, 2, 3, 4, 5]));
        for (const id of [6, 7, 8]) read(session.feed([id]));
        await session.rollback(2);
        expect(session.length).to.equal(6);
        const other = model.createSession();
        read(other.feed([1, 2, 3, 4, 5]));
        read(other.feed([6]));
        expect(read(session.feed([9]))).to.deep.equal(read(other.feed([9])));
        await session.rollback(4);
        expect(session.length).to.equal(3);
        const third = model.createSession();
        read(third.feed([1, 2, 3]));
        expect(read(session.feed([4]))).to.deep.equal(read(third.feed([4])));
        await session.rollback(0);
        await session.rollback(4);
        expect(session.length).to.equal(0);
        expect(await codeOf(() => session.rollback(1))).to.equal('INVALID_ARGUMENT');
        for (const item of [session, other, third]) item.dispose();
      });

      it('reads a batch as it reads each sequence', () => {
        const batch = model.createSession({ batch: 2 });
        const ids = (data: number[][]): fw.Tensor => fw.tensor(data, { dtype: 'int32', device });
        fw.scope(() =>
          batch.feed(
            ids([
              [1, 2, 3],
              [4, 5, 6],
            ]),
          ),
        );
        const both = fw.scope(() => [...batch.feed(ids([[7], [8]])).dataSync()]);
        for (const [row, texts] of [
          [[1, 2, 3], [7]],
          [[4, 5, 6], [8]],
        ].entries()) {
          const single = model.createSession();
          read(single.feed(texts[0]));
          expect(both.slice(row * VOCABULARY, (row + 1) * VOCABULARY)).to.deep.equal([
            ...Array.from(read(single.feed(texts[1]))),
          ]);
          single.dispose();
        }
        batch.dispose();
      });

      it('frees everything, and outlives the scope it was made in', async () => {
        await collectGarbage();
        const start = bytes();
        const session = fw.scope(() => model.createSession({ history: true }));
        read(session.feed([1, 2]));
        await take(session.generate([3], { maxNewTokens: 3 }));
        const before = bytes();
        for (let i = 0; i < 5; i++) read(session.feed([i]));
        if (family !== 'transformer') expect(bytes()).to.equal(before);
        await session.rollback(3);
        session.snapshot().dispose();
        session.fork().dispose();
        session.dispose();
        for await (const { id } of model.generate([1, 2, 3])) if (id >= 0) break;
        expect(bytes()).to.equal(start);
      });

      it('generates alike from numbers and tensors, and from a session in two parts', async () => {
        const options = { maxNewTokens: 6, temperature: 1, seed: 5, stopTokens: [] };
        const a = await take(model.generate([1, 2, 3], options));
        const prompt = fw.tensor([[1, 2, 3]], { dtype: 'int32', device });
        expect(await take(model.generate(prompt, options))).to.deep.equal(a);
        const greedy = await take(model.generate([1, 2, 3], { maxNewTokens: 6 }));
        const session = model.createSession();
        const head = await take(session.generate([1, 2, 3], { maxNewTokens: 2 }));
        const tail = await take(session.generate([], { maxNewTokens: 4 }));
        expect([...head, ...tail]).to.deep.equal(greedy);
        session.dispose();
      });
    });
  }
}

describe('generate', () => {
  let model: fw.models.CausalLM;
  before(() => {
    fw.manualSeed(4);
    model = fw.createModel('deltanet', {
      vocabSize: VOCABULARY,
      hiddenSize: 16,
      numLayers: 1,
      numHeads: 2,
      initializerRange: 0.5,
      device: 'js',
    });
  });
  after(() => model.dispose());

  it('refuses bad input', async () => {
    const run = (ids: fw.TokenIds, options: fw.GenerateOptions = {}): Promise<string> =>
      codeOf(() => take(model.generate(ids, { maxNewTokens: 1, ...options })));
    expect(await run([])).to.equal('INVALID_ARGUMENT');
    expect(await run([1, VOCABULARY])).to.equal('INVALID_ARGUMENT');
    expect(await run([-1])).to.equal('INVALID_ARGUMENT');
    expect(await run([0.5])).to.equal('INVALID_ARGUMENT');
    expect(await run(undefined as unknown as number[])).to.equal('SHAPE');
    expect(await run(fw.tensor([[1, 2]], { device: 'js' }))).to.equal('DTYPE');
    expect(await run(fw.tensor([[1], [2]], { dtype: 'int32', device: 'js' }))).to.equal('SHAPE');
    expect(await run([1], { temperature: -1 })).to.equal('INVALID_ARGUMENT');
    expect(await run([1], { topP: 0 })).to.equal('INVALID_ARGUMENT');
    expect(await run([1], { topK: 0 })).to.equal('INVALID_ARGUMENT');
    expect(await run([1], { seed: -1 })).to.equal('INVALID_ARGUMENT');
    expect(await run([1], { signal: AbortSignal.abort() })).to.equal('ABORTED');
    expect(await run([1], { maxNewTokens: 0 })).to.equal('none');
  });

  it('stops at a stop token, which it yields, and when it is told to', async () => {
    const free = await take(model.generate([1, 2], { maxNewTokens: 20, temperature: 1, seed: 1 }));
    const stop = free[4].id;
    const end = free.findIndex(({ id }) => id === stop);
    const stopped = await take(
      model.generate([1, 2], { maxNewTokens: 20, temperature: 1, seed: 1, stopTokens: [stop] }),
    );
    expect(stopped).to.deep.equal(free.slice(0, end + 1));
    const controller = new AbortController();
    let count = 0;
    const aborted = await codeOf(async () => {
      for await (const token of model.generate([1], { maxNewTokens: 50, signal: controller.signal })) {
        expect(token.logProbability).to.be.at.most(0);
        if (++count === 3) controller.abort();
      }
    });
    expect([aborted, count]).to.deep.equal(['ABORTED', 3]);
  });

  it('draws from the generator of manualSeed without a seed', async () => {
    const draw = (): Promise<fw.GeneratedToken[]> => take(model.generate([1], { maxNewTokens: 12, temperature: 2 }));
    fw.manualSeed(1);
    const [a, b] = [await draw(), await draw()];
    fw.manualSeed(1);
    expect([await draw(), await draw()]).to.deep.equal([a, b]);
    expect(a).to.not.deep.equal(b);
  });
});

describe('sampleToken', () => {
  const logits = [2, 1, 0, -1, -Infinity];
  const share = (options: fw.SamplingOptions): number[] => {
    const host = new HostRandom(11);
    const random = (): number => host.next();
    const counts = logits.map(() => 0);
    const n = 20000;
    for (let i = 0; i < n; i++) counts[fw.sampleToken(logits, options, random).id]++;
    return counts.map((c) => c / n);
  };
  const softmax = (kept: number[], temperature = 1): number[] => {
    const weights = logits.map((x, i) => (kept.includes(i) ? Math.exp(x / temperature) : 0));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / total);
  };
  const expectShares = (found: number[], expected: number[]): void =>
    found.forEach((p, i) => (expected[i] === 0 ? expect(p).to.equal(0) : expect(p).to.be.closeTo(expected[i], 0.015)));

  it('follows the distribution, its temperature and its limits', () => {
    expectShares(share({ temperature: 1 }), softmax([0, 1, 2, 3]));
    expectShares(share({ temperature: 2 }), softmax([0, 1, 2, 3], 2));
    expectShares(share({ temperature: 1, topK: 2 }), softmax([0, 1]));
    expectShares(share({ temperature: 1, topK: 99 }), softmax([0, 1, 2, 3]));
    // Probabilities 0.644, 0.237, 0.087, 0.032: the smallest sets that reach 0.6, 0.7 and 0.9.
    expectShares(share({ temperature: 1, topP: 0.6 }), softmax([0]));
    expectShares(share({ temperature: 1, topP: 0.7 }), softmax([0, 1]));
    expectShares(share({ temperature: 1, topP: 0.9 }), softmax([0, 1, 2]));
    expectShares(share({ temperature: 1, topK: 3, topP: 0.7 }), softmax([0, 1]));
    expectShares(share({ temperature: 0, topK: 3 }), softmax([0]));
  });

  it("takes the first of equal logits, keeps to k of them, and reports the model's own probability", () => {
    const random = (): number => 0.5;
    expect(fw.sampleToken([1, 3, 3], {}, random)).to.deep.include({ id: 1 });
    expect(fw.sampleToken([0, 0, 0, 0], { temperature: 5, topK: 1 }, random)).to.deep.equal({
      id: 0,
      logProbability: -Math.log(4),
    });
    expect(() => fw.sampleToken([0, NaN], {}, random)).to.throw(fw.FastWeightsError);
    expect(() => fw.sampleToken([], {}, random)).to.throw(fw.FastWeightsError);
  });
});
