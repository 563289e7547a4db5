// States of prompts' beginnings: the same bits with and without them, what is kept, and what is told.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { HostRandom } from '../../../lib/core';
import { Block } from '../../../lib/inference/prefix/tree';
import { withoutZeros } from '../../support/withoutZeros';

const VOCABULARY = 29;
const EVERY = 8;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);

function make(family: fw.ModelName, extra: Partial<fw.CreateOptions>, device?: fw.Device): fw.models.CausalLM {
  fw.manualSeed(7);
  const sizes = { vocabSize: VOCABULARY, hiddenSize: 24, numLayers: 2, numHeads: 2, intermediateSize: 32 };
  return withoutZeros(fw.createModel(family, { ...sizes, initializerRange: 0.2, device, ...extra })).eval();
}

const random = new HostRandom(3);
const text = (length: number): number[] => Array.from({ length }, () => random.below(VOCABULARY));

type Said = [id: number, logProbability: number][];

async function say(session: fw.Session, prompt: number[], options: fw.GenerateOptions = {}): Promise<Said> {
  const said: Said = [];
  for await (const { id, logProbability } of session.generate(prompt, {
    maxNewTokens: 4,
    stopTokens: [],
    ...options,
  })) {
    said.push([id, logProbability]);
  }
  return said;
}

const VARIANTS: [title: string, family: fw.ModelName, extra: Partial<fw.CreateOptions>][] = [
  ...(['deltanet', 'gla', 'rwkv7', 'mamba2', 'ttt-linear', 'hqlt', 'transformer', 'lstm'] as const).map(
    (name): (typeof VARIANTS)[number] => [name, name, {}],
  ),
  ['a hybrid with a window', 'gated-deltanet', { attn: { layers: [1], num_heads: 2, window_size: 5 } }],
  ['kimi-linear', 'kimi-linear', {}],
];

for (const device of available) {
  describe(`the same bits with a prefix cache as without on ${device}`, () => {
    for (const [title, family, extra] of VARIANTS) {
      it(title, async () => {
        const model = make(family, extra, device);
        const [system, question] = [text(19), text(9)];
        const prompts = [
          [...system, ...question],
          [...system, ...text(12)],
          [...system, ...text(5)],
          [...system, ...question],
          [...system, ...question, ...text(6)],
        ];
        using none = new fw.PrefixCache(model, { maxBytes: 0, every: EVERY });
        using cache = new fw.PrefixCache(model, { maxBytes: 1e7, every: EVERY });
        using batch = new fw.BatchedModel(model);
        const reused: number[] = [];
        for (const prompt of prompts) {
          const sessions = [
            model.createSession({ prefixCache: none }),
            model.createSession({ prefixCache: cache }),
            batch.createSession({ prefixCache: cache }),
          ];
          const said: Said[] = [];
          for (const session of sessions) said.push(await say(session, prompt));
          expect(said[1]).to.eql(said[0]);
          expect(said[2]).to.eql(said[0]);
          reused.push(sessions[1].prefix!.reusedTokens);
          expect(sessions[0].prefix!.reusedTokens).to.equal(0);
          for (const session of sessions) session.dispose();
        }
        expect(reused).to.eql([0, 0, 16, 24, 24]);
        expect(none.numbers.states).to.equal(0);
        model.dispose();
      });
    }
  });
}

