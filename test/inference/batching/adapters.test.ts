// Adapters of requests: every family, the same bits alone and in company, and states that belong to their adapter.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { temporaryFolder } from '../../io/folder';
import { expectError, expectRejection } from '../../support/errors';
import { withoutZeros } from '../../support/withoutZeros';

const VOCABULARY = 29;
const available = fw.devices().flatMap(({ device, available }) => (available ? [device] : []));
const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);
const sizes = { vocabSize: VOCABULARY, hiddenSize: 24, numLayers: 2, numHeads: 2, intermediateSize: 32 };

function make(family: fw.ModelName, device: fw.Device, extra: Partial<fw.CreateOptions> = {}): fw.models.CausalLM {
  fw.manualSeed(7);
  return withoutZeros(fw.createModel(family, { ...sizes, initializerRange: 0.2, device, ...extra })).eval();
}

/** The layers that texts of one batch can have their own adapters in. */
function adaptable(model: fw.models.CausalLM): string[] {
  return [...model.namedModules()].flatMap(([path, layer]) =>
    layer instanceof fw.nn.Linear && layer.mayQuantize && !/\.experts\./.test(path) ? [path] : [],
  );
}

/** Writes adapters that do something, and frees their model. */
async function writeAdapter(model: fw.models.CausalLM, dir: string, seed: number, rank: number): Promise<void> {
  const targets = adaptable(model).map((name) => new RegExp(`^${name.replace(/\./g, '\\.')}$`));
  fw.nn.addLora(model, { rank, alpha: 3, targets });
  fw.withSeed(seed, () =>
    fw.noGrad(() => {
      for (const [name, t] of model.namedParameters()) if (name.includes('lora_')) fw.nn.init.normal_(t, 0, 0.3);
    }),
  );
  await fw.nn.saveLora(model, dir);
  model.dispose();
}

type Said = [id: number, logProbability: number][];

async function say(session: fw.Session, prompt: number[], more: fw.GenerateOptions = {}): Promise<Said> {
  const said: Said = [];
  const options = { maxNewTokens: 7, seed: 5, temperature: 1, stopTokens: [], ...more };
  for await (const { id, logProbability } of session.generate(prompt, options)) said.push([id, logProbability]);
  return said;
}

const families = fw.models.modelFamilies.map(({ name }) => name);
/** On devices beside the first. */
const SOME: readonly fw.ModelName[] = [
  'deltanet',
  'mamba2',
  'lstm',
  'transformer',
  'ttt-linear',
  'kimi-linear',
  'qwen3.5-moe',
];

