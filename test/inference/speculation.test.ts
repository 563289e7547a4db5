// `generate` with `speculate`: the text is that of the plain loop, whoever guesses and whatever is asked for beside.
import { expect } from 'chai';
import * as fw from '../../lib';
import { ngramGuess } from '../../lib/inference/speculation/ngram';
import { Rate } from '../../lib/inference/speculation/pace';
import { decodeSafetensors } from '../../lib/io';
import { expectError, expectRejection } from '../support/errors';

const VOCABULARY = 13;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const sizes = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16 };
const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);

async function take(tokens: AsyncIterable<fw.GeneratedToken>, most = Infinity): Promise<fw.GeneratedToken[]> {
  const all: fw.GeneratedToken[] = [];
  for await (const token of tokens) if (all.push(token) === most) break;
  return all;
}
const idsOf = (tokens: readonly fw.GeneratedToken[]): number[] => tokens.map(({ id }) => id);
const countsOf = (tokens: readonly fw.GeneratedToken[]): fw.SpeculationCounts => tokens.at(-1)!.speculation!;

/** The tokens that a session has said and not read. */
async function unreadOf(session: fw.Session): Promise<string[]> {
  using snapshot = session.snapshot();
  const { metadata } = await decodeSafetensors(await snapshot.toBytes(), 'a snapshot');
  return metadata.said === '' ? [] : metadata.said.split(' ');
}

function make(family: fw.models.ModelName, seed: number, device: fw.Device): fw.models.CausalLM {
  fw.manualSeed(seed);
  return fw.createModel(family, { ...sizes, initializerRange: 0.4, device });
}

/**
 * A draft that knows the text, of whose tokens it says another one in place of each `wrong`th, and of all from where what it
 * has read is not the text.
 */
function parrot(text: readonly number[], wrong = Infinity, device: fw.Device = 'js'): fw.RecurrentModel {
  type Place = { position: number; lost: number };
  const read = ({ position, lost }: Place, ids: fw.Tensor): Place => {
    const same = Array.from(ids.dataSync()).every((id, i) => id === text[position + i]);
    return { position: position + ids.size, lost: lost || Number(!same) };
  };
  const logits = ({ position, lost }: Place): fw.Tensor => {
    const row = new Array<number>(VOCABULARY).fill(0);
    const next = text[position] ?? 0;
    row[lost || (position + 1) % wrong === 0 ? (next + 1) % VOCABULARY : next] = 9;
    return fw.tensor([row], { device });
  };
  return {
    vocabSize: VOCABULARY,
    device,
    stopTokens: [],
    initialState: () => ({ position: 0, lost: 0 }),
    prefill: (ids, state) => {
      const after = read(state as Place, ids);
      return { logits: logits(after), state: after };
    },
    step: (ids, state) => logits(Object.assign(state as Place, read(state as Place, ids))),
  };
}

