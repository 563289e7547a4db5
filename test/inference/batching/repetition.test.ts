// Ticks of a batch whose calls are those of an earlier tick: the same bits as without, whoever joins, leaves, ends or is copied.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { getBackend } from '../../../lib/backends';
import type { Addon } from '../../../lib/backends/native';
import { temporaryFolder } from '../../io/folder';
import { expectRejection } from '../../support/errors';
import { collectGarbage } from '../../support/garbage';
import { countingRepeats, makeRepeating as make, RECORDING_DEVICE, REPEATING } from '../../support/repeating';

const DEVICE = RECORDING_DEVICE;
const TOKENS = 24;
const PLAN = { maxNewTokens: TOKENS, stopTokens: [], temperature: 1 } as const;
const PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9], [2, 2]];

type Said = [id: number, logProbability: number][];

async function say(
  session: fw.Session,
  prompt: number[],
  options: fw.GenerateOptions = {},
  then: (at: number) => unknown = () => {},
): Promise<Said> {
  const said: Said = [];
  for await (const { id, logProbability } of session.generate(prompt, { ...PLAN, seed: prompt[0], ...options })) {
    said.push([id, logProbability]);
    await then(said.length);
  }
  return said;
}

/** The same by someone who reads every token anew. */
async function alone(model: fw.models.CausalLM, prompt: number[], options: fw.GenerateOptions = {}): Promise<Said> {
  return countingRepeats(async (times) => {
    const { repeatsSteps } = model;
    Object.defineProperty(model, 'repeatsSteps', { value: false, configurable: true });
    try {
      using session = model.createSession();
      const said = await say(session, prompt, options);
      expect([repeatsSteps, times()]).to.eql([true, 0]);
      return said;
    } finally {
      delete (model as { repeatsSteps?: boolean }).repeatsSteps;
    }
  });
}

const all = async <T>(parts: readonly T[], run: (part: T, i: number) => Promise<Said>): Promise<Said[]> =>
  Promise.all(parts.map(run));

/** One after the other: what is changed of the model while one is read is not meant for the next. */
async function eachAlone(model: fw.models.CausalLM, options: fw.GenerateOptions = {}): Promise<Said[]> {
  const said: Said[] = [];
  for (const prompt of PROMPTS) said.push(await alone(model, prompt, options));
  return said;
}

/** Bytes that tensors have, and those that the device gave out. */
function native(): number[] {
  const { bytes } = fw.memory().devices.find(({ device }) => device === DEVICE)!;
  return [bytes, (getBackend(DEVICE!) as unknown as { addon: Addon }).addon.memoryUsage().live];
}

