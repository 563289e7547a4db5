// Stores of states: one interface over memory and files, budgets, keys, damaged files.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import * as fw from '../../lib';
import { temporaryFolder } from '../io/folder';
import { expectError, expectRejection } from '../support/errors';

const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 1, numHeads: 2, initializerRange: 0.4 };
const bytesInUse = (): number => fw.memory().devices.reduce((sum, { bytes }) => sum + bytes, 0);

/** A snapshot behind some tokens. */
function behind(model: fw.models.CausalLM, ids: number[]): fw.Snapshot {
  using session = model.createSession();
  session.feed(ids).dispose();
  return session.snapshot();
}

/** The logits of one more token. */
function next(model: fw.models.CausalLM, snapshot: fw.Snapshot): number[] {
  using session = model.createSession();
  session.restore(snapshot);
  using logits = session.feed([7]);
  return Array.from(logits.dataSync());
}

for (const device of available) {
  describe(`stores of states on ${device}`, () => {
    const inFolder = temporaryFolder();
    let model: fw.models.CausalLM;
    let other: fw.models.CausalLM;
    before(() => {
      fw.manualSeed(8);
      model = fw.createModel('deltanet', { ...sizes, device });
      other = fw.createModel('gla', { ...sizes, device });
    });
    after(() => [model, other].forEach((each) => each.dispose()));

    const stores: Record<string, () => fw.StateStore> = {
      MemoryStore: () => new fw.MemoryStore({ maxBytes: 2 ** 20 }),
      FileStore: () => new fw.FileStore(inFolder('deep/er'), model),
    };
    for (const [name, make] of Object.entries(stores)) {
      it(`${name}: keeps what it was given, by key`, async () => {
        const store = make();
        expect([await store.get('a'), await store.delete('a'), await store.keys()]).to.eql([null, false, []]);
        const [one, two] = [[1, 2], [3]].map((ids) => behind(model, ids));
        const expected = [one, two].map((snapshot) => next(model, snapshot));
        await store.set('a', one);
        await store.set('A', two);
        one.dispose();
        two.dispose();
        const stored = async (key: string): Promise<number[]> => {
          using snapshot = await store.get(key);
          return next(model, snapshot!);
        };
        // Any number of times, each a snapshot of its own.
        for (let i = 0; i < 2; i++) expect([await stored('a'), await stored('A')]).to.deep.equal(expected);
        const bytes = await store.sizes();
        expect([...bytes.keys()]).to.deep.equal(await store.keys());
        expect([...bytes.keys()].sort()).to.deep.equal(['A', 'a']);
        for (const size of bytes.values()) expect(size).to.be.above(1000);
        using three = behind(model, [5]);
        await store.set('a', three);
        expect(await stored('a')).to.deep.equal(next(model, three));
        expect([await store.has('a'), await store.has('b'), await store.keys('a')]).to.eql([true, false, ['a']]);
        expect([...(await store.sizes('A')).keys()]).to.eql(['A']);
        for (const wrong of [5, null] as never[]) {
          await expectRejection('INVALID_ARGUMENT', /prefix must be/, store.keys(wrong));
          await expectRejection('INVALID_ARGUMENT', /prefix must be/, store.sizes(wrong));
        }
        await store.set('ab', three);
        const sizes = Object.fromEntries(await store.sizes());
        const page = (...keys: string[]): [string, number][] => keys.map((key) => [key, sizes[key]]);
        expect(await store.page()).to.eql(page('ab', 'a', 'A'));
        expect(await store.page({ limit: 2 })).to.eql(page('ab', 'a'));
        expect(await store.page({ limit: 2, before: 'a' })).to.eql(page('A'));
        expect(await store.page({ prefix: 'a', before: 'ab' })).to.eql(page('a'));
        for (const none of [{ prefix: 'b' }, { prefix: 'a', before: 'A' }, { before: 'A' }]) {
          expect(await store.page(none)).to.eql([]);
        }
        await expectRejection('INVALID_ARGUMENT', /limit must be/, store.page({ limit: 0 }));
        await expectRejection('INVALID_ARGUMENT', /before must be 1 to 100 letters/, store.page({ before: 'a b' }));
        await expectRejection('INVALID_ARGUMENT', /unknown option after/, store.page({ after: 'a' } as never));
        await store.delete('ab');
        expect([await store.delete('a'), await store.delete('a'), await store.keys()]).to.eql([true, false, ['A']]);
        expect(await store.get('a')).to.equal(null);
        await store.delete('A');
      });

      it(`${name}: refuses keys and snapshots that are none`, async () => {
        const store = make();
        using snapshot = behind(model, [1]);
        const wrong = ['', '../a', 'a/b', 'a\\b', 'a\0', 'é', 'a b', 'x'.repeat(101), 5, null, undefined] as string[];
        for (const key of wrong) {
          for (const call of [
            () => store.get(key),
            () => store.set(key, snapshot),
            () => store.delete(key),
            () => store.has(key),
          ]) {
            await expectRejection('INVALID_ARGUMENT', /key must be 1 to 100 letters/, call());
          }
        }
        // Dots are letters like others.
        for (const key of ['..', '.', 'con', 'x'.repeat(100), 'X'.repeat(100)]) {
          await store.set(key, snapshot);
          (await store.get(key))!.dispose();
          expect(await store.keys()).to.eql([key]);
          await store.delete(key);
        }
        for (const none of [null, {}, 'a'] as never[]) {
          await expectRejection('INVALID_ARGUMENT', /snapshot must be/, store.set('a', none));
        }
        const gone = behind(model, [1]);
        gone.dispose();
        await expectRejection('DISPOSED', /./, store.set('a', gone));
        expect(await store.keys()).to.eql([]);
      });
    }

    it('in memory: the least recently used go where the budget ends, and nothing is left of them', async () => {
      const snapshots = [1, 2, 3, 4].map((id) => behind(model, [id]));
      const before = bytesInUse();
      const { bytes } = snapshots[0];
      const store = new fw.MemoryStore({ maxBytes: 3 * bytes });
      for (const i of [0, 1, 2]) await store.set(`${i}`, snapshots[i]);
      expect(bytesInUse()).to.equal(before);
      (await store.get('0'))!.dispose();
      await store.set('3', snapshots[3]);
      expect([await store.keys(), store.bytes]).to.eql([['2', '0', '3'], 3 * bytes]);
      // What is set again counts once.
      await store.set('2', snapshots[1]);
      expect([await store.keys(), store.bytes]).to.eql([['0', '3', '2'], 3 * bytes]);
      const small = new fw.MemoryStore({ maxBytes: bytes - 1 });
      await expectRejection('INVALID_ARGUMENT', /snapshot must be at most \d+ bytes/, small.set('a', snapshots[0]));
      snapshots.forEach((snapshot) => snapshot.dispose());
      expect(before - bytesInUse()).to.be.above(0);
      const held = bytesInUse();
      store.dispose();
      expect([held - bytesInUse(), store.bytes, await store.keys()]).to.eql([3 * bytes, 0, []]);
      for (const maxBytes of [0, -1, 1.5, '9', undefined] as number[]) {
        expectError('INVALID_ARGUMENT', /maxBytes must be/, () => new fw.MemoryStore({ maxBytes }));
      }
    });

    it('in files: read by another store, beside files of others, and refused where they are damaged', async () => {
      const folder = inFolder('files');
      mkdirSync(folder);
      for (const name of [
        'README',
        'state-.safetensors',
        'state-A.safetensors',
        'state-+1.safetensors',
        'x.safetensors',
      ]) {
        writeFileSync(`${folder}/${name}`, 'mine');
      }
      using snapshot = behind(model, [1, 2]);
      const store = new fw.FileStore(folder, model);
      await store.set('Visitor-7', snapshot);
      const again = new fw.FileStore(folder, model);
      expect(await again.keys()).to.eql(['Visitor-7']);
      using found = (await again.get('Visitor-7'))!;
      expect(next(model, found)).to.deep.equal(next(model, snapshot));
      const path = `${folder}/state-+visitor-7.safetensors`;
      expect((await again.sizes()).get('Visitor-7')).to.equal(readFileSync(path).length);
      await new fw.FileStore(folder, model, { dtype: 'bfloat16' }).set('half', snapshot);
      const bytes = await again.sizes();
      expect(bytes.get('half')).to.be.below(bytes.get('Visitor-7')!);
      // Nothing half written is left, and what is not the store's is as it was.
      expect(readdirSync(folder).length).to.equal(7);
      expect(readFileSync(`${folder}/state-A.safetensors`, 'utf8')).to.equal('mine');
      const whole = readFileSync(path);
      for (const damaged of [whole.subarray(0, 100), Buffer.alloc(0), Buffer.from(whole).fill(1, whole.length - 9)]) {
        writeFileSync(path, damaged);
        await expectRejection('FORMAT', /./, again.get('Visitor-7'));
      }
      await expectRejection('FORMAT', /model must be/, new fw.FileStore(folder, other).get('half'));
      using foreign = behind(other, [1]);
      await expectRejection('INVALID_ARGUMENT', /snapshot must be of the model's family/, store.set('a', foreign));
      expect(await store.delete('Visitor-7')).to.equal(true);
      expect(existsSync(path)).to.equal(false);
    });

    it('in files: read while others take the place', async () => {
      const store = new fw.FileStore(inFolder('replaced'), model);
      const snapshots = [behind(model, [1]), behind(model, [1, 2])];
      await store.set('a', snapshots[0]);
      let writing = true;
      const written = (async () => {
        for (let i = 0; i < 30; i++) await new fw.FileStore(inFolder('replaced'), model).set('a', snapshots[i % 2]);
        writing = false;
      })();
      while (writing) {
        const found = await Promise.all(Array.from({ length: 4 }, () => store.get('a')));
        for (const each of found) {
          expect(each!.length).to.be.oneOf([1, 2]);
          each!.dispose();
        }
      }
      await written;
      snapshots.forEach((snapshot) => snapshot.dispose());
    });

    it('in files: a folder that is none, and a model that has no identity', async () => {
      writeFileSync(inFolder('file'), '');
      const store = new fw.FileStore(inFolder('file'), model);
      using snapshot = behind(model, [1]);
      await expectRejection('IO', /./, store.set('a', snapshot));
      await expectRejection('IO', /./, store.keys());
      for (const folder of ['', 5, undefined] as string[]) {
        expectError('INVALID_ARGUMENT', /dir must be/, () => new fw.FileStore(folder, model));
      }
      expectError('INVALID_ARGUMENT', /model must be/, () => new fw.FileStore('a', {} as never));
      expectError('INVALID_ARGUMENT', /dtype must be/, () => new fw.FileStore('a', model, { dtype: 'x' as never }));
      const nameless: fw.RecurrentModel = {
        vocabSize: 3,
        device,
        stopTokens: [],
        initialState: () => null,
        prefill: never,
        step: never,
      };
      expectError('UNSUPPORTED', /no identity/, () => new fw.FileStore('a', nameless));
    });
  });
}

function never(): never {
  throw new Error('not called');
}