for (const device of available) {
  describe(`speculation on ${device}`, () => {
    const families = ['deltanet', 'gated-deltanet', 'gla', 'rwkv7', 'mamba2', 'lstm', 'llama'] as const;
    const prompt = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3];
    const options = { maxNewTokens: 40, stopTokens: [] };
    const fewer = { ...options, maxNewTokens: 20 };
    let model: fw.models.CausalLM;
    let other: fw.models.CausalLM;
    before(() => {
      model = make('deltanet', 6, device);
      other = make('deltanet', 7, device);
    });
    after(() => {
      model.dispose();
      other.dispose();
    });

    for (const family of families) {
      it(`says what ${family} says alone`, async () => {
        const each = make(family, 5, device);
        const draft = make(family, 8, device);
        const plain = await take(each.generate(prompt, fewer));
        const text = [...prompt, ...idsOf(plain)];
        const guessers: Record<string, fw.SpeculateOptions['guesser']> = {
          ngram: 'ngram',
          ...(family === 'deltanet' && {
            'another model': draft,
            'the model itself': each,
            'always wrong': parrot(text, 1),
          }),
          'right but for every third': parrot(text, 3),
        };
        for (const [name, guesser] of Object.entries(guessers)) {
          const found = await take(each.generate(prompt, { ...fewer, speculate: { guesser } }));
          expect(idsOf(found), name).to.deep.equal(idsOf(plain));
          found.forEach(({ logProbability }, i) => {
            expect(logProbability).to.be.closeTo(plain[i].logProbability, 1e-3);
          });
          const { guessed, accepted, reads } = countsOf(found);
          if (name === 'the model itself') {
            expect(accepted).to.equal(guessed);
            expect(reads).to.be.at.most(5);
          } else if (name === 'always wrong') expect(accepted).to.equal(0);
          if (name === 'right but for every third') expect(accepted).to.be.within(1, guessed - 1);
          expect(guessed).to.be.at.least(accepted);
        }
        each.dispose();
        draft.dispose();
      });
    }

    it('reads few times where the text repeats itself, and gives up where guesses are wrong', async () => {
      const plain = idsOf(await take(model.generate(prompt, options)));
      let calls = 0;
      const stages = fw.models.CausalLM.prototype.verifyStages.bind(model);
      model.verifyStages = (...given) => {
        calls++;
        return stages(...given);
      };
      const right = await take(
        model.generate(prompt, { ...options, speculate: { guesser: parrot([...prompt, ...plain]) } }),
      );
      expect(countsOf(right).reads).to.equal(calls);
      expect(calls).to.be.at.most(6);
      calls = 0;
      const wrong = { guesser: parrot([...prompt, ...plain], 1) };
      const given = await take(model.generate(prompt, { ...options, maxNewTokens: 40, speculate: wrong }));
      expect(idsOf(given)).to.deep.equal(plain);
      expect(calls).to.be.within(1, 8);
      model.verifyStages = stages;
    });

    const forbidden: fw.LogitProcessor = (logits, ids) => (logits[ids[ids.length - 2]] = -Infinity);
    const samplings: Record<string, fw.GenerateOptions> = {
      drawn: { temperature: 1, seed: 3 },
      filtered: { temperature: 1.5, topK: 5, topP: 0.9, minP: 0.01, seed: 4 },
      penalised: { temperature: 0.7, seed: 5, repetitionPenalty: 1.3, presencePenalty: 0.2, frequencyPenalty: 0.4 },
      processed: { logitProcessors: [forbidden], logitBias: { 3: -1 } },
      'with their probabilities': { topLogprobs: 3 },
    };
    for (const [name, sampling] of Object.entries(samplings)) {
      it(`tokens that are ${name}`, async () => {
        const plain = await take(model.generate(prompt, { ...options, ...sampling }));
        const text = [...prompt, ...idsOf(plain)];
        for (const guesser of ['ngram', parrot(text, 4)] as const) {
          const found = await take(model.generate(prompt, { ...options, ...sampling, speculate: { guesser } }));
          expect(idsOf(found)).to.deep.equal(idsOf(plain));
          expect(found.map(({ topLogprobs = [] }) => topLogprobs.map(({ id }) => id))).to.deep.equal(
            plain.map(({ topLogprobs = [] }) => topLogprobs.map(({ id }) => id)),
          );
          const again = await take(model.generate(prompt, { ...options, ...sampling, speculate: { guesser } }));
          expect(again).to.deep.equal(found);
          if (guesser !== 'ngram') expect(countsOf(found).accepted).to.be.above(4);
        }
      });
    }

    it('several samples, each with its own counts', async () => {
      const several = { ...options, samples: 2, temperature: 1, seed: 9 };
      const plain = await take(model.generate(prompt, several));
      const draft = parrot([...prompt, ...idsOf(plain.slice(0, 40))]);
      const found = await take(model.generate(prompt, { ...several, speculate: { guesser: draft } }));
      expect(idsOf(found)).to.deep.equal(idsOf(plain));
      const [first, second] = [found[39], found[79]].map(({ speculation }) => speculation!);
      expect(first.accepted).to.equal(first.guessed);
      expect(second.accepted).to.be.below(second.guessed);
    });

    it('ends where the plain loop ends, and leaves the same conversation', async () => {
      const plain = await take(model.generate(prompt, options));
      const text = [...prompt, ...idsOf(plain)];
      const stop = text[prompt.length + 9];
      const first = idsOf(plain).indexOf(stop) + 1;
      const speculate = { guesser: parrot(text, 5) };
      const after = (session: fw.Session): number[] => Array.from(session.feed([7, 8]).dataSync());
      for (const most of [1, 2, 7, 12, first]) {
        using session = model.createSession();
        using expected = model.createSession();
        const ends = most === first ? { stopTokens: [stop] } : most === 12 ? { maxNewTokens: 12 } : {};
        const said = await take(
          session.generate(prompt, { ...options, ...ends, speculate }),
          most === 7 ? 7 : Infinity,
        );
        const length = most === 7 ? 7 : most === first ? first : most === 12 ? 12 : 40;
        expect(idsOf(said)).to.deep.equal(idsOf(plain).slice(0, length));
        expect(session.length).to.equal(prompt.length + length);
        expected.feed(text.slice(0, prompt.length + length)).dispose();
        const [found, wanted] = [after(session), after(expected)];
        found.forEach((x, i) => expect(x).to.be.closeTo(wanted[i], 1e-3));
      }
    });

    it('snapshots, forks and files at every token go on with it', async () => {
      const sampling = { temperature: 1, seed: 21 };
      const plain = idsOf(await take(model.generate(prompt, { ...options, ...sampling })));
      const text = [...prompt, ...plain];
      using session = model.createSession({ history: true });
      const speculate = { guesser: parrot(text, 3) };
      let count = 0;
      let most = 0;
      for await (const _ of session.generate(prompt, { ...options, ...sampling, speculate })) {
        count++;
        using snapshot = session.snapshot();
        using fork = session.fork();
        expect([session.length, snapshot.length, fork.length]).to.eql(new Array(3).fill(prompt.length + count));
        const file = await snapshot.toBytes();
        most = Math.max(most, (await unreadOf(session)).length);
        using loaded = await fw.Snapshot.fromBytes(file, model);
        using restored = model.createSession();
        restored.restore(loaded);
        for (const each of [fork, restored]) {
          const rest = { temperature: 1, stopTokens: [], resume: true, maxNewTokens: 5 };
          const more = await take(each.generate([], count % 2 === 0 ? rest : { ...rest, speculate }));
          expect(idsOf(more), `after ${count}`).to.deep.equal(plain.slice(count, count + 5));
        }
        if (count === 30) break;
      }
      // Some of them lay between two states.
      expect(most).to.be.above(2);
    });

    it('a draft forgets what it guessed wrong', async () => {
      const plain = idsOf(await take(model.generate(prompt, options)));
      const speculate = { guesser: parrot([...prompt, ...plain], 6) };
      const { guessed, accepted } = countsOf(await take(model.generate(prompt, { ...options, speculate })));
      expect(accepted).to.be.above(20);
      expect(guessed).to.be.above(accepted);
    });

    it('takes tokens back, read or unread, within a window or with a history', async () => {
      const plain = idsOf(await take(model.generate(prompt, options)));
      const text = [...prompt, ...plain];
      const left = new Set<number>();
      for (const count of [6, 7, 8, 9, 10, 11]) {
        for (const n of [1, 3]) {
          using session = model.createSession({ history: true });
          await take(session.generate(prompt, { ...options, speculate: { guesser: parrot(text, 6) } }), count);
          await session.rollback(n);
          expect(session.length).to.equal(prompt.length + count - n);
          left.add((await unreadOf(session)).length);
          const more = await take(
            session.generate([], { ...options, maxNewTokens: n, speculate: { guesser: 'ngram' } }),
          );
          expect(idsOf(more)).to.deep.equal(plain.slice(count - n, count));
        }
      }
      expect(Math.max(...left)).to.be.above(0);
      // To the state before the first guesses, which were all right.
      using session = model.createSession({ rollbackWindow: 40 });
      await take(session.generate(prompt, { ...options, speculate: { guesser: parrot(text) } }));
      await session.rollback(40);
      expect(idsOf(await take(session.generate([], { ...options, maxNewTokens: 5 })))).to.deep.equal(plain.slice(0, 5));
    });

    it('goes on with what earlier calls said', async () => {
      const plain = idsOf(await take(model.generate(prompt, options)));
      const text = [...prompt, ...plain];
      for (const history of [true, false]) {
        using session = model.createSession({ history });
        await take(session.generate(prompt, { ...options, maxNewTokens: 15 }));
        const rest = await take(
          session.generate([], { ...options, maxNewTokens: 25, speculate: { guesser: parrot(text) } }),
        );
        expect(idsOf(rest)).to.deep.equal(plain.slice(15));
        expect(countsOf(rest).accepted).to.equal(countsOf(rest).guessed);
        expect(countsOf(rest).reads).to.be.at.most(5);
      }
    });

    it('leaves nothing behind, and the generator of manualSeed alone', async () => {
      const used = bytes();
      const draw = (): number[] => fw.scope(() => Array.from(fw.rand([3]).dataSync()));
      fw.manualSeed(1);
      const expected = draw();
      fw.manualSeed(1);
      const stopped = new AbortController();
      for (const guesser of ['ngram', other, model] as const) {
        using session = model.createSession();
        await take(session.generate(prompt, { ...options, seed: 1, speculate: { guesser } }), 11);
        await take(model.generate(prompt, { ...options, seed: 1, speculate: { guesser } }));
        const broken = session.generate([1], { ...options, seed: 1, signal: stopped.signal, speculate: { guesser } });
        await take(broken, 5);
      }
      stopped.abort();
      using session = model.createSession();
      const aborting = new AbortController();
      const generation = session.generate(prompt, {
        ...options,
        seed: 1,
        signal: aborting.signal,
        speculate: { guesser: model },
      });
      await generation.next();
      await generation.next();
      aborting.abort();
      await expectRejection('ABORTED', /generate: aborted/, generation.next());
      session.dispose();
      expect(draw()).to.deep.equal(expected);
      expect(bytes()).to.be.at.most(used);
    });

    it('in a batch the bits are the same alone and in company', async () => {
      const draft = parrot([...prompt, ...idsOf(await take(model.generate(prompt, options)))], 6);
      const guessers = ['ngram', draft, other] as const;
      const ask = (batch: fw.BatchedModel, i: number): Promise<fw.GeneratedToken[]> => {
        const session = batch.createSession();
        const more = { temperature: i % 2, seed: 4, ...(i < 3 && { speculate: { guesser: guessers[i] } }) };
        return take(session.generate([...prompt, i], { ...options, ...more })).finally(() => session.dispose());
      };
      const alone: fw.GeneratedToken[][] = [];
      for (let i = 0; i < 6; i++) {
        using batch = new fw.BatchedModel(model);
        alone.push(await ask(batch, i));
      }
      using batch = new fw.BatchedModel(model);
      const together = await Promise.all(alone.map((_, i) => ask(batch, i)));
      expect(together).to.deep.equal(alone);
      expect(countsOf(alone[0]).accepted + countsOf(alone[2]).accepted).to.be.above(0);
    });
  });
}

