// Conversations: what belongs to them, one thing at a time, how they end, and that they let others have their turn.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError, expectRejection } from '../support/errors';
import { collectGarbage } from '../support/garbage';

const VOCABULARY = 17;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 2, numHeads: 2, initializerRange: 0.4 };

async function ids(tokens: AsyncIterable<fw.GeneratedToken>, most = Infinity): Promise<number[]> {
  const found: number[] = [];
  for await (const { id } of tokens) {
    found.push(id);
    if (found.length >= most) break;
  }
  return found;
}

const read = (logits: fw.Tensor): number[] => {
  const values = Array.from(logits.dataSync());
  logits.dispose();
  return values;
};

/** Turns of the event loop that others had while `work` ran. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let done = false;
  const count = (): void => {
    turns++;
    if (!done) setImmediate(count);
  };
  setImmediate(count);
  try {
    await work();
  } finally {
    done = true;
  }
  return turns;
}

/** Work that takes so many milliseconds of this thread, so that what runs beside it must rest. */
function occupy(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** Calls `action` with the number of each stage of the model's work from now on, and how many tokens it reads. */
function atStages(model: fw.models.CausalLM, action: (stage: number, tokens: number) => void): void {
  const stages = fw.models.CausalLM.prototype.stages.bind(model);
  let count = 0;
  model.stages = function* (given, state) {
    const work = stages(given, state);
    for (let next = work.next(); ; next = work.next()) {
      action(++count, given.size);
      if (next.done) return next.value;
      yield next.value;
    }
  };
}

for (const device of available) {
  describe(`a conversation on ${device}`, () => {
    let model: fw.models.CausalLM;
    let greedy: number[];
    before(async () => {
      fw.manualSeed(6);
      model = fw.createModel('deltanet', { ...sizes, device });
      greedy = await ids(model.generate([1, 2, 3], { maxNewTokens: 8 }));
    });
    after(() => model.dispose());

    it('the token yielded last belongs to it, however the generation ended', async () => {
      const stopped = new AbortController();
      const ends: Record<string, (session: fw.Session) => Promise<unknown>> = {
        'as many as asked for': (session) => ids(session.generate([1, 2, 3], { maxNewTokens: 4 })),
        break: (session) => ids(session.generate([1, 2, 3]), 4),
        'a stop token': async (session) => {
          const free = new Set(greedy.slice(0, 3));
          const stopTokens = Array.from({ length: VOCABULARY }, (_, i) => i).filter((i) => !free.has(i));
          return ids(session.generate([1, 2, 3], { maxNewTokens: 8, stopTokens }), 4);
        },
        'an abort': async (session) => {
          let count = 0;
          const generation = session.generate([1, 2, 3], { signal: stopped.signal });
          const all = (async () => {
            for await (const _ of generation) if (++count === 4) stopped.abort();
          })();
          await expectRejection('ABORTED', /generate: aborted/, all);
        },
      };
      const whole = model.createSession();
      read(whole.feed([1, 2, 3]));
      for (const id of greedy.slice(0, 4)) read(whole.feed([id]));
      const expected = read(whole.feed([9, 10]));
      for (const [end, run] of Object.entries(ends)) {
        using session = model.createSession({ history: true });
        await run(session);
        expect(session.length, end).to.equal(7);
        using snapshot = session.snapshot();
        using fork = session.fork();
        expect([snapshot.length, fork.length], end).to.eql([7, 7]);
        using restored = model.createSession();
        restored.restore(snapshot);
        for (const each of [session, fork, restored]) {
          expect(read(each.feed([9, 10])), end).to.deep.equal(expected);
          expect(each.length).to.equal(9);
        }
        session.restore(snapshot);
        expect(await ids(session.generate([], { maxNewTokens: 4 })), end).to.deep.equal(greedy.slice(4));
        // The token yielded last goes first: 3 + 8, back by one, by three more.
        await session.rollback(1);
        await session.rollback(3);
        expect(session.length).to.equal(7);
        expect(read(session.feed([9, 10])), end).to.deep.equal(expected);
      }
      whole.dispose();
    });

    it('goes on with an empty prompt from wherever it is', async () => {
      const goesOn = async (what: string, session: fw.Session, from: number): Promise<void> => {
        using fork = session.fork();
        using restored = model.createSession();
        using snapshot = session.snapshot();
        restored.restore(snapshot);
        for (const each of [fork, restored, session]) {
          const found = await ids(each.generate([], { maxNewTokens: 3 }));
          expect(found, what).to.deep.equal(greedy.slice(from, from + 3));
          expect(each.length, what).to.equal(3 + from + 3);
        }
      };
      using aborted = model.createSession();
      const controller = new AbortController();
      const generation = aborted.generate([1, 2, 3], { signal: controller.signal });
      await generation.next();
      atStages(model, () => controller.abort());
      await expectRejection('ABORTED', /generate: aborted/, generation.next());
      atStages(model, () => undefined);
      await goesOn('aborted while a token was read', aborted, 1);
      using none = model.createSession();
      expect(await ids(none.generate([1, 2, 3], { maxNewTokens: 0 }))).to.deep.equal([]);
      await goesOn('no tokens', none, 0);
      using fed = model.createSession({ history: true });
      const logits = fed.feed([1, 2, 3]);
      fw.noGrad(() => logits.mul_(-1));
      logits.dispose();
      await goesOn('feed', fed, 0);
      await fed.rollback(1);
      await goesOn('the last token taken back', fed, 2);
      await fed.rollback(5);
      await goesOn('rollback', fed, 0);
      using readOn = model.createSession();
      (await readOn.read([1, 2, 3])).dispose();
      await goesOn('read', readOn, 0);
      await fed.rollback(6);
      expectError('INVALID_ARGUMENT', /at least one token/, () => fed.generate([]));
    });

    it('settles everything by the call', async () => {
      const draw = { maxNewTokens: 8, temperature: 2 };
      const begin = () => [model, model.createSession()].map((each) => each.generate([1, 2], draw));
      const [a, b] = [fw.withSeed(7, begin), fw.withSeed(7, begin)];
      for (const [i, tokens] of a.entries()) expect(await ids(tokens)).to.deep.equal(await ids(b[i]));
      await expectRejection('INVALID_ARGUMENT', /at least one token/, model.generate([]).next());
      await expectRejection('INVALID_ARGUMENT', /topP/, model.generate([1], { topP: 2 }).next());
      const options: fw.GenerateOptions = { maxNewTokens: 2 };
      const tokens = model.generate([1, 2, 3], options);
      options.maxNewTokens = 5;
      expect(await ids(tokens)).to.deep.equal(greedy.slice(0, 2));
    });

    it('takes back what one call read of many tokens, with turns and aborts between the halves of a layer', async () => {
      using session = model.createSession({ history: true });
      const long = Int32Array.from({ length: 4000 }, (_, i) => i % VOCABULARY);
      const expected = read(session.feed(long));
      read(session.feed([1]));
      for (const last of [2, 5]) {
        const controller = new AbortController();
        let stages = 0;
        atStages(model, (stage) => {
          stages = stage;
          if (stage === last) controller.abort();
        });
        await expectRejection('ABORTED', /rollback: aborted/, session.rollback(1, { signal: controller.signal }));
        expect([stages, session.length]).to.deep.equal([last, 4001]);
      }
      atStages(model, () => undefined);
      await session.rollback(1);
      using other = model.createSession();
      expect(read(other.feed(long))).to.deep.equal(expected);
      expect(read(session.feed([2]))).to.deep.equal(read(other.feed([2])));
    });

    it('is copied while a prompt is read, but not in the middle of a token', async () => {
      using session = model.createSession();
      const long = Int32Array.from({ length: 1500 }, (_, i) => i % VOCABULARY);
      const forks: fw.Session[] = [];
      const refused: unknown[] = [];
      atStages(model, (stage, tokens) => {
        if (stage % 5 !== 2) return;
        setImmediate(() => {
          try {
            forks.push(session.fork());
          } catch (error) {
            refused.push([tokens, (error as Error).message]);
          }
        });
        occupy(5);
      });
      const expected = read(await session.read(long));
      expect(refused).to.deep.equal([]);
      await ids(session.generate([], { maxNewTokens: 2 }));
      atStages(model, () => undefined);
      expect(forks.length).to.be.at.least(3);
      for (const fork of forks) {
        if (fork.length < 1500) expect(read(await fork.read(long.subarray(fork.length)))).to.deep.equal(expected);
        fork.dispose();
      }
      expect(refused).to.deep.equal([
        [1, 'fork: a token is being read, which changes the state in place; call again when it has been read'],
      ]);
    });

    it('one thing at a time: what would change a busy session is refused at once', async () => {
      using session = model.createSession({ history: true });
      using snapshot = session.snapshot();
      const early = session.generate([1]);
      const generation = session.generate([1, 2, 3], { maxNewTokens: 8 });
      expect((await generation.next()).value).to.have.property('id', greedy[0]);
      const busy = /session must be free.*generate is at work/;
      expectError('INVALID_ARGUMENT', busy, () => session.generate([1]));
      expectError('INVALID_ARGUMENT', busy, () => session.feed([1]));
      expectError('INVALID_ARGUMENT', busy, () => session.restore(snapshot));
      await expectRejection('INVALID_ARGUMENT', busy, session.read([1]));
      await expectRejection('INVALID_ARGUMENT', busy, session.rollback(1));
      await expectRejection('INVALID_ARGUMENT', busy, early.next());
      // Copies are made of what there is, and go their own way.
      using fork = session.fork();
      expect(await ids(fork.generate([], { maxNewTokens: 7 }))).to.deep.equal(greedy.slice(1));
      expect(await ids(generation)).to.deep.equal(greedy.slice(1));
      expect(session.length).to.equal(11);
      const reading = session.read([1, 2]);
      expectError('INVALID_ARGUMENT', /read is at work/, () => session.feed([1]));
      (await reading).dispose();
      const back = session.rollback(3);
      await expectRejection('INVALID_ARGUMENT', /rollback is at work/, session.read([1]));
      await back;
      expect(session.length).to.equal(10);
    });

    it('two on one model do not notice each other', async () => {
      const prompts = [
        [1, 2, 3],
        [4, 5],
        [6, 7, 8, 9],
      ];
      const alone: number[][] = [];
      for (const prompt of prompts) alone.push(await ids(model.generate(prompt, { maxNewTokens: 20 })));
      const together = prompts.map((prompt) => ids(model.generate(prompt, { maxNewTokens: 20 })));
      expect(await Promise.all(together)).to.deep.equal(alone);
    });

    it('keeps the settings that it began with', async () => {
      const wrong = fw.createModel('deltanet', { ...sizes, device });
      fw.noGrad(() => wrong.parameters()[0].mul_(NaN));
      // Checks of values refuse NaN in the inputs of a rule.
      const generations = [true, false].map((on) => {
        fw.setChecks(on);
        return wrong.generate([1, 2]);
      });
      fw.setChecks('values');
      const messages = await Promise.all(generations.map((each) => each.next().catch((error: Error) => error.message)));
      expect(messages[0]).to.match(/deltaRule: .* NaN/);
      expect(messages[1]).to.match(/the logits hold NaN/);
      wrong.dispose();
    });

    it('ends with a typed error when its session or its model is disposed', async () => {
      const session = model.createSession();
      const generation = session.generate([1, 2, 3]);
      await generation.next();
      session.dispose();
      await expectRejection('DISPOSED', /generate: the session was disposed/, generation.next());
      expectError('DISPOSED', /feed: the session was disposed/, () => session.feed([1]));
      const reading = model.createSession();
      const logits = reading.read(Int32Array.from({ length: 4000 }, (_, i) => i % VOCABULARY));
      reading.dispose();
      await expectRejection('DISPOSED', /read: the session was disposed/, logits);
      const other = fw.createModel('deltanet', { ...sizes, device });
      const cut = other.generate([1, 2, 3]);
      await cut.next();
      other.dispose();
      await expectRejection('DISPOSED', /was disposed/, cut.next());
    });

    it('others have their turn between tokens, in prompts and while it rolls back; all of it can be aborted', async () => {
      using session = model.createSession({ history: true });
      const tokens = ids(
        (async function* () {
          for await (const token of session.generate([1], { maxNewTokens: 20, stopTokens: [] })) {
            occupy(5);
            yield token;
          }
        })(),
      );
      expect(await turnsDuring(() => tokens)).to.be.at.least(15);
      const long = Int32Array.from({ length: 30000 }, (_, i) => i % VOCABULARY);
      expect(await turnsDuring(async () => (await session.read(long)).dispose())).to.be.at.least(5);
      const { length } = session;
      for (const call of [
        (signal: AbortSignal) => session.read(long, { signal }),
        (signal: AbortSignal) => session.rollback(1, { signal }),
        (signal: AbortSignal) => session.generate(long, { signal }).next(),
      ]) {
        const controller = new AbortController();
        const running = call(controller.signal);
        setImmediate(() => controller.abort(new Error('enough')));
        const error = await expectRejection('ABORTED', /: aborted$/, running);
        expect(error.cause).to.have.property('message', 'enough');
      }
      // An aborted rollback changes nothing; of aborted prompts what was read remains.
      expect(session.length)
        .to.be.at.least(length)
        .and.below(length + long.length);
      const before = session.length;
      expect(await turnsDuring(() => session.rollback(10))).to.be.at.least(5);
      expect(session.length).to.equal(before - 10);
    });
  });
}

describe('a conversation', () => {
  it('rests between the layers of one token on js, with the same bits', async () => {
    fw.manualSeed(7);
    const names = ['deltanet', 'transformer', 'lstm'] as const;
    for (const name of names) {
      const model = fw.createModel(name, { ...sizes, device: 'js' });
      // A thread that is busy all the time makes every stage rest.
      const stages = model.stages.bind(model);
      let rests = 0;
      model.stages = function* (given, state) {
        const work = stages(given, state);
        for (let next = work.next(); ; next = work.next()) {
          if (next.done) return next.value;
          occupy(5);
          rests++;
          yield next.value;
        }
      };
      using plain = model.createSession();
      const expected = [[5, 6], [1, 2, 3], [4]].map((ids) => read(plain.feed(ids))).slice(1);
      using session = model.createSession();
      read(await session.read([5, 6]));
      await collectGarbage();
      const bytes = fw.memory().devices.find(({ device }) => device === 'js')!.bytes;
      rests = 0;
      const turns = await turnsDuring(async () => {
        const found = [read(await session.read([1, 2, 3])), read(await session.read([4]))];
        expect(found).to.deep.equal(expected);
      });
      expect(turns).to.be.at.least(rests);
      if (name !== 'transformer') {
        expect(fw.memory().devices.find(({ device }) => device === 'js')!.bytes).to.equal(bytes);
      }
      model.dispose();
    }
  });

  it('that an error left in the middle of a token says so, until it is put right', async () => {
    const model = fw.createModel('deltanet', { ...sizes, device: 'js' });
    using session = model.createSession({ history: true });
    const expected = read(session.feed([1, 2, 3]));
    const stages = model.model.stepStages.bind(model.model);
    const failing: typeof stages = function* (given, state) {
      yield* stages(given, state);
      throw new RangeError('in the middle');
    };
    model.model.stepStages = failing;
    expect(() => session.feed([4])).to.throw(RangeError);
    expectError('INVALID_ARGUMENT', /an error came while a token was read/, () => session.feed([4]));
    expectError('INVALID_ARGUMENT', /an error came while a token was read/, () => session.snapshot());
    await expectRejection('INVALID_ARGUMENT', /an error came while a token was read/, session.generate([]).next());
    model.model.stepStages = stages;
    await session.rollback(1);
    expect(session.length).to.equal(2);
    expect(read(session.feed([3]))).to.have.length(expected.length);
    model.model.stepStages = failing;
    expect(() => session.feed([4])).to.throw(RangeError);
    model.model.stepStages = stages;
    await session.rollback(0);
    expect(session.length).to.equal(3);
    using other = model.createSession();
    read(other.feed([1, 2]));
    read(other.feed([3]));
    expect(read(session.feed([4]))).to.deep.equal(read(other.feed([4])));
    // A token of the model's own that could not be read is still one of the conversation.
    const [said] = await ids(session.generate([5], { maxNewTokens: 1 }));
    model.model.stepStages = failing;
    expect(() => session.feed([6])).to.throw(RangeError);
    model.model.stepStages = stages;
    await session.rollback(0);
    expect(session.length).to.equal(6);
    for (const id of [5, said]) read(other.feed([id]));
    expect(read(session.feed([6]))).to.deep.equal(read(other.feed([6])));
    model.dispose();
  });

  it('that an error in the parallel form leaves as it was', () => {
    const model = fw.createModel('deltanet', { ...sizes, device: 'js' });
    using session = model.createSession();
    read(session.feed([1, 2, 3]));
    atStages(model, (stage) => {
      if (stage === 3) throw new RangeError('in the middle');
    });
    expect(() => session.feed([4, 5])).to.throw(RangeError);
    expect(session.length).to.equal(3);
    using other = session.fork();
    expect(read(session.feed([4, 5]))).to.deep.equal(read(other.feed([4, 5])));
    model.dispose();
  });

  it('states that hold themselves are refused', () => {
    const state: { [name: string]: fw.State } = { memory: fw.ones([2]) };
    state.again = [state];
    for (const call of [fw.cloneState, fw.disposeState] as ((state: fw.State) => unknown)[]) {
      expectError('INVALID_ARGUMENT', /state must be nested at most 64 deep/, () => call(state));
    }
  });
});
