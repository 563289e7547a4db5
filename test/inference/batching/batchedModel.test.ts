// Sessions in a batch: who is read when, and what becomes of those that end early.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { stepByHand } from './handMade';

const VOCABULARY = 17;
const SIZES = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16 };
const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);

async function take<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function codeOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof fw.FastWeightsError) return error.code;
    throw error;
  }
  return 'none';
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const range = (n: number, from = 0): number[] => Array.from({ length: n }, (_, i) => (from + i) % VOCABULARY);

describe('BatchedModel', () => {
  let model: fw.models.CausalLM;
  const options = { maxNewTokens: 6, stopTokens: [] };
  /** The ids that a session of the model alone says. */
  const alone = async (prompt: number[], more: fw.GenerateOptions = {}): Promise<number[]> => {
    using session = model.createSession();
    return (await take(session.generate(prompt, { ...options, ...more }))).map(({ id }) => id);
  };
  before(() => {
    fw.manualSeed(3);
    model = fw.createModel('gated-deltanet', {
      ...SIZES,
      attn: { layers: [1], num_heads: 2 },
      initializerRange: 0.3,
    });
  });
  after(() => model.dispose());

  it('reads the tokens of several sessions together, and copies a state only in and out', async () => {
    using batch = new fw.BatchedModel(model);
    const sessions = range(4).map(() => batch.createSession());
    const said = await Promise.all(sessions.map((session, i) => take(session.generate(range(3, i), options))));
    expect(said.map((tokens) => tokens.map(({ id }) => id))).to.eql(
      await Promise.all(range(4).map((i) => alone(range(3, i)))),
    );
    const { ticks, tokens, promptTokens, copies, queued, waiting } = batch.numbers;
    expect({ tokens, promptTokens, queued, waiting }).to.eql({ tokens: 20, promptTokens: 12, queued: 0, waiting: 0 });
    // Each joined, and some ended while others went on.
    expect(copies).to.be.within(4, 7);
    expect(ticks).to.be.within(5, 9);
    for (const session of sessions) session.dispose();
    expect(batch.numbers.active).to.equal(0);
  });

  it('reads several samples of one prompt', async () => {
    using batch = new fw.BatchedModel(model);
    const several = { ...options, samples: 3, temperature: 1, seed: 4 };
    using session = batch.createSession();
    using other = batch.createSession();
    using expected = model.createSession();
    const [said] = await Promise.all([take(session.generate([1, 2, 3], several)), take(other.generate([4], options))]);
    expect(said).to.eql(await take(expected.generate([1, 2, 3], several)));
  });

  it('leaves nothing behind', async () => {
    const before = bytes();
    const batch = new fw.BatchedModel(model);
    await Promise.all(
      range(5).map(async (i) => {
        using session = batch.createSession({ rollbackWindow: 2, history: true });
        await take(session.generate(range(2, i), { ...options, maxNewTokens: 2 + i }));
        await session.rollback(2);
        using snapshot = session.snapshot();
        session.restore(snapshot);
      }),
    );
    expect(bytes()).to.be.at.most(before);
    batch.dispose();
  });

  it('gives snapshots, forks and windows copies, which later ticks leave alone', async () => {
    using batch = new fw.BatchedModel(model);
    using other = batch.createSession();
    using session = batch.createSession({ rollbackWindow: 3 });
    const company = take(other.generate([1], { ...options, maxNewTokens: 30 }));
    const expected = await alone([4, 5]);
    const said: number[] = [];
    let snapshot: fw.Snapshot | undefined;
    for await (const { id } of session.generate([4, 5], options)) {
      said.push(id);
      if (said.length === 3) snapshot = session.snapshot();
    }
    expect(said).to.eql(expected);
    await session.rollback(3);
    expect((await take(session.generate([], { ...options, maxNewTokens: 3 }))).map(({ id }) => id)).to.eql(
      expected.slice(3),
    );
    session.restore(snapshot!);
    expect(session.length).to.equal(5);
    using fork = session.fork();
    const both = await Promise.all(
      [session, fork].map((each) => take(each.generate([], { ...options, maxNewTokens: 3 }))),
    );
    expect(both.map((tokens) => tokens.map(({ id }) => id))).to.eql([expected.slice(3), expected.slice(3)]);
    snapshot!.dispose();
    await company;
  });

  it('feeds alone, and goes on in the batch', async () => {
    using batch = new fw.BatchedModel(model);
    using session = batch.createSession();
    await take(session.generate([4, 5], { ...options, maxNewTokens: 2 }));
    using alike = model.createSession();
    await take(alike.generate([4, 5], { ...options, maxNewTokens: 2 }));
    using fed = session.feed([7]);
    using expected = alike.feed([7]);
    expect(fed.tolist()).to.eql(expected.tolist());
    expect(await take(session.generate([], options))).to.eql(await take(alike.generate([], options)));
  });

  it('ends what is aborted or disposed while it waits or is read, and nobody else', async () => {
    using batch = new fw.BatchedModel(model, { maxBatch: 2 });
    const controller = new AbortController();
    const [gone, aborted, ...rest] = range(5).map(() => batch.createSession());
    const ends = [
      codeOf(() => take(gone.generate([1, 2], { ...options, maxNewTokens: 500 }))),
      codeOf(() => take(aborted.generate([1, 2], { ...options, maxNewTokens: 500, signal: controller.signal }))),
    ];
    const said = rest.map((session) => take(session.generate([1, 2], options)));
    for (let i = 0; i < 20; i++) await turn();
    gone.dispose();
    controller.abort();
    expect(await Promise.all(ends)).to.eql(['DISPOSED', 'ABORTED']);
    const expected = await alone([1, 2]);
    for (const tokens of await Promise.all(said)) expect(tokens.map(({ id }) => id)).to.eql(expected);
    // A token that was yielded belongs to the conversation.
    expect(aborted.length).to.be.greaterThan(1);
    await take(aborted.generate([3], options));
    for (const session of [aborted, ...rest]) session.dispose();
  });

  it('refuses one call more than may wait, and no read of those that were let in', async () => {
    using batch = new fw.BatchedModel(model, { maxBatch: 1, maxQueue: 3 });
    const sessions = range(6).map(() => batch.createSession());
    const long = range(40);
    const codes = sessions.map((session) => codeOf(() => take(session.generate(long, options))));
    expect(await Promise.all(codes)).to.eql(['none', 'none', 'none', 'OVERLOADED', 'OVERLOADED', 'OVERLOADED']);
    expect(sessions[3].length).to.equal(0);
    expect(await take(sessions[3].generate([1], options))).to.have.length(6);
    for (const session of sessions) session.dispose();
  });

  it('prefers the higher priority, and takes turns among equals', async () => {
    using batch = new fw.BatchedModel(model, { maxBatch: 1, promptSlice: 4 });
    const order: string[] = [];
    const run = async (name: string, priority: number, prompt: number[]): Promise<void> => {
      using session = batch.createSession({ priority });
      await take(session.generate(prompt, { maxNewTokens: 3, stopTokens: [] }));
      order.push(name);
    };
    await Promise.all([
      run('low', -1, range(4)),
      run('long', 0, range(32)),
      run('short', 0, range(4)),
      run('high', 1, range(16)),
    ]);
    expect(order).to.eql(['high', 'short', 'long', 'low']);
  });

  it('gives a place in the batch for a while, then to whoever waits', async () => {
    using batch = new fw.BatchedModel(model, { maxBatch: 1 });
    const order: number[] = [];
    await Promise.all(
      [0, 1, 2].map(async (i) => {
        using session = batch.createSession();
        for await (const _ of session.generate([1], { maxNewTokens: 40, stopTokens: [] })) order.push(i);
      }),
    );
    const turns = order.flatMap((i, at) => (i === order[at - 1] ? [] : [i]));
    expect(turns).to.eql([0, 1, 2, 0, 1, 2]);
    expect(batch.numbers.copies).to.be.within(6, 12);
  });

  it('reads each alone where a model knows nothing of texts of different lengths', async () => {
    const counting = stepByHand();
    using batch = new fw.BatchedModel(counting);
    const sessions = [0, 1, 2].map(() => batch.createSession());
    const said = await Promise.all(
      sessions.map((session, i) => take(session.generate(range(1 + i), { maxNewTokens: 4 }))),
    );
    expect(said.map((tokens) => tokens.map(({ id }) => id))).to.eql([
      [1, 2, 3, 4],
      [2, 3, 4, 5],
      [3, 4, 5, 6],
    ]);
    for (const session of sessions) session.dispose();
  });

  it('tells those that it concerns of an error of the model, and goes on', async () => {
    const counting = stepByHand();
    using batch = new fw.BatchedModel(counting);
    using session = batch.createSession({ history: true });
    using other = batch.createSession();
    counting.failsAt = 4;
    const ends = [
      codeOf(() => take(session.generate([0], { maxNewTokens: 9 }))),
      codeOf(() => take(other.generate([0], { maxNewTokens: 9 }))),
    ];
    expect(await Promise.all(ends)).to.eql(['UNSUPPORTED', 'UNSUPPORTED']);
    expect(await codeOf(() => take(session.generate([], {})))).to.equal('INVALID_ARGUMENT');
    counting.failsAt = Infinity;
    await session.rollback(0);
    expect((await take(session.generate([], { maxNewTokens: 2 }))).map(({ id }) => id)).to.eql([4, 5]);
  });

  it('ends its calls when it is disposed, and leaves the sessions', async () => {
    const batch = new fw.BatchedModel(model, { promptSlice: 4 });
    const sessions = range(3).map(() => batch.createSession());
    const ends = sessions.map((session, i) =>
      codeOf(() => take(session.generate(range(i === 2 ? 4000 : 3), { ...options, maxNewTokens: 500 }))),
    );
    for (let i = 0; i < 10; i++) await turn();
    batch.dispose();
    expect(await Promise.all(ends)).to.eql(['DISPOSED', 'DISPOSED', 'DISPOSED']);
    expect(await codeOf(() => batch.createSession())).to.equal('DISPOSED');
    for (const session of sessions) {
      expect(await codeOf(() => take(session.generate([1])))).to.equal('DISPOSED');
      session.snapshot().dispose();
      session.dispose();
    }
  });

  it('says so where the model was moved, and takes new sessions there', async () => {
    const moved = fw.createModel('gla', { ...SIZES, initializerRange: 0.3 });
    using batch = new fw.BatchedModel(moved);
    using session = batch.createSession();
    const said = await take(session.generate([1, 2], options));
    const elsewhere = fw.devices().filter(({ device, available }) => available && device !== moved.device);
    for (const { device } of elsewhere) {
      moved.to(device);
      expect(await codeOf(() => take(session.generate([], options)))).to.equal('DEVICE');
      using other = batch.createSession();
      expect((await take(other.generate([1, 2], options))).map(({ id }) => id)).to.eql(said.map(({ id }) => id));
    }
    moved.dispose();
  });

  it('refuses options by name', async () => {
    expect(() => new fw.BatchedModel(model, { maxBatch: 0 })).to.throw(/BatchedModel: maxBatch must be/);
    expect(() => new fw.BatchedModel(model, { maxbatch: 1 } as object)).to.throw(/maxBatch/);
    expect(() => new fw.BatchedModel({} as fw.RecurrentModel)).to.throw(/a model that generates/);
    using batch = new fw.BatchedModel(model);
    expect(() => batch.createSession({ priority: 'high' } as object)).to.throw(/priority must be a number/);
    expect(() => batch.createSession({ batch: 2 } as object)).to.throw(/batch must be left out/);
  });
});