describe('options of speculation', () => {
  let model: fw.models.CausalLM;
  before(() => (model = make('deltanet', 6, 'js')));
  after(() => model.dispose());
  const ask = (speculate: unknown): unknown => {
    using session = model.createSession();
    return session.generate([1], { speculate: speculate as fw.SpeculateOptions });
  };

  it('are checked', () => {
    expectError('INVALID_ARGUMENT', /speculate\.guesser must be 'ngram' or a model that generates, got .bigram.$/, () =>
      ask({ guesser: 'bigram' }),
    );
    expectError('INVALID_ARGUMENT', /speculate\.guesser must be a model that generates, got /, () =>
      ask({ guesser: {} }),
    );
    expectError('INVALID_ARGUMENT', /speculate\.guesser/, () => ask({}));
    expectError('INVALID_ARGUMENT', /options must be an object/, () => ask('ngram'));
    expectError('INVALID_ARGUMENT', /unknown option guesses/, () => ask({ guesser: 'ngram', guesses: 3 }));
    expectError('INVALID_ARGUMENT', /speculate\.maxGuesses/, () => ask({ guesser: 'ngram', maxGuesses: 0 }));
    expectError('INVALID_ARGUMENT', /speculate\.maxGuesses/, () => ask({ guesser: 'ngram', maxGuesses: 65 }));
    using small = fw.createModel('deltanet', { ...sizes, vocabSize: 12, device: 'js' });
    expectError('INVALID_ARGUMENT', /a model of 13 tokens, like the one that it guesses for, got one of 12/, () =>
      ask({ guesser: small }),
    );
  });

  it('need a model that verifies', () => {
    const session = new fw.Session(parrot([1, 2, 3]));
    expectError('UNSUPPORTED', /speculate: the model has no verifyStages/, () =>
      session.generate([1], { speculate: { guesser: 'ngram' } }),
    );
    session.dispose();
  });
});

