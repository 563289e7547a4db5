// Single tokens of a generation whose calls are those of an earlier token: the same bits as without, and nothing is missed.
import { expect } from 'chai';
import * as fw from '../../lib';
import { getBackend, type Recording } from '../../lib/backends';
import type { Addon } from '../../lib/backends/native';
import type { RecurrentModel } from '../../lib/inference';
import { Repetition } from '../../lib/inference/repetition';
import { keepSettings } from '../../lib/ops';
import { expectRejection } from '../support/errors';
import { collectGarbage } from '../support/garbage';
import { countingRepeats, makeRepeating, RECORDING_DEVICE, REPEATING } from '../support/repeating';

const DEVICE = RECORDING_DEVICE;
const PLAN = { maxNewTokens: 12, stopTokens: [], temperature: 1, seed: 5 } as const;

/** Bytes that tensors have, and those that the device gave out. */
function native(): number[] {
  const { bytes } = fw.memory().devices.find(({ device }) => device === DEVICE)!;
  return [bytes, (getBackend(DEVICE!) as unknown as { addon: Addon }).addon.memoryUsage().live];
}

/** What a session answers next. */
const next = (session: fw.Session): ArrayLike<number> => fw.scope(() => session.feed([7]).dataSync());

/** A session that reads every token as the first of its kind. */
const anew = (model: fw.models.CausalLM, options: fw.SessionOptions = {}): fw.Session =>
  (Object.create(model, { repeatsSteps: { value: false } }) as typeof model).createSession(options);

/** The same tokens, read so. */
function fed(model: fw.models.CausalLM, ids: readonly number[]): fw.Session {
  const session = anew(model);
  session.feed([1, 2, 3]).dispose();
  for (const id of ids) session.feed([id]).dispose();
  return session;
}

async function write(
  session: fw.Session,
  then: (at: number) => unknown = () => {},
  maxNewTokens = PLAN.maxNewTokens as number,
): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of session.generate([1, 2, 3], { ...PLAN, maxNewTokens })) {
    ids.push(id);
    await then(ids.length);
  }
  return ids;
}

