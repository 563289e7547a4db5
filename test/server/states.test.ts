// Stored states of one model: memory as a cache of a folder, also while others write.
import { expect } from 'chai';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../lib';
import { States } from '../../lib/server/engine/states';

describe('server: memory and folder', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'fast-weights-states-'));
  let model: fw.models.CausalLM;
  before(() => {
    const sizes = { vocabSize: 16, hiddenSize: 8, numLayers: 1, numHeads: 1, device: 'js' as const };
    model = fw.createModel('deltanet', sizes);
  });
  after(() => {
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  });
  const behind = (...ids: number[]): fw.Snapshot => {
    using session = model.createSession();
    session.feed(ids).dispose();
    return session.snapshot();
  };
  const lengthOf = async (states: States, key: string): Promise<number> => {
    using snapshot = await states.get(key);
    return snapshot.length;
  };
  const open = (bytes = 1e6): States => new States(model, { bytes, folder, most: 100 });

  it('a reader never puts an older state in the place of a newer one', async () => {
    for (let i = 0; i < 20; i++) {
      const key = `owner.race${i}`;
      using older = behind(1);
      using newer = behind(1, 2);
      await open().set(key, older);
      const states = open();
      // Reads the file while another one takes its place.
      const reading = Promise.all([states.get(key), states.get(key)]);
      await states.set(key, newer);
      for (const snapshot of await reading) snapshot.dispose();
      expect(await lengthOf(states, key)).to.equal(2);
      const deleting = states.delete(key);
      await states
        .get(key)
        .then((snapshot) => snapshot.dispose())
        .catch(() => undefined);
      await deleting;
      expect(
        await states.get(key).then(
          () => 'there',
          (error: { code: string }) => error.code,
        ),
      ).to.equal('state_not_found');
      states.dispose();
    }
  });

  it('a state that is larger than all of memory is read from the folder each time', async () => {
    const states = open(10);
    using snapshot = behind(1, 2, 3);
    await states.set('owner.large', snapshot);
    expect((await states.stats).states).to.equal(0);
    expect(await lengthOf(states, 'owner.large')).to.equal(3);
    states.dispose();
  });

  it('counts what the folder has', async () => {
    const full = new States(model, { bytes: 1e6, folder, most: 1 });
    using snapshot = behind(1);
    const refused = await full.set('owner.more', snapshot).then(
      () => 'kept',
      (error: { code: string }) => error.code,
    );
    expect(refused).to.equal('too_many_states');
    await full.set('other.first', snapshot);
    await full.set('other.first', snapshot);
    full.dispose();
  });
});
