// Stored states of one model: memory as a cache of a folder, also while others write.
import { expect } from 'chai';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as fw from '../../lib';
import { FairMemory } from '../../lib/server/engine/fairMemory';
import { OwnerFolders } from '../../lib/server/engine/ownerFolders';
import { States } from '../../lib/server/engine/states';
import { Writers } from '../../lib/server/engine/writers';

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
    expect(states.stats.states).to.equal(0);
    expect(await lengthOf(states, 'owner.large')).to.equal(3);
    states.dispose();
  });

  it('looks at no files of others for those of one owner', async () => {
    const states = open();
    using snapshot = behind(1, 2, 3);
    await states.set('first.a', snapshot);
    await states.set('first.b', snapshot);
    await states.set('second.a', snapshot);
    expect(readdirSync(path.join(folder, 'first')).sort()).to.eql(
      ['a', 'b'].map((id) => `state-first.${id}.safetensors`),
    );
    expect((await open().keys()).filter((key) => key.startsWith('second'))).to.eql(['second.a']);
    const folders = new OwnerFolders(folder, model);
    const asked: string[] = [];
    const looks = folders as unknown as { of(owner: string): unknown };
    const of = looks.of.bind(folders);
    looks.of = (owner) => (asked.push(owner), of(owner));
    expect(await folders.keys('first.')).to.eql(['first.a', 'first.b']);
    expect([...(await folders.sizes('first.b')).keys()]).to.eql(['first.b']);
    expect(asked).to.eql(['first', 'first']);
    rmSync(path.join(folder, 'second'), { recursive: true });
    writeFileSync(path.join(folder, 'second'), 'no folder');
    expect([await open().has('first.a'), await open().has('first.c')]).to.eql([true, false]);
    expect((await open().keys()).filter((key) => !key.startsWith('owner.'))).to.eql(['first.a', 'first.b']);
    states.dispose();
  });

  it('memory: those of the owner go who has most', async () => {
    using snapshot = behind(1);
    const { bytes } = snapshot;
    const memory = new FairMemory(4 * bytes);
    for (const key of ['two.a', 'one.a', 'one.b', 'one.c']) await memory.set(key, snapshot);
    await memory.set('two.b', snapshot);
    expect(await memory.keys()).to.have.members(['one.b', 'one.c', 'two.a', 'two.b']);
    await memory.set('three.a', snapshot);
    await memory.set('three.b', snapshot);
    expect(await memory.keys('three.')).to.eql(['three.a', 'three.b']);
    expect([(await memory.keys()).length, memory.count, memory.bytes]).to.eql([4, 4, 4 * bytes]);
    const refused = await new FairMemory(bytes - 1)
      .set('one.a', snapshot)
      .catch((error: { code: string }) => error.code);
    expect(refused).to.equal('INVALID_ARGUMENT');
    memory.dispose();
    expect(memory.bytes).to.equal(0);
  });

  it('counts what the folder has', async () => {
    using snapshot = behind(1);
    const inMemory = new States(model, { bytes: 1e6, most: 2 });
    const kept: string[] = [];
    for (const key of ['a.1', 'a.2', 'a.1', 'a.3', 'b.1']) {
      await inMemory.set(key, snapshot).then(
        () => kept.push(key),
        (error: { code: string }) => expect(error.code).to.equal('too_many_states'),
      );
    }
    expect(kept).to.eql(['a.1', 'a.2', 'a.1', 'b.1']);
    inMemory.dispose();
    const full = new States(model, { bytes: 1e6, folder, most: 1 });
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

describe('server: writers of a state', () => {
  const busy = async (held: Promise<void>): Promise<string> =>
    held.then(
      () => 'held',
      (error: { code: string }) => error.code,
    );

  it('wait for one that was broken off, and for no other', async () => {
    const writers = new Writers();
    const [first, second] = [new AbortController(), new AbortController()];
    await writers.hold('a', first.signal);
    expect(await busy(writers.hold('a', second.signal))).to.equal('session_busy');
    const next = busy(writers.hold('a', second.signal));
    setTimeout(() => first.abort(), 50);
    setTimeout(() => writers.release('a'), 600);
    expect(await next).to.equal('held');
    await writers.hold('b', first.signal);
    const broken = busy(writers.hold('b', second.signal));
    setTimeout(() => second.abort(), 30);
    expect(await broken).to.equal('session_busy');
  });
});