for (const device of available) {
  describe(`adapters of requests on ${device}`, () => {
    const inFolder = temporaryFolder();
    const prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [1, 2, 3], [2, 2], [3]];
    const names = ['a', 'b', undefined, 'b', 'a', undefined];

    for (const family of device === available[0] ? families : SOME) {
      it(`${family}: the same bits alone and in company, those of the adapter`, async () => {
        const model = make(family, device);
        for (const [i, name] of ['a', 'b'].entries()) {
          await writeAdapter(make(family, device), inFolder(name), i, i + 1);
          await model.loadAdapter(name, inFolder(name));
        }
        const ask = async (batch: fw.BatchedModel, i: number): Promise<Said> => {
          using session = batch.createSession({ adapter: names[i] });
          return await say(session, prompts[i]);
        };
        const alone: Said[] = [];
        for (let i = 0; i < prompts.length; i++) {
          using batch = new fw.BatchedModel(model);
          alone.push(await ask(batch, i));
        }
        using batch = new fw.BatchedModel(model);
        expect(await Promise.all(prompts.map((_, i) => ask(batch, i)))).to.deep.equal(alone);
        expect(new Set([0, 3].map((i) => JSON.stringify(alone[i]))).size, 'a and b differ').to.equal(2);
        // As where the model has the adapter itself.
        for (const i of [0, 3, 2]) {
          const own = make(family, device);
          if (names[i]) await fw.nn.loadLora(own, inFolder(names[i]));
          using session = own.createSession();
          const expected = await say(session, prompts[i]);
          expect(alone[i].map(([id]) => id)).to.deep.equal(expected.map(([id]) => id));
          alone[i].forEach(([, p], at) => expect(p).to.be.closeTo(expected[at][1], 1e-3));
          own.dispose();
        }
        model.dispose();
      });
    }

    describe('of one model', () => {
      let model: fw.models.CausalLM;
      before(async () => {
        model = make('gated-deltanet', device, { attn: { layers: [1], num_heads: 2 } });
        for (const [i, name] of ['a', 'b'].entries()) {
          const copy = make('gated-deltanet', device, { attn: { layers: [1], num_heads: 2 } });
          await writeAdapter(copy, inFolder(name), i, 2);
          await model.loadAdapter(name, inFolder(name));
        }
      });
      after(() => model.dispose());

      it('a state belongs to its adapter, by its numbers and not by its name', async () => {
        const [a, b] = ['a', 'b'].map((name) => model.withAdapter(name));
        using session = a.createSession();
        await say(session, [1, 2]);
        using snapshot = session.snapshot();
        for (const other of [model, b]) {
          using refusing = other.createSession();
          expectError('INVALID_ARGUMENT', /restore: snapshot must be of the model's family/, () =>
            refusing.restore(snapshot),
          );
        }
        const file = await snapshot.toBytes();
        await expectRejection('FORMAT', /model must be/, fw.Snapshot.fromBytes(file, b));
        const store = new fw.FileStore(inFolder('states'), model);
        await store.set('one', snapshot);
        // The model knows the states of its adapters, and takes none of them for its own.
        for (const kept of [await fw.Snapshot.fromBytes(file, model), (await store.get('one'))!]) {
          expectError('INVALID_ARGUMENT', /restore: snapshot must be of/, () => model.createSession().restore(kept));
          using own = a.createSession();
          own.restore(kept);
          kept.dispose();
        }
        const again = await model.loadAdapter('again', inFolder('a'));
        using loaded = await fw.Snapshot.fromBytes(file, again);
        using more = again.createSession();
        more.restore(loaded);
        expect(await say(more, [])).to.deep.equal(await say(session, []));
        model.unloadAdapter('again');
        expect(() => a.identity).not.to.throw();
      });

      it('prompts share beginnings with those of the same adapter alone', async () => {
        using cache = new fw.PrefixCache(model, { maxBytes: 2 ** 24, every: 4 });
        using batch = new fw.BatchedModel(model);
        const prompt = [1, 2, 3, 4, 5, 6];
        const reused: number[] = [];
        const said: Said[] = [];
        for (const adapter of [undefined, 'a', 'b', 'a', 'b', undefined]) {
          using session = batch.createSession({ adapter, prefixCache: cache, prefixOwner: 'one' });
          said.push(await say(session, prompt));
          reused.push(session.prefix!.reusedTokens);
        }
        expect(reused).to.eql([0, 0, 0, 4, 4, 4]);
        expect(said.slice(3)).to.deep.equal([said[1], said[2], said[0]]);
        expect(said[1]).not.to.deep.equal(said[2]);
      });

      it('embeddings and guesses go through it', async () => {
        using batch = new fw.BatchedModel(model);
        const vectors = await Promise.all([undefined, 'a', 'b'].map((adapter) => batch.embed([1, 2, 3], { adapter })));
        expect(new Set(vectors.map(String)).size).to.equal(3);
        expect(await model.withAdapter('a').embed([1, 2, 3])).to.deep.equal(vectors[1]);
        const prompt = [1, 2, 3, 1, 2, 3, 1, 2];
        const a = model.withAdapter('a');
        const greedy = { temperature: 0, maxNewTokens: 20 };
        const plain = await say(a.createSession(), prompt, greedy);
        const guessed = await say(a.createSession(), prompt, { ...greedy, speculate: { guesser: 'ngram' } });
        expect(guessed.map(([id]) => id)).to.deep.equal(plain.map(([id]) => id));
      });

      it('on quantised weights', async () => {
        const small = make('gated-deltanet', device, { attn: { layers: [1], num_heads: 2 } }).quantize('int8');
        for (const name of ['a', 'b']) await small.loadAdapter(name, inFolder(name));
        using batch = new fw.BatchedModel(small);
        const ask = async (adapter?: string): Promise<Said> => {
          using session = batch.createSession({ adapter });
          return await say(session, [1, 2, 3]);
        };
        const alone = [await ask('a'), await ask('b'), await ask()];
        expect(await Promise.all([ask('a'), ask('b'), ask()])).to.deep.equal(alone);
        small.dispose();
      });

      it('are no part of the weights, and leave nothing behind', async () => {
        const other = make('gated-deltanet', device, { attn: { layers: [1], num_heads: 2 } });
        const names = other.namedParameters().map(([name]) => name);
        const saved = Object.keys(other.stateDict());
        const plain = await say(other.createSession(), [1, 2, 3]);
        const used = bytes();
        const adapted = await other.loadAdapter('a', inFolder('a'));
        expect(other.adapterNames).to.eql(['a']);
        expect(bytes()).to.be.above(used);
        const session = adapted.createSession();
        await say(session, [1]);
        {
          using batch = new fw.BatchedModel(other);
          await Promise.all(
            ['a', undefined].map(async (adapter) => {
              using each = batch.createSession({ adapter });
              await say(each, [1, 2]);
            }),
          );
        }
        expect(other.namedParameters().map(([name]) => name)).to.eql(names);
        expect(Object.keys(other.stateDict())).to.eql(saved);
        expect(other.parameters().every((t) => t.requiresGrad)).to.equal(true);
        other.unloadAdapter('a');
        await expectRejection('DISPOSED', /the adapter 'a' was unloaded/, say(session, [1]));
        session.dispose();
        expect(other.adapterNames).to.eql([]);
        expect(bytes()).to.be.at.most(used);
        expect(await say(other.createSession(), [1, 2, 3])).to.deep.equal(plain);
        other.dispose();
      });

      it('are refused where they cannot be', async () => {
        await expectRejection(
          'INVALID_ARGUMENT',
          /name must be one that no other adapter has/,
          model.loadAdapter('a', inFolder('a')),
        );
        await expectRejection('INVALID_ARGUMENT', /name must be/, model.loadAdapter(3 as never, inFolder('a')));
        await expectRejection('IO', /nowhere/, model.loadAdapter('c', inFolder('nowhere')));
        expectError('INVALID_ARGUMENT', /must be the name of an adapter \(a, b\), got "c"/, () =>
          model.withAdapter('c'),
        );
        using batch = new fw.BatchedModel(model);
        expectError('INVALID_ARGUMENT', /must be the name of an adapter/, () => batch.createSession({ adapter: 'c' }));
        const trained = make('gated-deltanet', device, { attn: { layers: [1], num_heads: 2 } });
        await fw.nn.loadLora(trained, inFolder('a'));
        await expectRejection(
          'INVALID_ARGUMENT',
          /without an adapter of its own/,
          trained.loadAdapter('b', inFolder('b')),
        );
        trained.dispose();
        expectError('INVALID_ARGUMENT', /layers without an adapter/, () =>
          fw.nn.addLora(model, { rank: 1, alpha: 1, targets: 'q_proj' }),
        );
      });
    });
  });
}