(DEVICE ? describe : describe.skip)(`tokens read by the calls of an earlier one, on ${DEVICE}`, () => {
  before(() => fw.setChecks(false));
  after(() => fw.setChecks('values'));

  /** Writes a text while something happens after its sixth token; it must be that of someone who reads every token anew. */
  async function same(
    model: fw.models.CausalLM,
    sixth: (session: fw.Session) => unknown = () => {},
    maxNewTokens?: number,
  ): Promise<number> {
    return countingRepeats(async (times) => {
      using session = model.createSession();
      const ids = await write(session, (at) => (at === 6 ? sixth(session) : undefined), maxNewTokens);
      const repeated = times();
      using other = fed(model, ids);
      expect(next(session)).to.deep.equal(next(other));
      return repeated;
    });
  }

  for (const { name } of fw.models.modelFamilies) {
    it(`${name}: the same bits${REPEATING.includes(name) ? ', most of them so' : ', each as always'}`, async () => {
      const model = makeRepeating(name);
      // The first is read after the prompt, a second and a third show that the state stays, two more how numbers grow.
      const least = REPEATING.includes(name) ? PLAN.maxNewTokens - 6 : 0;
      expect(await same(model)).to.be.within(least, least && PLAN.maxNewTokens);
      model.dispose();
    });
  }

  it('goes on with weights that change in place', async () => {
    const model = makeRepeating('deltanet');
    const found: number[] = [];
    using session = model.createSession();
    for await (const { logProbability } of session.generate([1, 2, 3], PLAN)) {
      found.push(logProbability);
      if (found.length === 6) fw.noGrad(() => model.lm_head.weight.mul_(0));
    }
    // The seventh was read before, or is read now.
    for (const value of found.slice(7)) expect(value).to.be.closeTo(-Math.log(model.vocabSize), 1e-5);
    expect(found[4]).not.to.be.closeTo(-Math.log(model.vocabSize), 1e-5);
    model.dispose();
  });

  it('notices weights that are gone', async () => {
    const model = makeRepeating('gated-deltanet');
    const quantized = makeRepeating('gated-deltanet');
    quantized.quantize('int8');
    const logits = async (change: () => void): Promise<number[]> => {
      using session = model.createSession();
      const plan = { ...PLAN, temperature: 0 };
      const found: number[] = [];
      for await (const { logProbability } of session.generate([1, 2, 3], plan)) {
        found.push(logProbability);
        if (found.length === 6) change();
      }
      return found;
    };
    const before = await logits(() => {});
    const after = await logits(() => model.quantize('int8'));
    expect(after.slice(0, 6)).to.deep.equal(before.slice(0, 6));
    expect(after[8]).not.to.equal(before[8]);
    expect(after[8]).to.be.closeTo(before[8], 0.2);
    model.dispose();
    quantized.dispose();
  });

  it('runs hooks that are set meanwhile', async () => {
    const model = makeRepeating('gla');
    let calls = 0;
    const text = write(model.createSession(), (at) => {
      if (at === 6) model.lm_head.registerForwardHook(() => void calls++);
    });
    await text;
    expect(calls).to.be.within(4, 7);
    model.dispose();
  });

  it('draws dropout anew', () => {
    const x = fw.ones([64], { device: DEVICE });
    for (const draw of [() => fw.dropout(x, 0.5), () => fw.randperm(8, { device: DEVICE })]) {
      const { recording } = getBackend(DEVICE!).record!(() => fw.scope(() => draw().dispose()));
      expect(recording === null).to.equal(true);
    }
    x.dispose();
    const model = makeRepeating('deltanet-2021', { dropout: 0.5 });
    expect([model.train().repeatsSteps, model.eval().repeatsSteps]).to.eql([false, true]);
    model.dispose();
  });

  it('counts tokens in the state', async () => {
    const model = makeRepeating('deltanet');
    using session = model.createSession();
    await write(session);
    next(session);
    using snapshot = session.snapshot();
    expect((snapshot.state as { position: number }[]).map(({ position }) => position)).to.eql([16, 16]);
    model.dispose();
  });

  describe('of caches that grow', () => {
    const longer = (ropeScaling: object): object => ({ maxPositionEmbeddings: 40, ropeScaling });
    const pairs = (each: number): number[] => new Array<number>(4).fill(each);
    // Of 89 tokens. Where the cache moves, and where other angles begin, four are read anew and one moves.
    const CASES: [name: string, family: fw.ModelName, sizes: object, least: number][] = [
      ['all of it', 'transformer', {}, 72],
      ['in several heads of few keys', 'transformer-fla', { numKvHeads: 1, qkNorm: true, qkvBias: true }, 72],
      ['a window', 'transformer-fla', { windowSize: 9 }, 60],
      ['a window of one token', 'transformer-fla', { windowSize: 1 }, 60],
      ['a latent vector', 'mla', {}, 72],
      ['one for half of the layers', 'yoco', {}, 72],
      ['beside a state', 'samba', {}, 60],
      [
        'angles of longer texts',
        'transformer',
        longer({
          ropeType: 'longrope',
          factor: 2,
          originalMaxPositionEmbeddings: 30,
          shortFactor: pairs(1),
          longFactor: pairs(3),
        }),
        60,
      ],
      ['angles by the length', 'transformer', longer({ ropeType: 'dynamic', factor: 2 }), 20],
    ];
    for (const [name, family, sizes, least] of CASES) {
      it(`${name}: the same bits`, async () => {
        const model = makeRepeating(family, sizes);
        expect(await same(model, () => {}, 90)).to.be.within(least, 88);
        model.dispose();
      });
    }

    it('go on behind a place to which the text was taken back', async () => {
      const model = makeRepeating('transformer');
      const said = async (): Promise<unknown> => {
        using session = model.createSession({ history: true });
        const found: unknown[] = [await write(session, undefined, 40)];
        for (const back of [30, 3, 20]) {
          await session.rollback(back);
          for await (const { id, logProbability } of session.generate([5], { ...PLAN, maxNewTokens: 30 })) {
            found.push([id, logProbability]);
          }
        }
        return [...found, Array.from(next(session))];
      };
      await countingRepeats(async (times) => {
        const found = await said();
        expect(times()).to.be.greaterThan(90);
        Object.defineProperty(model, 'repeatsSteps', { value: false, configurable: true });
        expect(found).to.eql(await said());
      });
      model.dispose();
    });
  });

  describe('steps', () => {
    const settings = keepSettings();
    const at = (...ids: number[]): Int32Array => Int32Array.from(ids);
    const fake = (more: object): RecurrentModel =>
      ({ device: DEVICE, repeatsSteps: true, ...more }) as unknown as RecurrentModel;
    const values = (t: fw.Tensor | null): number[] | null => t && Array.from(t.dataSync());

    it('are not made again where they change a number of the state', () => {
      const state = { sum: fw.zeros([1, 2], { device: DEVICE }), place: 0 };
      const step = (): fw.Tensor => {
        const { sum, place } = state;
        state.place = 1 - place;
        return sum.add_(place).clone();
      };
      const repetition = new Repetition(fake({ step }), 2);
      for (let i = 0; i < 12; i++) {
        const read = (): number[] => values(repetition.read(state, at(i), settings) ?? fw.noGrad(step))!;
        expect(fw.scope(read)).to.eql([(i + 1) >> 1, (i + 1) >> 1]);
      }
      repetition.dispose();
      state.sum.dispose();
    });

    it('are told apart by how many texts there are, and by the revision of the model', () => {
      const state = fw.zeros([2], { device: DEVICE });
      const model = fake({ step: (ids: fw.Tensor) => ids.to('float32').mul(2) });
      const repetition = new Repetition(model, 4);
      const read = (...ids: number[]): number[] | null =>
        fw.scope(() => values(repetition.read(state, at(...ids), settings)));
      const first = (...ids: number[]): unknown => [1, 2, 3, 4].map(() => read(...ids));
      expect(first(3, 4)).to.eql([null, null, [6, 8], [6, 8]]);
      expect(first(5)).to.eql([null, null, [10], [10]]);
      expect(read(1, 2)).to.eql([2, 4]);
      Object.assign(model, { revision: 1 });
      expect(first(7, 8)).to.eql([null, null, [14, 16], [14, 16]]);
      repetition.dispose();
      state.dispose();
    });
  });

  describe('in a session', () => {
    // The first one is looked at, a second and a third show that the state stays, and a fourth is recorded.
    const [TOKENS, BEFORE] = [12, 4];
    let model: fw.models.CausalLM;
    before(() => (model = makeRepeating('gated-deltanet')));
    after(() => model.dispose());

    /** Does the same in a session that repeats and in one that reads every token anew: how many were repeated. */
    const twice = (run: (session: fw.Session) => Promise<unknown>, options: fw.SessionOptions = {}): Promise<number> =>
      countingRepeats(async (times) => {
        using session = model.createSession(options);
        using other = anew(model, options);
        const found = await run(session);
        const repeated = times();
        expect(found).to.deep.equal(await run(other));
        expect(times()).to.equal(repeated);
        return repeated;
      });
    const feed = (session: fw.Session, ids: readonly number[]): number[] =>
      fw.scope(() => Array.from(session.feed(ids).dataSync()));
    const singly = (session: fw.Session, tokens = TOKENS): number[][] =>
      Array.from({ length: tokens }, (_, i) => feed(session, [i]));

    it('feed: of one text and of several', async () => {
      expect(await twice((session) => Promise.resolve(singly(session)))).to.equal(TOKENS - BEFORE);
      const columns = (session: fw.Session): number[][] =>
        Array.from({ length: TOKENS }, (_, i) => {
          const ids = fw.tensor([i, 7, (2 * i) % 23], { shape: [3, 1], dtype: 'int32', device: DEVICE });
          return fw.scope(() => Array.from(session.feed(ids).dataSync()));
        });
      const several = await twice((session) => Promise.resolve(columns(session)), { batch: 3 });
      expect(several).to.equal(TOKENS - BEFORE);
    });

    it('read of single tokens', async () => {
      const run = async (session: fw.Session): Promise<number[][]> => {
        const found: number[][] = [];
        for (let i = 0; i < TOKENS; i++) found.push(Array.from((await session.read([i])).dataSync()));
        return found;
      };
      expect(await twice(run)).to.equal(TOKENS - BEFORE);
    });

    it('what several tokens or a snapshot leave goes where the calls look for it', async () => {
      const run = async (session: fw.Session): Promise<unknown[]> => {
        const found: unknown[] = [singly(session)];
        const snapshot = session.snapshot();
        found.push(feed(session, [1, 2, 3, 4]), singly(session, BEFORE + 2));
        found.push(feed(session, [1, 2, 3, 4]), singly(session));
        session.restore(snapshot);
        found.push(singly(session));
        snapshot.dispose();
        return [...found, await write(session), await write(session)];
      };
      // The snapshot holds the state that the first ones were read into. The last token of a text is read by whatever comes next.
      const written = 2 * PLAN.maxNewTokens - 1;
      expect(await twice(run)).to.equal(TOKENS - BEFORE + 3 + 2 * TOKENS + written);
    });

    it('also with a window, and after what it takes back', async () => {
      const run = async (session: fw.Session): Promise<unknown[]> => {
        const found: unknown[] = [singly(session)];
        await session.rollback(5);
        found.push(session.length, singly(session, 8));
        await session.rollback(8);
        return [...found, session.length, singly(session)];
      };
      expect(await twice(run, { rollbackWindow: 8 })).to.equal(TOKENS - BEFORE + 8 + TOKENS);
    });

    it('with the weights that stand in the model, not those that stood there', async () => {
      const run = (session: fw.Session): Promise<number[][][]> => {
        const found = [singly(session)];
        const { weight } = model.lm_head;
        model.lm_head.weight = fw.nn.parameter(weight.detach().mul(2));
        found.push(singly(session, 1));
        model.lm_head.weight.dispose();
        model.lm_head.weight = weight;
        found.push(singly(session, 1));
        const { layers } = model.model as unknown as { layers: fw.nn.Module[] };
        const [layer] = layers;
        layers[0] = layers[1];
        found.push(singly(session, 1));
        layers[0] = layer;
        return Promise.resolve([...found, singly(session, 1)]);
      };
      const found = await twice(run);
      expect(found).to.equal(TOKENS - BEFORE);
    });

    it('guesses, as many at once as before', async () => {
      const speculate = { guesser: 'ngram', maxGuesses: 4 } as const;
      const plan = { ...PLAN, maxNewTokens: 80, temperature: 0.1, speculate };
      const prompt = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3];
      let told!: fw.SpeculationCounts;
      const run = async (session: fw.Session): Promise<unknown> => {
        const found: unknown[] = [];
        const logitProcessors: fw.LogitProcessor[] = [(logits, ids) => void (logits[ids[ids.length - 5]] += 9)];
        for await (const { speculation, ...token } of session.generate(prompt, { ...plan, logitProcessors })) {
          found.push(token);
          told = speculation!;
        }
        using snapshot = session.snapshot();
        const { position } = (snapshot.state as { position: number }[])[0];
        return [found, position, Array.from(session.unread), session.length];
      };
      const repeated = await twice(run);
      expect(told.reads).to.be.above(8);
      expect(repeated).to.be.within(told.reads / 3, told.reads);
    });

    it('several tokens behind a wrong guess, as so many before', async () => {
      const plan = { ...PLAN, maxNewTokens: 200, temperature: 0.1, speculate: { guesser: 'ngram' } } as const;
      // A period that breaks off again and again: guesses are tried, and wrong.
      const broken: fw.LogitProcessor = (logits, ids) => {
        logits[ids.length % 7 === 0 ? (ids.length * ids.length) % 23 : ids[ids.length - 5]] += 20;
      };
      let several = 0;
      const { verify } = Repetition.prototype;
      Repetition.prototype.verify = function (this: Repetition, state, ids, last, settings) {
        const read = verify.call(this, state, ids, last, settings);
        if (read && last === 1) several++;
        return read;
      };
      const run = async (session: fw.Session): Promise<unknown> => {
        const found: unknown[] = [];
        const tokens = session.generate([1, 2, 3, 4, 5, 1, 2, 3, 4, 5], { ...plan, logitProcessors: [broken] });
        for await (const { speculation: _, ...token } of tokens) found.push(token);
        return [found, session.length, Array.from(session.unread)];
      };
      try {
        await twice(run);
      } finally {
        Repetition.prototype.verify = verify;
      }
      expect(several).to.be.above(1);
    });

    it('those of a draft', async () => {
      const draft = makeRepeating('deltanet');
      const run = async (guesser: fw.models.CausalLM): Promise<[number, fw.SpeculationCounts]> =>
        countingRepeats(async (times) => {
          using session = anew(draft);
          const options = { ...PLAN, maxNewTokens: 40, temperature: 0, speculate: { guesser } };
          let counts!: fw.SpeculationCounts;
          for await (const { speculation } of session.generate([1, 2, 3], options)) counts = speculation!;
          return [times(), counts];
        });
      const [repeated, counts] = await run(draft);
      expect(repeated).to.be.above(counts.guessed / 2);
      const slow = Object.create(draft, { repeatsSteps: { value: false } }) as typeof draft;
      expect(await run(slow)).to.eql([0, counts]);
      draft.dispose();
    });

    it('those of texts that were read long ago are given back', async () => {
      await collectGarbage();
      const [before] = native().slice(1);
      const used = (): number => native()[1] - before;
      const sessions: fw.Session[] = [];
      const open = (count: number): void => {
        for (let i = 0; i < count; i++) singly(sessions[sessions.push(model.createSession()) - 1], BEFORE + 2);
      };
      const states = (): number =>
        sessions.reduce((sum, session) => {
          using snapshot = session.snapshot();
          return sum + snapshot.bytes;
        }, 0);
      open(16);
      const kept = used() - states();
      open(16);
      expect(used() - states()).to.be.closeTo(kept, kept / 4);
      for (const session of sessions) session.dispose();
    });
  });

  for (const family of ['kda', 'transformer'] as const) {
    it(`leaves forks and snapshots of the way as they were: ${family}`, async () => {
      const model = makeRepeating(family);
      const copies: fw.Session[] = [];
      const repeated = await same(model, (session) => {
        copies.push(session.fork(), model.createSession({ from: session.snapshot() }));
      });
      expect(repeated).to.be.within(2, 6);
      using session = model.createSession();
      const ids = await write(session);
      using other = fed(model, ids.slice(0, 6));
      const expected = next(other);
      for (const copy of copies) {
        expect(next(copy)).to.deep.equal(expected);
        copy.dispose();
      }
      model.dispose();
    });
  }

  for (const family of ['deltanet', 'transformer'] as const) {
    it(`gives all memory back: at the end, after an abort, and of what nobody reaches: ${family}`, async () => {
      const model = makeRepeating(family);
      const run = async (session: fw.Session, signal?: AbortSignal): Promise<void> => {
        for await (const _ of session.generate([1, 2, 3], { ...PLAN, signal }));
      };
      await run(model.createSession());
      await collectGarbage();
      const before = native();
      const session = model.createSession();
      await run(session);
      session.dispose();
      const controller = new AbortController();
      const broken = model.createSession();
      const endless = async (): Promise<void> => {
        for await (const _ of broken.generate([1, 2, 3], { ...PLAN, maxNewTokens: 1000, signal: controller.signal })) {
          if (broken.length === 12) controller.abort();
        }
      };
      await expectRejection('ABORTED', /aborted/, endless());
      broken.dispose();
      await (async () => {
        const lost = model.createSession().generate([1, 2, 3], { ...PLAN, maxNewTokens: 1000 });
        for (let i = 0; i < 9; i++) await lost.next();
      })();
      await collectGarbage();
      await collectGarbage();
      // What other tests left may be collected meanwhile.
      native().forEach((bytes, i) => expect(bytes).to.be.at.most(before[i]));
      model.dispose();
    });
  }

  describe('recordings', () => {
    const backend = DEVICE ? getBackend(DEVICE) : null!;
    const given = (): fw.Tensor => fw.tensor([1, 2, 3], { device: DEVICE }).persist();

    it('are of calls alone', () => {
      const x = given();
      const y = given();
      const record = (fn: () => unknown): Recording | null =>
        backend.record!(() => fw.scope(() => void fn())).recording;
      expect(record(() => x.dataSync())).to.equal(null);
      expect(record(() => y.dispose())).to.equal(null);
      expect(() => record(() => fw.matmul(x, x.reshape([1, 3])))).to.throw(fw.FastWeightsError);
      const recording = record(() => fw.noGrad(() => x.mul_(2)));
      recording!.again();
      expect(Array.from(x.dataSync())).to.eql([4, 8, 12]);
      expect(recording!.holds).to.equal(true);
      x.dispose();
      expect(recording!.holds).to.equal(false);
      recording!.dispose();
      expect(recording!.holds).to.equal(false);
    });

    it('are of the few numbers, too, that this thread writes to memory of theirs', () => {
      const x = given();
      const record = (fn: () => unknown): Recording | null =>
        backend.record!(() => fw.noGrad(() => fw.scope(() => void fn()))).recording;
      const recording = record(() => {
        x.add_(fw.tensor([1, 0.5, 2], { device: DEVICE }));
        x.add_(fw.tensor([-1, 0, 2 ** 20], { device: DEVICE, dtype: 'int32' }).to('float32'));
      });
      recording!.again();
      expect(Array.from(x.dataSync())).to.eql([1, 3, 7 + 2 ** 21]);
      recording!.dispose();
      const write = ({ storage }: fw.Tensor): void =>
        storage.memory.write(storage.handle, 0, new Float32Array(storage.length));
      const empty = (fn: () => unknown): boolean => record(fn) === null;
      expect(empty(() => write(x))).to.equal(true);
      expect(empty(() => write(fw.zeros([4096], { device: DEVICE })))).to.equal(false);
      expect(empty(() => write(fw.zeros([4097], { device: DEVICE })))).to.equal(true);
      expect(empty(() => fw.tensor([true], { device: DEVICE }))).to.equal(true);
      x.dispose();
    });

    it('know by how much their numbers grow from run to run', () => {
      const [x, y] = [1, 2].map(() => fw.zeros([8], { device: DEVICE }).persist());
      const { live } = (backend as unknown as { addon: Addon }).addon.memoryUsage();
      let at = 0;
      const record = (fn: () => unknown, before?: Recording): Recording | null =>
        backend.record!(() => fw.noGrad(() => fw.scope(() => void fn())), before).recording;
      const next = (before?: Recording, step = 1): Recording | null =>
        record(() => {
          x.slice(0, at, at + 1).copy_(fw.tensor([1], { device: DEVICE }).mul(fw.tensor([at], { device: DEVICE })));
          at += step;
        }, before);
      const first = next()!;
      const second = next(first)!;
      expect([first.holds, second.holds]).to.eql([false, true]);
      for (const runs of [1, 4, 2]) second.again(runs);
      expect(Array.from(x.dataSync())).to.eql([0, 1, 2, 3, 0, 5, 0, 0]);
      expect(() => second.again(7)).to.throw(/outside its block/);
      second.dispose();
      at = 0;
      const others: [() => unknown, () => unknown][] = [
        [() => x.add_(1), () => x.copy_(y)],
        [() => x.add_(1), () => x.add_(1.5)],
        [() => x.add_(1), () => y.add_(1)],
        [() => x.add_(1), () => x.dataSync()],
      ];
      for (const [before, now] of others) expect(record(now, record(before)!) === null).to.equal(true);
      expect((backend as unknown as { addon: Addon }).addon.memoryUsage().live).to.equal(live);
      for (const t of [x, y]) t.dispose();
    });

    it('share the memory between their calls with nobody', () => {
      const x = given();
      const { value, recording } = backend.record!(() => fw.scope(() => x.mul(2).add(1).mul(3)));
      const others = Array.from({ length: 8 }, () => fw.full([3], 7, { device: DEVICE }));
      fw.noGrad(() => x.add_(1));
      recording!.again();
      expect(Array.from(value.dataSync())).to.eql([15, 21, 27]);
      for (const other of others) expect(Array.from(other.dataSync())).to.eql([7, 7, 7]);
      value.dispose();
      others.push(...Array.from({ length: 8 }, () => fw.full([3], 7, { device: DEVICE })));
      recording!.again();
      for (const other of others) expect(Array.from(other.dataSync())).to.eql([7, 7, 7]);
      recording!.dispose();
      for (const t of [x, ...others]) t.dispose();
    });

    it('are lists of calls of which none is taken that does not end among their numbers', () => {
      const { addon } = backend as unknown as { addon: Addon };
      const nothing = new Float64Array(0);
      const keep = (kernels: number[], ends: number[], commands: number[], at: number[] = [], by = nothing): number =>
        addon.keepCalls(
          Int32Array.from(kernels),
          Int32Array.from(ends),
          Float64Array.from(commands),
          Int32Array.from(at),
          new Float64Array(at.length),
          by,
        );
      const eight = [0, 0, 0, 0, 0, 0, 0, 0];
      const none = keep([], [], []);
      addon.repeatCalls(none, 0);
      addon.forgetCalls(none);
      expect(() => addon.repeatCalls(none, 0)).to.throw(/no calls with this number/);
      for (const kernel of [-2, 9999]) expect(() => keep([kernel], [8], eight)).to.throw(/no such kernel/);
      for (const ends of [[9], [-1]]) expect(() => keep([0], ends, eight)).to.throw(/no such command/);
      expect(() => keep([0], [], eight)).to.throw(/an end for each call/);
      for (const at of [[-1], [8], [1, 0]]) {
        expect(() => keep([0], [8], eight, at, new Float64Array(at.length))).to.throw(/numbers that grow/);
      }
      expect(() => keep([0], [8], eight, [1])).to.throw(/numbers that grow/);
      const [whole, empty] = [new Int32Array(1), new Int32Array(0)];
      expect(() => addon.keepCalls(whole, whole, [] as never, empty, nothing, nothing)).to.throw(/typed array/);
      expect(() => addon.keepCalls(whole, whole, whole as never, empty, nothing, nothing)).to.throw(/another kind/);
      const run = (kernel: number, ...command: number[]): void => {
        const calls = keep([kernel], [command.length], command);
        try {
          addon.repeatCalls(calls, 0);
        } finally {
          addon.forgetCalls(calls);
        }
      };
      expect(() => run(0)).to.throw(/null/);
      expect(() => run(-1, 1, 2)).to.throw(/no such command/);
      const id = addon.allocate(8);
      run(-1, id, 0, 0, 1, 2);
      for (const command of [
        [0, 0, 0, 1],
        [NaN, 0, 0, 1],
        [id, -4, 0, 1],
        [id, 4, 1, 1, 2],
        [id, 0, 0, 2 ** 31],
      ]) {
        expect(() => run(-1, ...command), String(command)).to.throw(
          /no such command|no live block|leave a block|32 bits/,
        );
      }
      addon.free(id);
    });

    it('leave what they gave away to whoever has it', () => {
      const x = given();
      const { value, recording } = backend.record!(() => fw.scope(() => x.mul(2)));
      recording!.dispose();
      expect(Array.from(value.dataSync())).to.eql([2, 4, 6]);
      for (const t of [x, value]) t.dispose();
    });
  });
});