(DEVICE ? describe : describe.skip)(`ticks by the calls of an earlier one, on ${DEVICE}`, () => {
  const inFolder = temporaryFolder();
  before(() => fw.setChecks(false));
  after(() => fw.setChecks('values'));

  for (const { name } of fw.models.modelFamilies) {
    it(`${name}: the same bits${REPEATING.includes(name) ? ', most of them so' : ', each as always'}`, async () => {
      const model = make(name);
      const expected = await eachAlone(model);
      await countingRepeats(async (times) => {
        using batch = new fw.BatchedModel(model);
        const said = await all(PROMPTS, async (prompt) => {
          using session = batch.createSession();
          return await say(session, prompt);
        });
        expect(said).to.eql(expected);
        // Texts that join one after the other make ticks of several sizes, and the first ones of each are read anew.
        const least = REPEATING.includes(name) ? 5 : 0;
        expect(times()).to.be.within(least, least && batch.numbers.ticks);
      });
      model.dispose();
    });
  }

  it('makes ticks of a size again after others have come and gone', async () => {
    const model = make('gated-deltanet');
    const expected = await eachAlone(model, { maxNewTokens: 4 });
    const long = await alone(model, [5], { maxNewTokens: 60 });
    using batch = new fw.BatchedModel(model);
    // Room for two at once, from the first on: the tensors of the batch stay.
    using company = batch.createSession();
    const companion = say(company, [5], { maxNewTokens: 60 });
    const visits: Said[] = [];
    const repeated: number[] = [];
    await countingRepeats(async (times) => {
      for (const prompt of [...PROMPTS, ...PROMPTS]) {
        const before = [times(), batch.numbers.ticks];
        using visitor = batch.createSession();
        visits.push(await say(visitor, prompt, { maxNewTokens: 4 }));
        repeated.push(batch.numbers.ticks - before[1] - (times() - before[0]));
      }
      expect(await companion).to.eql(long);
    });
    expect(visits).to.eql([...expected, ...expected]);
    // At the end nothing is read anew, though two have become one and two again in between.
    expect(repeated.slice(-3)).to.eql([0, 0, 0]);
    model.dispose();
  });

  it('ends what is aborted or disposed, and nobody else', async () => {
    const model = make('deltanet');
    const expected = await eachAlone(model, { maxNewTokens: 30 });
    await countingRepeats(async (times) => {
      using batch = new fw.BatchedModel(model);
      const controller = new AbortController();
      const [aborted, gone] = [0, 1].map(() => batch.createSession());
      const ends = [
        expectRejection('ABORTED', /aborted/, say(aborted, [3], { maxNewTokens: 500, signal: controller.signal })),
        expectRejection('DISPOSED', /disposed/, say(gone, [4], { maxNewTokens: 500 })),
      ];
      const said = await all(PROMPTS, async (prompt, i) => {
        using session = batch.createSession();
        return await say(session, prompt, { maxNewTokens: 30 }, (at) => {
          if (i === 0 && at === 12) controller.abort();
          if (i === 0 && at === 18) gone.dispose();
        });
      });
      expect(said).to.eql(expected);
      await Promise.all(ends);
      expect(times()).to.be.greaterThan(10);
      expect(await say(aborted, [7])).to.have.lengthOf(TOKENS);
      aborted.dispose();
    });
    model.dispose();
  });

  it('where one fails tells those that it was for, and goes on with others', async () => {
    const model = make('deltanet');
    const expected = await alone(model, [9]);
    using batch = new fw.BatchedModel(model);
    const failed = [0, 1].map(() => batch.createSession());
    const fail = (times: number): void => {
      if (times === 3) throw new fw.FastWeightsError('BACKEND', 'no such luck');
    };
    await countingRepeats(async () => {
      const ends = failed.map((session, i) => expectRejection('BACKEND', /no such luck/, say(session, [i])));
      await Promise.all(ends);
    }, fail);
    await expectRejection('INVALID_ARGUMENT', /an error came while a token was read/, say(failed[0], [1]));
    using other = batch.createSession();
    expect(await say(other, [9])).to.eql(expected);
    for (const session of failed) session.dispose();
    model.dispose();
  });

  it('leaves forks and snapshots of the way as they were', async () => {
    const model = make('kda');
    const expected = await eachAlone(model);
    using batch = new fw.BatchedModel(model);
    const copies: fw.Session[] = [];
    await countingRepeats(async (times) => {
      const said = await all(PROMPTS, async (prompt, i) => {
        using session = batch.createSession();
        return await say(session, prompt, {}, (at) => {
          if (i !== 0 || at !== 8) return;
          using snapshot = session.snapshot();
          copies.push(session.fork(), model.createSession({ from: snapshot }));
        });
      });
      expect(said).to.eql(expected);
      expect(times()).to.be.greaterThan(3);
    });
    for (const copy of copies) {
      const rest = await say(copy, [], { seed: undefined, resume: true, maxNewTokens: TOKENS - 8 });
      expect(rest).to.eql(expected[0].slice(8));
      copy.dispose();
    }
    model.dispose();
  });

  it('goes by the settings of whoever began a text', async () => {
    const model = make('gla');
    const expected = await alone(model, [9]);
    await countingRepeats(async (times) => {
      using batch = new fw.BatchedModel(model);
      // Whose tensors stay when others leave.
      using holder = batch.createSession();
      await say(holder, [9]);
      const repeated = times();
      expect(repeated).to.be.greaterThan(5);
      fw.setChecks('values');
      const checked = say(holder, [9]);
      fw.setChecks(false);
      await checked;
      expect(times()).to.equal(repeated);
      using other = batch.createSession();
      expect(await say(other, [9])).to.eql(expected);
      expect(times()).to.be.greaterThan(repeated + 5);
    });
    model.dispose();
  });

  it('goes on with the ticks of a text alone when it comes back, and gives their memory back in the end', async () => {
    const model = make('deltanet');
    await collectGarbage();
    const before = native();
    await countingRepeats(async (times) => {
      using batch = new fw.BatchedModel(model);
      using session = batch.createSession();
      const expected = model.createSession();
      const turn = async (): Promise<number> => {
        const begun = times();
        const said = await say(session, PROMPTS[0]);
        const repeated = times() - begun;
        expect(said).to.eql(await say(expected, PROMPTS[0]));
        return repeated;
      };
      expect(await turn()).to.be.within(5, TOKENS - 2);
      // The last token of a turn is read by the next one.
      expect(await turn()).to.equal(TOKENS);
      expected.dispose();
    });
    await collectGarbage();
    native().forEach((bytes, i) => expect(bytes).to.be.at.most(before[i]));
    model.dispose();
  });

  it('gives all memory back when the last of several texts leaves', async () => {
    const model = make('deltanet');
    const run = async (batch: fw.BatchedModel): Promise<void> => {
      const sessions = PROMPTS.map(() => batch.createSession());
      await all(PROMPTS, (prompt, i) => say(sessions[i], prompt));
      for (const session of sessions) session.dispose();
    };
    {
      using before = new fw.BatchedModel(model);
      await run(before);
    }
    await collectGarbage();
    const before = native();
    using batch = new fw.BatchedModel(model);
    await countingRepeats(async (times) => {
      await run(batch);
      expect(times()).to.be.greaterThan(5);
    });
    // What other tests left may be collected meanwhile.
    native().forEach((bytes, i) => expect(bytes).to.be.at.most(before[i]));
    model.dispose();
  });

  it('follows adapters: those of all texts, and layers that get a place for them', async () => {
    const adapter = make('deltanet');
    fw.nn.addLora(adapter, { rank: 2, alpha: 3, targets: [/q_proj$/, /mlp/] });
    fw.noGrad(() => {
      for (const [name, t] of adapter.namedParameters()) if (name.includes('lora_')) fw.nn.init.normal_(t, 0, 0.3);
    });
    await fw.nn.saveLora(adapter, inFolder('a'));
    adapter.dispose();
    const model = make('deltanet');
    const plain = await eachAlone(model);
    const { revision } = model;
    await model.loadAdapter('a', inFolder('a'));
    expect(model.revision).to.be.greaterThan(revision);
    const beside = await eachAlone(model);
    using batch = new fw.BatchedModel(model);
    const visit = async (i: number, name?: string): Promise<Said> => {
      using session = batch.createSession({ adapter: name });
      return await say(session, PROMPTS[i]);
    };
    await countingRepeats(async (times) => {
      const adapted = await visit(0, 'a');
      expect(times()).to.be.greaterThan(5);
      expect(adapted).not.to.eql(beside[0]);
      // With company the tensors of the batch stay where they are: what was recorded for others could be made again.
      const controller = new AbortController();
      const company = (async () => {
        using session = batch.createSession();
        await say(session, [5], { maxNewTokens: 10000, signal: controller.signal });
      })();
      expect(await visit(0)).to.eql(beside[0]);
      const before = times();
      expect(await visit(0, 'a')).to.eql(adapted);
      expect(await visit(1)).to.eql(beside[1]);
      expect(times() - before).to.be.greaterThan(TOKENS - 5);
      controller.abort();
      await expectRejection('ABORTED', /aborted/, company);
      const loaded = model.revision;
      model.unloadAdapter('a');
      expect(model.revision).to.be.greaterThan(loaded);
      expect(await visit(2)).to.eql(plain[2]);
    });
    model.dispose();
  });
});
