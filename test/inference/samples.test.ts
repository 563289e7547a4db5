// Several samples of one prompt: each as if it were the only one, from a prompt that is read once.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectRejection } from '../support/errors';
import { collectGarbage } from '../support/garbage';

const VOCABULARY = 17;
const PROMPT = [1, 2, 3, 4, 5];
const OPTIONS = { maxNewTokens: 7, temperature: 1.5, frequencyPenalty: 0.5, repetitionPenalty: 1.3, stopTokens: [16] };

async function take<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);

for (const family of ['deltanet', 'transformer', 'lstm'] as const) {
  describe(`samples of ${family}`, () => {
    let model: fw.models.CausalLM;
    before(() => {
      fw.manualSeed(3);
      const sizes = { vocabSize: VOCABULARY, hiddenSize: 16, numLayers: 2, numHeads: 2, intermediateSize: 16 };
      model = fw.createModel(family, { ...sizes, initializerRange: 0.3, device: 'js' });
    });
    after(() => model.dispose());

    it('are those of their seeds, one after the other', async () => {
      const all = await take(model.generate(PROMPT, { ...OPTIONS, seed: 40, samples: 3 }));
      const alone = [];
      for (const sample of [0, 1, 2]) {
        const tokens = await take(model.generate(PROMPT, { ...OPTIONS, seed: 40 + sample }));
        alone.push(...tokens.map((token) => ({ ...token, sample })));
      }
      expect(all).to.eql(alone);
      const [a, b, c] = [0, 1, 2].map((n) => all.filter(({ sample }) => sample === n).map(({ id }) => id));
      expect(a).to.not.eql(b);
      expect(b).to.not.eql(c);
    });

    it('leave the session behind the prompt, with and without history, and free their states', async () => {
      await collectGarbage();
      const start = bytes();
      for (const history of [false, true]) {
        using session = model.createSession({ history });
        (await session.read([6, 7])).dispose();
        await take(session.generate([8, ...PROMPT], { ...OPTIONS, seed: 1, samples: 2 }));
        for await (const { sample } of session.generate([], { ...OPTIONS, seed: 1, samples: 2 }))
          if (sample === 1) break;
        expect(session.length).to.equal(8);
        if (history) await session.rollback(1);
        using plain = model.createSession();
        (await plain.read([6, 7])).dispose();
        (await plain.read(history ? [8, ...PROMPT.slice(0, -1)] : [8, ...PROMPT])).dispose();
        const ends = [session, plain].map((one) => take(one.generate([], { maxNewTokens: 4 })));
        const [found, expected] = await Promise.all(ends);
        expect(found.map(({ id }) => id)).to.eql(expected.map(({ id }) => id));
      }
      expect(bytes()).to.equal(start);
    });
  });
}

describe('samples', () => {
  let model: fw.models.CausalLM;
  before(() => {
    fw.manualSeed(3);
    model = fw.createModel('deltanet', { vocabSize: 256, hiddenSize: 16, numLayers: 1, numHeads: 2, device: 'js' });
  });
  after(() => model.dispose());

  it('read the prompt once', async () => {
    const lengths: number[] = [];
    const { stages } = model;
    model.stages = function (ids, state) {
      lengths.push(ids.ndim === 1 ? 1 : ids.shape[1]);
      return stages.call(this, ids, state);
    };
    await take(model.generate(PROMPT, { maxNewTokens: 3, samples: 4, stopTokens: [] }));
    model.stages = stages;
    expect(lengths).to.eql([PROMPT.length, ...Array<number>(8).fill(1)]);
  });

  it('have texts of their own', async () => {
    const script = (row: Float32Array, ids: Int32Array): void => void row.fill(1000, 97 + ids.length, 98 + ids.length);
    const options = { samples: 2, tokenizer: fw.byteTokenizer(), stopStrings: ['de'], logitProcessors: [script] };
    const tokens = await take(model.generate([1, 2], { ...options, stopTokens: [] }));
    expect(tokens.map(({ sample, text }) => [sample, text])).to.eql(
      [0, 1].flatMap((n) => [
        [n, 'c'],
        [n, ''],
        [n, ''],
      ]),
    );
  });

  it('begin with the prompt, whatever a processor wrote into what it saw', async () => {
    const seen: number[][] = [];
    const script = (_: Float32Array, ids: Int32Array): void => {
      seen.push([...ids]);
      ids.fill(0);
    };
    await take(model.generate(PROMPT, { maxNewTokens: 1, samples: 2, logitProcessors: [script] }));
    expect(seen).to.eql([PROMPT, PROMPT]);
  });

  it('cost nothing before they begin, and nothing stays of what ends before its first token', async () => {
    await collectGarbage();
    const start = bytes();
    const tokens = model.generate(PROMPT, { samples: 2 ** 31 - 1, maxNewTokens: 1 });
    expect((await tokens.next()).value).to.include({ sample: 0 });
    await tokens.return();
    await model.generate(PROMPT).return();
    await model
      .generate(PROMPT)
      .throw(new Error('mine'))
      .catch(() => undefined);
    expect(bytes()).to.equal(start);
  });

  it('draw from the generator of manualSeed without a seed', async () => {
    const draw = async (): Promise<number[]> =>
      (await take(model.generate([1], { maxNewTokens: 8, temperature: 2, samples: 2 }))).map(({ id }) => id);
    fw.manualSeed(1);
    const [a, b] = [await draw(), await draw()];
    fw.manualSeed(1);
    expect([await draw(), await draw()]).to.eql([a, b]);
    expect(a.slice(0, 8)).to.not.eql(a.slice(8));
    expect(a).to.not.eql(b);
  });

  it('end with the session and with its signal, which nothing else may change meanwhile', async () => {
    const session = model.createSession();
    const controller = new AbortController();
    const options = { maxNewTokens: 2, samples: 3, stopTokens: [], signal: controller.signal };
    const tokens = session.generate(PROMPT, options);
    await tokens.next();
    expect(() => session.feed([1])).to.throw(/one that generate is at work on/);
    controller.abort();
    await expectRejection('ABORTED', /generate/, tokens.next());
    const { signal: _, ...free } = options;
    const more = session.generate([], free);
    for (let i = 0; i < 3; i++) await more.next();
    session.dispose();
    await expectRejection('DISPOSED', /generate/, more.next());
  });

  it('are refused by name where they are none', async () => {
    for (const samples of [0, -1, 1.5, '2' as never]) {
      const error = await expectRejection('INVALID_ARGUMENT', /^generate: /, model.generate([1], { samples }).next());
      expect(error.argument).to.equal('samples');
    }
    const seed = Number.MAX_SAFE_INTEGER;
    const error = await expectRejection(
      'INVALID_ARGUMENT',
      /^generate: /,
      model.generate([1], { samples: 2, seed }).next(),
    );
    expect(error.argument).to.equal('seed');
  });
});
