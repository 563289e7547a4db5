// Comparisons: sizes of about as many parameters, the same data for all, and a folder that is gone on with.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type Comparison,
  compareModels,
  type ComparisonOptions,
  createModel,
  memory,
  type ModelName,
  resetPeakMemory,
  sizesFor,
  zeros,
} from '../../lib';
import { expectError, expectRejection } from '../support/errors';
import { withFolder } from './support';

/** Two models on a task. */
const tiny = (folder: string, more: Partial<ComparisonOptions> = {}): ComparisonOptions => ({
  folder,
  models: ['deltanet', 'llama'],
  parameters: 3000,
  data: { task: 'associativeRecall', options: { nKeys: 4, nValues: 4, pairs: 4, evaluationSize: 4 } },
  training: { steps: 6, batchSize: 1, validateEvery: 2, seed: 3 },
  device: 'js',
  ...more,
});

const recordIn = (folder: string): Comparison =>
  JSON.parse(readFileSync(join(folder, 'comparison.json'), 'utf8')) as Comparison;

describe('sizesFor', () => {
  it('comes near to a number of parameters in every kind of family', () => {
    // With a feed-forward of any width, of some widths, and without.
    const names: ModelName[] = ['deltanet', 'rwkv6', 'mamba2', 'rnn'];
    for (const name of names) {
      const { parameters, ...sizes } = sizesFor(name, 100_000, 65);
      expect(parameters, name).to.be.within(97_000, 103_000);
      using model = createModel(name, { ...sizes, vocabSize: 65, device: 'js' });
      expect(model.parameterCount, name).to.equal(parameters);
    }
    // Its feed-forward is a multiple of 256 wide, however narrow the rest is.
    expect(sizesFor('samba', 30_000, 80).parameters).to.be.within(27_000, 33_000);
    const large = sizesFor('transformer', 3_300_000, 256);
    expect(large).to.include({ hiddenSize: 256, numLayers: 4, numHeads: 4 });
    expect(large.parameters).to.be.within(3_267_000, 3_333_000);
  });

  it('leaves hybrids a layer of fast weights, and one of attention, however small they are', () => {
    const hybrids: Partial<Record<ModelName, string[]>> = {
      'kimi-linear': ['KimiLinearAttention', 'LatentAttention'],
      minimax: ['LightningAttention', 'Attention'],
      'qwen3-next': ['GroupedDeltaNet', 'Attention'],
      'qwen3.5': ['PlainDeltaNet', 'Attention'],
      'qwen3.5-moe': ['PlainDeltaNet', 'Attention'],
      'olmo-hybrid': ['GatedDeltaNet', 'Attention'],
      yoco: ['GatedDeltaNet', 'CrossAttention'],
      samba: ['MambaMixer', 'Attention'],
    };
    for (const parameters of [60_000, 300_000]) {
      for (const [name, kinds] of Object.entries(hybrids)) {
        const { parameters: count, ...sizes } = sizesFor(name as ModelName, parameters, 65);
        using model = createModel(name as ModelName, { ...sizes, vocabSize: 65, device: 'js' });
        const found = new Set([...model.namedModules()].map(([, part]) => part.constructor.name));
        expect([...found], `${name} of ${parameters}`).to.include.members(kinds);
        if (parameters === 300_000) expect(count, name).to.be.within(270_000, 330_000);
      }
    }
  });

  it('refuses what is no family and no number', () => {
    expectError('INVALID_ARGUMENT', /name .*deltanet/, () => sizesFor('delta-net' as ModelName, 1e6, 65));
    expectError('INVALID_ARGUMENT', /parameters/, () => sizesFor('deltanet', 0, 65));
  });
});

describe('resetPeakMemory', () => {
  it('counts anew from what is live', () => {
    const peak = (): number => memory().devices.find(({ device }) => device === 'js')!.peakBytes;
    zeros([1000], { device: 'js' }).dispose();
    resetPeakMemory();
    const before = peak();
    zeros([500], { device: 'js' }).dispose();
    expect(peak()).to.equal(before + 2000);
  });
});