describe('guesses', () => {
  const guess = (text: number[], most = 4): { ids: number[]; kind: number } => {
    const { ids, kind } = ngramGuess(Int32Array.from(text), most);
    return { ids: [...ids], kind };
  };

  it('by what stood in the text before: the longest match, at its latest place', () => {
    expect(guess([1, 2, 3, 9, 1, 2, 4, 8, 1, 2])).to.eql({ ids: [4, 8, 1, 2], kind: 2 });
    expect(guess([7, 1, 2, 3, 9, 5, 1, 2, 4, 8, 7, 1, 2])).to.eql({ ids: [3, 9, 5, 1], kind: 3 });
    expect(guess([0, 7, 1, 2, 3, 6, 0, 7, 1, 2])).to.eql({ ids: [3, 6, 0, 7], kind: 4 });
    // A longer match counts no more than four.
    expect(guess([5, 0, 7, 1, 2, 3, 6, 9, 0, 7, 1, 2, 8, 5, 0, 7, 1, 2], 1)).to.eql({ ids: [8], kind: 4 });
  });

  it('that go round where the text does, and none where nothing stood before', () => {
    expect(guess([1, 2, 1, 2], 5)).to.eql({ ids: [1, 2, 1, 2, 1], kind: 2 });
    expect(guess([3, 3, 3], 3)).to.eql({ ids: [3, 3, 3], kind: 2 });
    for (const text of [[], [1], [1, 1], [1, 2, 3, 4, 2]]) expect(guess(text).ids).to.eql([]);
  });

  it('are as many as pays', () => {
    const rate = new Rate();
    for (let i = 0; i < 50; i++) rate.hear(true);
    expect(rate.best(1, 16, 0)).to.equal(16);
    // Calls of few sizes, and of any where none of those is near enough.
    expect(rate.best(1, 5, 0)).to.equal(4);
    expect(rate.best(5, 1, 0)).to.equal(1);
    for (let i = 0; i < 50; i++) rate.hear(i % 4 !== 3);
    const [few, costly] = [rate.best(1, 16, 0), rate.best(1, 16, 0.5)];
    expect(few).to.be.within(1, 8);
    expect(costly).to.equal(0);
    for (let i = 0; i < 50; i++) rate.hear(false);
    expect(rate.best(1, 16, 0)).to.equal(0);
  });
});
