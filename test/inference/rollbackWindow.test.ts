// `rollbackWindow`: the last tokens are taken back without reading anything again, with the bits of reading again.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectRejection } from '../support/errors';
import { bigState } from './bigState';

const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 2, numHeads: 2, initializerRange: 0.4 };
const bytesInUse = (): number => fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);

function feed(session: fw.Session, ids: number[]): number[] {
  using logits = session.feed(ids);
  return Array.from(logits.dataSync());
}

async function idsOf(tokens: AsyncIterable<fw.GeneratedToken>): Promise<number[]> {
  const found: number[] = [];
  for await (const { id } of tokens) found.push(id);
  return found;
}

/** A model that counts the calls in which it reads, and fails when `fails` says so. */
function counted(model: fw.RecurrentModel) {
  const calls = { count: 0, fails: false };
  const counting: fw.RecurrentModel = {
    ...model,
    prefill: (ids, state) => (calls.count++, model.prefill(ids, state)),
    step: (ids, state) => {
      calls.count++;
      const logits = model.step(ids, state);
      if (calls.fails) throw new Error('on the way');
      return logits;
    },
  };
  return { model: counting, calls };
}

for (const device of available) {
  const more = device === available[0] ? (['gated-deltanet', 'rwkv7', 'mamba2', 'ttt-linear'] as const) : [];
  for (const name of ['deltanet', 'transformer', 'lstm', ...more] as const) {
    it(`takes ${name} on ${device} back and on with the bits of reading again`, async () => {
      fw.manualSeed(5);
      const model = fw.createModel(name, { ...sizes, device });
      using window = model.createSession({ rollbackWindow: 3 });
      using both = model.createSession({ rollbackWindow: 3, history: true });
      using replay = model.createSession({ history: true });
      const all = [window, both, replay];
      for (const session of all) await idsOf(session.generate([1, 2, 3], { maxNewTokens: 5 }));
      for (const [n, id] of [
        [2, 4],
        [1, 5],
        [3, 6],
        [0, 7],
        [3, 8],
      ]) {
        for (const session of all) await session.rollback(n);
        // The logits after the last token that is left are there, too.
        const [a, b, c] = all.map((session) => {
          const fork = session.fork();
          return idsOf(fork.generate([], { maxNewTokens: 2, temperature: 1, seed: 7 })).finally(() => fork.dispose());
        });
        expect([await a, await b]).to.deep.equal([await c, await c]);
        for (const step of [id, id + 1, id + 2]) {
          const [a, b, c] = all.map((session) => feed(session, [step]));
          expect(a).to.deep.equal(c);
          expect(b).to.deep.equal(c);
        }
        expect(all.map(({ length }) => length)).to.deep.equal(Array(3).fill(replay.length));
      }
      // Beyond the window a history reads again, and fills the window anew.
      await expectRejection(
        'UNSUPPORTED',
        /no state of \d+ tokens is in the window, .* history: true/,
        window.rollback(5),
      );
      await both.rollback(5);
      await replay.rollback(5);
      await both.rollback(2);
      await replay.rollback(2);
      expect(feed(both, [3])).to.deep.equal(feed(replay, [3]));
      model.dispose();
    });
  }
}

describe('a window of tokens that can be taken back', () => {
  it('reads nothing again, and holds the states of so many tokens and no more', async () => {
    const { model, calls } = counted(bigState('js', 2 ** 16));
    const state = 4 * 2 ** 16;
    const session = new fw.Session(model, { rollbackWindow: 4 });
    const before = bytesInUse() - state;
    for (let i = 0; i < 20; i++) feed(session, [1]);
    expect(bytesInUse() - before).to.be.within(5 * state, 5 * state + 1000);
    const { count } = calls;
    for (let i = 0; i < 4; i++) await session.rollback(1);
    expect([calls.count, session.length]).to.eql([count, 16]);
    expect(bytesInUse() - before).to.be.within(state, state + 1000);
    await expectRejection('UNSUPPORTED', /no state of 15 tokens/, session.rollback(1));
    expect(feed(session, [1])[0]).to.equal(17);
    session.dispose();
    expect(bytesInUse() - before).to.equal(0);
  });

  it('has the states before and after what is read in one call', async () => {
    const { model, calls } = counted(bigState('js', 8));
    using session = new fw.Session(model, { rollbackWindow: 4 });
    feed(session, [1]);
    feed(session, [2, 3]);
    feed(session, [4]);
    await expectRejection('UNSUPPORTED', /no state of 2 tokens/, session.rollback(2));
    const { count } = calls;
    await session.rollback(3);
    expect([session.length, calls.count, feed(session, [5])[0]]).to.eql([1, count, 6]);
    // A prompt that is longer than the window has a state at its end, and none within.
    feed(session, [1, 1, 1, 1, 1]);
    for (const n of [1, 4, 5]) await expectRejection('UNSUPPORTED', /no state of/, session.rollback(n));
    feed(session, [1]);
    await session.rollback(1);
    expect(feed(session, [2])[0]).to.equal(13);
  });

  it('is read in slices', async () => {
    const { model } = counted({ ...bigState('js', 8), promptSlice: 2 });
    using session = new fw.Session(model, { rollbackWindow: 4 });
    (await session.read([1, 1, 1, 1, 1])).dispose();
    await expectRejection('UNSUPPORTED', /no state of 3 tokens/, session.rollback(2));
    await session.rollback(3);
    expect(feed(session, [3])[0]).to.equal(5);
  });

  it('goes with a fork, not with a snapshot', async () => {
    const { model } = counted(bigState('js', 8));
    using session = new fw.Session(model, { rollbackWindow: 2, batch: 2 });
    const token = fw.tensor([[1], [2]], { dtype: 'int32', device: 'js' });
    const firsts = (of: fw.Session): number[] => {
      using logits = of.feed(token);
      return [0, 8].map((i) => logits.dataSync()[i]);
    };
    for (let i = 0; i < 3; i++) firsts(session);
    using fork = session.fork();
    using snapshot = session.snapshot();
    await fork.rollback(2);
    expect([firsts(fork), firsts(session)]).to.eql([
      [2, 4],
      [4, 8],
    ]);
    session.restore(snapshot);
    await expectRejection('UNSUPPORTED', /no state of 2 tokens/, session.rollback(1));
    expect(firsts(session)).to.eql([4, 8]);
    await session.rollback(1);
    expect([session.length, firsts(session)]).to.eql([3, [4, 8]]);
  });

  it('puts a session right that an error left in the middle of a token', async () => {
    const { model, calls } = counted(bigState('js', 8));
    using session = new fw.Session(model, { rollbackWindow: 1 });
    feed(session, [1]);
    calls.fails = true;
    expect(() => feed(session, [2])).to.throw('on the way');
    calls.fails = false;
    expect(() => feed(session, [2])).to.throw(/rollback\(0\)/);
    await session.rollback(0);
    expect([session.length, feed(session, [2])[0]]).to.eql([1, 3]);
  });

  it('refuses sizes that are none, and a signal that is aborted', async () => {
    const model = bigState('js', 8);
    for (const rollbackWindow of [-1, 1.5, NaN, '3' as never]) {
      expect(() => new fw.Session(model, { rollbackWindow })).to.throw(/rollbackWindow must be/);
    }
    using session = new fw.Session(model, { rollbackWindow: 1 });
    feed(session, [1]);
    await expectRejection('ABORTED', /rollback/, session.rollback(1, { signal: AbortSignal.abort() }));
    expect(session.length).to.equal(1);
  });
});
