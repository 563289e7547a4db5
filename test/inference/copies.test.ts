// Snapshots and forks share the state's memory until one of them goes on: nothing is copied before, nobody sees the others.
import { expect } from 'chai';
import * as fw from '../../lib';
import { bigState } from './bigState';

const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 2, numHeads: 2, initializerRange: 0.4 };
/** All families on one device; on the others those that keep states of each kind. */
const familiesOn = (device: fw.Device): fw.models.ModelName[] =>
  device === available[0]
    ? fw.models.modelFamilies.map(({ name }) => name)
    : ['deltanet', 'transformer', 'lstm', 'rwkv7', 'mamba2', 'ttt-linear'];
const bytesInUse = (): number => fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);

function feed(session: fw.Session, ids: number[]): number[] {
  using logits = session.feed(ids);
  return Array.from(logits.dataSync());
}

for (const device of available) {
  for (const name of familiesOn(device)) {
    it(`copies of ${name} on ${device} go on each on its own, with the bits of a session without copies`, () => {
      fw.manualSeed(5);
      const model = fw.createModel(name, { ...sizes, device });
      const alone = (...calls: number[][]): number[] => {
        using session = model.createSession();
        return calls.map((ids) => feed(session, ids)).at(-1)!;
      };
      using session = model.createSession();
      using empty = session.fork();
      feed(session, [1, 2, 3]);
      using prompt = session.snapshot();
      using early = session.fork();
      feed(session, [4]);
      using late = session.snapshot();
      using fork = session.fork();
      using second = fork.fork();
      // Steps and whole calls, of each before and after the others.
      expect(feed(fork, [5])).to.deep.equal(alone([1, 2, 3], [4], [5]));
      expect(feed(session, [6])).to.deep.equal(alone([1, 2, 3], [4], [6]));
      expect(feed(second, [7, 8])).to.deep.equal(alone([1, 2, 3], [4], [7, 8]));
      expect(feed(second, [9])).to.deep.equal(alone([1, 2, 3], [4], [7, 8], [9]));
      expect(feed(early, [10])).to.deep.equal(alone([1, 2, 3], [10]));
      expect(feed(empty, [11])).to.deep.equal(alone([11]));
      for (const id of [12, 13]) {
        session.restore(late);
        expect(feed(session, [id])).to.deep.equal(alone([1, 2, 3], [4], [id]));
        session.restore(prompt);
        expect(feed(session, [id])).to.deep.equal(alone([1, 2, 3], [id]));
      }
      model.dispose();
    });
  }

  it(`a state of 8 MB on ${device} is copied by the first step behind a snapshot or a fork, and by no other`, () => {
    const model = bigState(device, 2 ** 21);
    using session = new fw.Session(model);
    feed(session, [1]);
    const before = bytesInUse();
    const snapshot = session.snapshot();
    const fork = session.fork();
    expect(bytesInUse()).to.equal(before);
    expect(snapshot.bytes).to.equal(4 * 2 ** 21 + 4 * model.vocabSize);
    expect(feed(fork, [2])).to.deep.equal(Array(8).fill(3));
    expect(bytesInUse() - before).to.be.within(2 ** 23, 2 ** 23 + 64);
    expect(feed(fork, [2])).to.deep.equal(Array(8).fill(5));
    expect(bytesInUse() - before).to.be.within(2 ** 23, 2 ** 23 + 64);
    snapshot.dispose();
    // Nobody else holds it any more.
    expect(feed(session, [3])).to.deep.equal(Array(8).fill(4));
    expect(bytesInUse() - before).to.be.within(2 ** 23, 2 ** 23 + 64);
    fork.dispose();
    expect(bytesInUse()).to.equal(before);
  });

  it(`what changes a snapshot's tensors on ${device} changes nothing else, before and after`, () => {
    const model = bigState(device, 8);
    using session = new fw.Session(model);
    feed(session, [1]);
    using snapshot = session.snapshot();
    const { sums } = snapshot.state as { sums: fw.Tensor };
    const change = (): unknown => fw.noGrad(() => sums.add_(10));
    change();
    using restored = new fw.Session(model);
    restored.restore(snapshot);
    change();
    expect(feed(session, [1])).to.deep.equal(Array(8).fill(2));
    expect(feed(restored, [1])).to.deep.equal(Array(8).fill(12));
    restored.restore(snapshot);
    expect(feed(restored, [1])).to.deep.equal(Array(8).fill(22));
  });
}

it('the size of a snapshot counts the ids that a history keeps', () => {
  const model = bigState('js', 8);
  using session = new fw.Session(model, { history: true });
  feed(session, [1, 1, 1]);
  using snapshot = session.snapshot();
  expect(snapshot.bytes).to.equal(4 * 8 + 4 * model.vocabSize + 4 * 3);
});