describe('compareModels', () => {
  it('trains every model under every seed and tells what it found', () =>
    withFolder(async (folder) => {
      const made: string[] = [];
      const batches = new Map<number, string[]>();
      const { runs, settings } = await compareModels({
        ...tiny(folder, { seeds: 2 }),
        onResult: ({ model, seed }) => made.push(`${model} ${seed}`),
        async train(run) {
          const { seed } = run.config.training;
          batches.set(seed, [...(batches.get(seed) ?? []), run.data.batch(1, 1).inputs.join()]);
          await run.trainer.run();
        },
      });
      expect(made).to.eql(['deltanet 3', 'transformer 3', 'deltanet 4', 'transformer 4']);
      expect([...batches.values()].map((all) => new Set(all).size)).to.eql([1, 1]);
      expect(new Set([...batches.values()].flat()).size).to.equal(2);
      expect(settings).to.deep.include({ parameters: 3000, device: 'js', dtype: 'float32' });
      expect(settings.training).to.include({ steps: 6 }).and.to.not.have.property('seed');
      for (const run of runs) {
        expect(run).to.include({ steps: 6, tokens: 6 * 12, bitsPerByte: null });
        expect(run.parameters).to.be.within(2500, 3500);
        expect(run.loss).to.be.within(0.5, 4);
        expect(run.peakBytes).to.be.above(4 * run.parameters);
      }
      // Keys and values of 12 tokens in one layer, and a position at most.
      const { stateBytes, sizes } = runs[1];
      expect(stateBytes).to.equal(2 * 12 * sizes.hiddenSize! * sizes.numLayers! * 4);
      expect(recordIn(folder).runs).to.eql(JSON.parse(JSON.stringify(runs)));
      const report = readFileSync(join(folder, 'report.html'), 'utf8');
      for (const text of [
        'deltanet and transformer',
        'Training loss over tokens',
        'Validation loss over seconds',
        ' ± ',
      ])
        expect(report).to.include(text);
    }));

  it('goes on with what was interrupted as if it had not been, and makes nothing twice', () =>
    withFolder(async (root) => {
      const [whole, broken] = ['whole', 'broken'].map((name) => join(root, name));
      const expected = await compareModels(tiny(whole));
      const stop = new AbortController();
      const stopped = compareModels({
        ...tiny(broken),
        signal: stop.signal,
        train: async ({ config, trainer }) => {
          const onMetrics = ({ step }: { step: number }): void => {
            if (config.model.name === 'transformer' && step === 4) stop.abort();
          };
          await trainer.run({ signal: stop.signal, onMetrics });
        },
      });
      await expectRejection('ABORTED', /stopped/, stopped);
      expect(recordIn(broken).runs.map(({ model }) => model)).to.eql(['deltanet']);
      expect(existsSync(join(broken, 'report.html'))).to.equal(false);
      const begun: number[] = [];
      const { runs } = await compareModels({
        ...tiny(broken, { models: ['deltanet', 'llama', 'rnn'] }),
        async train({ trainer }) {
          begun.push(trainer.step);
          await trainer.run();
        },
      });
      expect(begun).to.have.lengthOf(2);
      expect(begun[0]).to.be.within(4, 5);
      expect(begun[1]).to.equal(0);
      expect(runs.slice(0, 2).map(({ loss }) => loss)).to.eql(expected.runs.map(({ loss }) => loss));
      const again = await compareModels({ ...tiny(broken), train: () => Promise.reject(new Error('trained again')) });
      expect(again.runs).to.have.lengthOf(3);
    }));

  it('lets the models take turns at their minutes', () =>
    withFolder(async (folder) => {
      const turns: string[] = [];
      const begun: Record<string, number> = {};
      const minutes = 0.5 / 60;
      const { runs } = await compareModels({
        ...tiny(folder, { training: { minutes, batchSize: 1, seed: 3 } }),
        turns: 3,
        onTurn: ({ config, trainer }, turn) =>
          turns.push(`${turn} ${config.model.name} ${trainer.progress >= turn / 3}`),
        async train({ config, trainer }) {
          begun[config.model.name] = trainer.progress;
          await trainer.run();
        },
      });
      expect(turns).to.eql(['1 deltanet false', '1 transformer false', '2 deltanet false', '2 transformer false']);
      expect(begun.deltanet).to.be.at.least(2 / 3);
      expect(begun.transformer).to.be.at.least(2 / 3);
      for (const { seconds, steps } of runs) {
        expect(seconds).to.be.at.least(0.4);
        expect(steps).to.be.above(3);
      }
    }));

  it('refuses other settings in the same folder, and a text that has changed', () =>
    withFolder(async (folder) => {
      const text = join(folder, 'book.txt');
      writeFileSync(text, 'to be or not to be, '.repeat(40));
      const data = { text, sequenceLength: 8, validationFraction: 0.1 };
      const options = tiny(join(folder, 'out'), { data, models: ['rnn'], parameters: 2000 });
      const { runs } = await compareModels(options);
      expect(runs[0].bitsPerByte).to.be.closeTo(runs[0].loss / Math.LN2, 1e-12);
      for (const [other, name] of [
        [{ parameters: 3000 }, /parameters must be 2000, that of the comparison/],
        [{ training: { ...options.training, steps: 7 } }, /training\.steps must be 6, .* got 7/],
        [{ data: { ...data, sequenceLength: 9 } }, /data\.sequenceLength/],
      ] as const)
        await expectRejection('INVALID_ARGUMENT', name, compareModels({ ...options, ...other }));
      writeFileSync(text, 'to be or not to be; '.repeat(40));
      await expectRejection('INVALID_ARGUMENT', /data\.sha256/, compareModels(options));
      await expectRejection('INVALID_ARGUMENT', /models/, compareModels({ ...options, models: [] }));
      await expectRejection('INVALID_ARGUMENT', /turns must be 1 for runs/, compareModels({ ...options, turns: 2 }));
      const unknown = compareModels({ ...options, modles: [] } as never);
      await expectRejection('INVALID_ARGUMENT', /models/, unknown);
    }));
});
