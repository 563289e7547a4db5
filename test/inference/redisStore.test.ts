// States in a real Redis: what the other stores do, and writers that exclude each other.
import { mkdirSync } from 'node:fs';
import { expect } from 'chai';
import * as fw from '../../lib';
import { temporaryFolder } from '../io/folder';
import { expectError, expectRejection } from '../support/errors';
import { hasRedis, RedisServer } from '../support/redis';

const sizes = { vocabSize: 23, hiddenSize: 16, numLayers: 1, numHeads: 2, initializerRange: 0.4 };

describe('RedisStore', function () {
  const inFolder = temporaryFolder();
  let server: RedisServer;
  let model: fw.models.CausalLM;
  let other: fw.models.CausalLM;
  let prefixes = 0;
  // Of the test's own, and as another process would make it.
  const storeOf = (options: fw.RedisStoreOptions = {}, of = model): fw.RedisStore =>
    new fw.RedisStore(server.client(), of, { prefix: `test ${prefixes}`, ...options });

  before(async function () {
    if (!hasRedis) this.skip();
    fw.manualSeed(8);
    model = fw.createModel('deltanet', sizes);
    other = fw.createModel('gla', sizes);
    mkdirSync(inFolder('redis'));
    server = new RedisServer(inFolder('redis'));
    await server.start();
  });
  beforeEach(() => prefixes++);
  after(async () => {
    [model, other].forEach((each) => each?.dispose());
    await server?.stop();
  });

  function behind(of: fw.models.CausalLM, ids: number[]): fw.Snapshot {
    using session = of.createSession();
    session.feed(ids).dispose();
    return session.snapshot();
  }
  /** The token that a greedy text goes on with, and its probability. */
  async function next(snapshot: fw.Snapshot): Promise<fw.GeneratedToken> {
    using session = model.createSession();
    session.restore(snapshot);
    for await (const token of session.generate([7], { maxNewTokens: 1 })) return token;
    throw new Error('no token');
  }
  async function stored(store: fw.StateStore, key: string): Promise<fw.GeneratedToken> {
    using snapshot = await store.get(key);
    return next(snapshot!);
  }

  it('keeps what it was given, by key, for every process', async () => {
    const [store, again] = [storeOf(), storeOf()];
    expect([await store.get('a'), await store.delete('a'), await store.keys()]).to.eql([null, false, []]);
    using one = behind(model, [1, 2]);
    using two = behind(model, [3]);
    await store.set('a', one);
    await store.set('A', two);
    expect(await stored(again, 'a')).to.eql(await next(one));
    expect(await stored(again, 'A')).to.eql(await next(two));
    expect(await again.keys()).to.eql(['A', 'a']);
    expect([await again.keys('a'), [...(await again.sizes('A')).keys()], await again.keys('*')]).to.eql([
      ['a'],
      ['A'],
      [],
    ]);
    expect([await again.has('a'), await again.has('b')]).to.eql([true, false]);
    expect((await again.sizes()).get('a')).to.equal((await one.toBytes()).length);
    await storeOf({ dtype: 'bfloat16' }).set('half', one);
    expect((await again.sizes()).get('half')).to.be.below((await again.sizes()).get('a')!);
    expect([await again.delete('a'), await store.delete('a'), await store.get('a')]).to.eql([true, false, null]);
  });

  it('does not see what other models and other prefixes keep', async () => {
    using snapshot = behind(model, [1]);
    using foreign = behind(other, [1]);
    const stores = [storeOf(), storeOf({}, other), storeOf({ prefix: `test ${prefixes}*[?]` })];
    await stores[0].set('a', snapshot);
    await stores[1].set('b', foreign);
    await stores[2].set('c', snapshot);
    expect(await Promise.all(stores.map((store) => store.keys()))).to.eql([['a'], ['b'], ['c']]);
    await expectRejection('INVALID_ARGUMENT', /snapshot must be of the model's family/, stores[0].set('a', foreign));
  });

  it('lists keys from its index, greatest first and page by page, whatever else is in Redis', async () => {
    const store = storeOf();
    using snapshot = behind(model, [1]);
    const { length } = await snapshot.toBytes();
    const keys = Array.from({ length: 25 }, (_, i) => `owner.sess_${String(i).padStart(2, '0')}`);
    for (const key of [...keys, 'other.sess_99', 'owner-2.x', 'owner.resp_1']) await store.set(key, snapshot);
    const client = server.client();
    const commands = async (): Promise<string> => client.info('commandstats');
    const before = await commands();
    const found: string[] = [];
    for (let last: string | undefined; ; last = found.at(-1)) {
      const page = await store.page({ prefix: 'owner.sess_', before: last, limit: 10 });
      for (const [key, bytes] of page) {
        expect(bytes).to.equal(length);
        found.push(key);
      }
      if (page.length < 10) break;
    }
    expect(found).to.eql([...keys].reverse());
    expect(await store.keys('owner.')).to.eql([...keys, 'owner.resp_1'].sort());
    expect(await store.page({ prefix: 'owner.sess_05', before: 'other.x' })).to.eql([]);
    expect(await store.page({ before: 'owner-2.y', limit: 1 })).to.eql([['owner-2.x', length]]);
    const calls = (of: string, command: string): string | undefined =>
      new RegExp(`${command}:calls=(\\d+)`).exec(of)?.[1];
    expect(calls(await commands(), 'cmdstat_scan')).to.equal(calls(before, 'cmdstat_scan'));
    await expectRejection('INVALID_ARGUMENT', /before must be/, store.page({ before: '*' }));
  });

  it('has in its index what is stored, also of writers that were refused, of what is deleted, and of what expires', async () => {
    const store = storeOf();
    using snapshot = behind(model, [1]);
    const stale = await store.claim('a');
    await store.claim('a');
    await expectRejection('INVALID_ARGUMENT', /claim/, store.set('a', snapshot, { claim: stale }));
    expect(await store.keys()).to.eql([]);
    await store.set('a', snapshot);
    await store.set('b', snapshot);
    await store.delete('a');
    expect(await store.keys()).to.eql(['b']);
    const client = server.client();
    const [index] = await client.keys(`test ${prefixes}:*:index`);
    const fleeting = storeOf({ expireSeconds: 1 });
    for (let i = 0; i < 20; i++) await fleeting.set(`x${i}`, snapshot);
    await new Promise((done) => setTimeout(done, 1300));
    expect(await client.zcard(index)).to.equal(21);
    // Each write looks at some; nobody lists them.
    for (let i = 0; i < 60; i++) await fleeting.set('y', snapshot);
    expect(await client.zcard(index)).to.be.below(8);
    expect(await store.page()).to.have.lengthOf(2);
    expect(await client.zcard(index)).to.equal(2);
  });

  it('refuses a writer whose key somebody else has claimed, set or deleted since', async () => {
    const [first, second] = [storeOf(), storeOf()];
    using one = behind(model, [1]);
    using two = behind(model, [2]);
    const stale = (work: Promise<unknown>): Promise<unknown> =>
      expectRejection('INVALID_ARGUMENT', /claim must be the last one of 'a'/, work);
    const early = await first.claim('a');
    await first.set('a', one, { claim: early });
    await first.set('a', one, { claim: early });
    const late = await second.claim('a');
    await stale(first.set('a', one, { claim: early }));
    await second.set('a', two, { claim: late });
    expect(await stored(first, 'a')).to.eql(await next(two));
    await first.set('a', one);
    await stale(second.set('a', two, { claim: late }));
    const last = await second.claim('a');
    await first.delete('a');
    await stale(second.set('a', two, { claim: last }));
    expect(await second.get('a')).to.equal(null);
    // Of many that claim at once one can write.
    const claims = await Promise.all(Array.from({ length: 20 }, () => storeOf().claim('a')));
    const written = await Promise.allSettled(claims.map((claim) => first.set('a', one, { claim })));
    expect(written.filter(({ status }) => status === 'fulfilled')).to.have.lengthOf(1);
    await expectRejection(
      'INVALID_ARGUMENT',
      /claim must be one of 'b', got one of 'a'/,
      first.set('b', one, { claim: last }),
    );
    for (const claim of [null, 5, {}, { key: 'a' }, { key: 'a', id: '' }] as never[]) {
      await expectRejection('INVALID_ARGUMENT', /claim must be one of 'a'/, first.set('a', one, { claim }));
    }
  });

  it('lets another process go on with a generation, token for token', async () => {
    const options = { maxNewTokens: 12, temperature: 1, seed: 5 };
    const whole: number[] = [];
    using session = model.createSession();
    for await (const { id } of session.generate([1, 2, 3], options)) whole.push(id);
    const [here, there] = [storeOf(), storeOf()];
    using begun = model.createSession();
    const claim = await here.claim('chat');
    const told: number[] = [];
    for await (const { id } of begun.generate([1, 2, 3], options)) {
      told.push(id);
      using snapshot = begun.snapshot();
      await here.set('chat', snapshot, { claim });
      if (told.length === 5) break;
    }
    await there.claim('chat');
    using found = (await there.get('chat'))!;
    using other = model.createSession();
    other.restore(found);
    for await (const { id } of other.generate([], { maxNewTokens: 7, temperature: 1, resume: true })) told.push(id);
    expect(told).to.eql(whole);
    using late = begun.snapshot();
    await expectRejection('INVALID_ARGUMENT', /claim/, here.set('chat', late, { claim }));
  });

  it('forgets what nobody asks for', async () => {
    const store = storeOf({ expireSeconds: 1 });
    using snapshot = behind(model, [1]);
    await store.set('a', snapshot);
    for (let i = 0; i < 3; i++) {
      await new Promise((done) => setTimeout(done, 600));
      (await store.get('a'))!.dispose();
    }
    await new Promise((done) => setTimeout(done, 1300));
    expect([await store.get('a'), await store.keys()]).to.eql([null, []]);
  });

  it('says what is wrong with bytes, clients and options', async () => {
    const store = storeOf();
    const client = server.client();
    using snapshot = behind(model, [1]);
    await store.set('a', snapshot);
    const [key] = await client.keys(`test ${prefixes}:*:state:a`);
    const whole = (await client.getBuffer(key))!;
    for (const damaged of [whole.subarray(0, 100), Buffer.alloc(0), Buffer.from(whole).fill(1, whole.length - 9)]) {
      await client.set(key, damaged);
      await expectRejection('FORMAT', /./, store.get('a'));
    }
    await client.del(key);
    await client.lpush(key, 'no string');
    await expectRejection('IO', /RedisStore.get: Redis: WRONGTYPE/, store.get('a'));
    for (const none of [null, {}, 'redis://localhost'] as never[]) {
      expectError('INVALID_ARGUMENT', /client must be/, () => new fw.RedisStore(none, model));
    }
    expectError('INVALID_ARGUMENT', /expireSeconds must be/, () => storeOf({ expireSeconds: 0 }));
    expectError('INVALID_ARGUMENT', /prefix must be/, () => storeOf({ prefix: 5 as never }));
    expectError('INVALID_ARGUMENT', /dtype must be/, () => storeOf({ dtype: 'x' as never }));
    await expectRejection('INVALID_ARGUMENT', /key must be/, store.claim('a b'));
    await expectRejection('INVALID_ARGUMENT', /bytes must be a Uint8Array/, fw.Snapshot.fromBytes('x' as never, model));
  });

  it('has what it acknowledged when Redis was killed, and says so while it is gone', async () => {
    const store = storeOf();
    const length = 6;
    let acknowledged = 0;
    for (let round = 0; round < 3; round++) {
      // Killed at any moment of a series of writes.
      let killed: Promise<void> | undefined;
      for (let i = 1; ; i++) {
        using snapshot = behind(
          model,
          Array.from({ length: i % length || length }, (_, t) => t),
        );
        try {
          await store.set('a', snapshot);
        } catch (error) {
          expect(error).to.be.instanceOf(fw.FastWeightsError).and.include({ code: 'IO' });
          break;
        }
        acknowledged = snapshot.length;
        killed ??= new Promise((done) => setTimeout(() => void server.kill().then(done), 37 * round));
      }
      await killed;
      await expectRejection('IO', /RedisStore.get: Redis: /, store.get('a'));
      await server.start();
      using found = (await storeOf().get('a'))!;
      // The last one may have arrived unacknowledged.
      expect(found.length).to.be.oneOf([acknowledged, (acknowledged % length) + 1]);
    }
  });
});