describe('PrefixCache', () => {
  let model: fw.models.CausalLM;
  before(() => {
    model = make('gated-deltanet', {});
  });
  after(() => model.dispose());

  /** What a prompt has from the cache. */
  async function use(prefixCache: fw.PrefixCache, prompt: number[], options: fw.PromptOptions = {}, prefixOwner = '') {
    using session = model.createSession({ prefixCache, prefixOwner });
    (await session.read(prompt, options)).dispose();
    expect(session.length).to.equal(prompt.length);
    const { matchedTokens, reusedTokens, reason } = session.prefix!;
    return [matchedTokens, reusedTokens, reason];
  }

  it('tells what was reused, and why not more', async () => {
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const [system, first] = [text(40), text(24)];
    expect(await use(cache, system.slice(0, 7))).to.eql([0, 0, 'short']);
    expect(await use(cache, [...system, ...first])).to.eql([0, 0, 'unseen']);
    expect(await use(cache, [...system, ...first])).to.eql([64, 64, null]);
    expect(await use(cache, [...system, ...first, 1])).to.eql([64, 64, 'rest']);
    // Where it parts from the others nothing is kept as yet.
    expect(await use(cache, [...system, ...text(10)])).to.eql([40, 0, 'dropped']);
    expect(await use(cache, [...system, ...text(10)])).to.eql([40, 40, 'rest']);
    using session = model.createSession({ prefixCache: cache });
    expect(session.prefix).to.equal(null);
    session.feed([1]).dispose();
    (await session.read(system)).dispose();
    expect(session.prefix).to.eql({ promptTokens: 40, matchedTokens: 0, reusedTokens: 0, reason: 'begun' });
    const { prompts, hits, reusedTokens, promptTokens, states } = cache.numbers;
    expect({ prompts, hits, reusedTokens, promptTokens, states }).to.eql({
      prompts: 6,
      hits: 3,
      reusedTokens: 168,
      promptTokens: 7 + 64 + 64 + 65 + 50 + 50,
      states: 4,
    });
  });

  it('keeps the states before the ends of messages', async () => {
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const [system, user] = [text(21), text(20)];
    await use(cache, [...system, ...user], { messageEnds: [21, 41] });
    expect(await use(cache, [...system, ...text(9)])).to.eql([16, 16, 'rest']);
  });

  it('keeps apart what belongs to different owners', async () => {
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const prompt = text(20);
    await use(cache, prompt, {}, 'a');
    expect(await use(cache, prompt, {}, 'b')).to.eql([0, 0, 'unseen']);
    expect(await use(cache, prompt, {}, 'a')).to.eql([16, 16, 'rest']);
  });

  it('stays within its bytes, and keeps what is used', async () => {
    using probe = model.createSession();
    (await probe.read(text(8))).dispose();
    using snapshot = probe.snapshot();
    const before = bytes();
    const cache = new fw.PrefixCache(model, { maxBytes: 4.5 * snapshot.bytes, every: EVERY });
    const often = text(20);
    await use(cache, often);
    for (let i = 0; i < 12; i++) {
      await use(cache, text(20));
      expect(await use(cache, often)).to.eql([16, 16, 'rest']);
      expect(cache.numbers.bytes).to.be.at.most(4.5 * snapshot.bytes);
    }
    expect([cache.numbers.states, cache.numbers.dropped]).to.eql([4, 9]);
    cache.dispose();
    expect(bytes()).to.be.at.most(before);
  });

  it('keeps an equal share of the room for each owner, whatever the others ask', async () => {
    using probe = model.createSession();
    (await probe.read(text(8))).dispose();
    using snapshot = probe.snapshot();
    const before = bytes();
    // Four states; those of three owners have room for one each, and one more.
    const cache = new fw.PrefixCache(model, { maxBytes: 4.5 * snapshot.bytes, every: EVERY });
    const prompts = ['a', 'b'].map((owner) => [owner, text(20)] as const);
    for (const [owner, prompt] of prompts) await use(cache, prompt, {}, owner);
    for (let i = 0; i < 12; i++) await use(cache, text(20), {}, 'flood');
    for (const [owner, prompt] of prompts) expect(await use(cache, prompt, {}, owner)).to.eql([16, 16, 'rest']);
    expect(cache.numbers.states).to.equal(4);
    // Nor by what was often used.
    const often = text(20);
    for (let i = 0; i < 9; i++) await use(cache, often, {}, 'flood');
    const more = text(20);
    await use(cache, more, {}, 'a');
    expect(await use(cache, more, {}, 'a')).to.eql([16, 16, 'rest']);
    expect(await use(cache, often, {}, 'flood')).to.eql([16, 16, 'rest']);
    expect([cache.numbers.states, cache.numbers.bytes <= 4.5 * snapshot.bytes]).to.eql([4, true]);
    cache.dispose();
    expect([cache.numbers.states, cache.numbers.bytes]).to.eql([0, 0]);
    expect(bytes()).to.be.at.most(before);
  });

  it('keeps nothing of a prompt that was under way when everything was forgotten', async () => {
    const before = bytes();
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const prompt = text(1024);
    const session = model.createSession({ prefixCache: cache });
    const read = session.read(prompt);
    await new Promise((resolve) => setImmediate(resolve));
    cache.clear();
    (await read).dispose();
    session.dispose();
    expect(bytes()).to.be.at.most(before);
    expect(await use(cache, prompt.slice(0, 40))).to.eql([0, 0, 'unseen']);
  });

  it('forgets everything when weights change', async () => {
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const prompt = text(20);
    await use(cache, prompt);
    const weights = Object.fromEntries(
      Object.entries(model.stateDict()).map(([name, t]) => [name, t.clone()] as const),
    );
    model.loadStateDict(weights);
    expect(await use(cache, prompt)).to.eql([0, 0, 'unseen']);
  });

  it('takes back tokens that were not read', async () => {
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const prompt = text(21);
    await use(cache, prompt);
    using session = model.createSession({ prefixCache: cache, history: true });
    const said = await say(session, prompt);
    expect(session.prefix!.reusedTokens).to.equal(16);
    await session.rollback(4);
    expect(await say(session, [])).to.eql(said);
    await session.rollback(14);
    using other = model.createSession({ prefixCache: cache });
    const [left, right] = [await say(session, [3]), await say(other, [...prompt.slice(0, 11), 3])];
    left.forEach(([id, logProbability], i) => {
      expect(id).to.equal(right[i][0]);
      expect(logProbability).to.be.closeTo(right[i][1], 1e-4);
    });
  });

  it('leaves nothing of a prompt that was broken off', async () => {
    using cache = new fw.PrefixCache(model, { maxBytes: 1e6, every: EVERY });
    const prompt = text(400);
    const controller = new AbortController();
    using session = model.createSession({ prefixCache: cache });
    const read = session.read(prompt, { signal: controller.signal });
    controller.abort();
    await read.then(
      () => expect.fail('was read'),
      (error: fw.FastWeightsError) => expect(error.code).to.equal('ABORTED'),
    );
    expect(await use(cache, prompt)).to.eql([0, 0, 'unseen']);
  });

  it('compares ids, not only hashes', () => {
    // FNV-1a of two ids: the second makes up for the first.
    const [basis, prime] = [0x811c9dc5, 0x01000193];
    const b = Math.imul(basis ^ 1, prime) ^ Math.imul(basis ^ 2, prime) ^ 5;
    const root = new Block(null, new Int32Array(), 0);
    const [one, other] = [Int32Array.of(1, 5), Int32Array.of(2, b)];
    const block = root.reach(one);
    expect(root.find(other)).to.equal(undefined);
    expect(root.reach(other)).to.not.equal(block);
    expect(root.find(one)).to.equal(block);
    root.reach(other).prune();
    expect([root.find(one), root.find(other)]).to.eql([block, undefined]);
  });

  it('refuses options by name', () => {
    expect(() => new fw.PrefixCache(model, { maxBytes: -1 })).to.throw(/maxBytes must be/);
    expect(() => new fw.PrefixCache(model, { maxBytes: 1, every: 1 })).to.throw(/every must be/);
    using cache = new fw.PrefixCache(model, { maxBytes: 1 });
    const other = make('gla', {});
    expect(() => other.createSession({ prefixCache: cache })).to.throw(
      /prefixCache must be a PrefixCache of this model/,
    );
    expect(() => model.createSession({ prefixCache: cache, batch: 2 })).to.throw(/left out with several sequences/);
    const session = model.createSession({ prefixCache: cache });
    expect(() => session.generate([1], { messageEnds: [2] })).to.throw(/messageEnds\[0\] must be/);
    session.dispose();
    other.dispose();
  });
});
