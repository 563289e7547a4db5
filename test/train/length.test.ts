// How long a run takes, what its last validation may take of that, and runs that cannot begin.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import '../../lib';
import type { FastWeightsError } from '../../lib/core';
import { createTask, type Dataset, textDataset } from '../../lib/data';
import { createModel } from '../../lib/models';
import {
  checkRunConfig,
  checkStart,
  evaluate,
  type Metrics,
  reportRun,
  resolveCheckpoint,
  resumeRun,
  RunFolder,
  startRun,
  Trainer,
  type TrainingConfig,
} from '../../lib/train';
import { close, losses, tinyConfig, withFolder } from './support';

async function failure(promise: Promise<unknown>): Promise<FastWeightsError> {
  return promise.then(
    () => expect.fail('must fail'),
    (error: FastWeightsError) => error,
  );
}

function tinyModel({ vocabSize }: Dataset): ReturnType<typeof createModel> {
  return createModel('deltanet', { vocabSize, hiddenSize: 16, numLayers: 1, numHeads: 2, device: 'js' });
}

/** Trains on a data set of one's own. */
async function trainOn(data: Dataset, dir: string, training: Partial<TrainingConfig>): Promise<Metrics[]> {
  const model = tinyModel(data);
  const folder = await RunFolder.create(dir, {});
  const trainer = new Trainer({ model, data, folder, training });
  try {
    await trainer.run();
    return await folder.metrics();
  } finally {
    trainer.dispose();
    model.dispose();
  }
}

const RECALL = { nKeys: 4, nValues: 4, pairs: 4 };

describe('the length of a run', () => {
  it('leaves a tenth of the minutes to a validation that would take longer, and says how much it measured', async () => {
    await withFolder(async (dir) => {
      const data = createTask('associativeRecall', { ...RECALL, evaluationSize: 100_000 });
      const begun = performance.now();
      const metrics = await trainOn(data, join(dir, 'run'), { minutes: 3 / 60, batchSize: 4, validateEvery: 50 });
      expect((performance.now() - begun) / 1000).to.be.within(2.5, 4.5);
      const trained = metrics.findLast((line) => line.loss !== undefined)!;
      expect(trained.seconds).to.be.above(2.4);
      expect(trained.learningRate).to.be.below(1e-3);
      const { validation } = metrics.at(-1)!;
      expect(validation!.available).to.equal(100_000);
      expect(validation!.measured).to.be.within(1, 99_999);
      const folder = await RunFolder.open(join(dir, 'run'));
      await folder.writeConfig(tinyConfig());
      const { summary } = await reportRun(folder, 1);
      expect(summary['validated on']).to.equal(`${validation!.measured} of 100000 sequences`);
      expect(metrics.filter((line) => line.loss !== undefined)[0]).to.not.have.property('tokensPerSecond');
      expect(trained).to.have.property('tokensPerSecond');
    });
  });

  it('takes the whole set where a tenth of the time suffices, or without a limit, at any speed', async () => {
    await withFolder(async (dir) => {
      const task = createTask('associativeRecall', { ...RECALL, evaluationSize: 16 });
      // Slower than the steps let expect.
      const evaluation: Dataset['evaluation'] = function* (...options) {
        for (const batch of task.evaluation(...options)) {
          yield batch;
          const begun = performance.now();
          while (performance.now() - begun < 30);
        }
      };
      const data = new Proxy(task, {
        get: (target, name) => (name === 'evaluation' ? evaluation : (Reflect.get(target, name) as unknown)),
      });
      for (const length of [{ steps: 2 }, { minutes: 1 / 30 }]) {
        const metrics = await trainOn(data, join(dir, Object.keys(length)[0]), length);
        expect(metrics.at(-1)!.validation).to.include({ measured: 16, available: 16 });
      }
    });
  });

  it('measures a part that is spread over the set, the same one every time', async () => {
    const text = Array.from({ length: 4000 }, (_, i) => 'abcd'[Math.floor(i / 1000)]).join('');
    const data = textDataset({ text, tokenizer: 'characters', sequenceLength: 4, validationFraction: 0.9 });
    const N = data.evaluationSize;
    expect(N).to.equal(900);
    const firsts = (spread: boolean, batches: number): number[] =>
      [...data.evaluation(2, spread)].slice(0, batches).flatMap((batch) => [batch.inputs[0], batch.inputs[4] ?? 0]);
    expect(new Set(firsts(false, 20)).size).to.equal(1);
    for (const batches of [3, 20, 33]) expect(new Set(firsts(true, batches)).size, `${batches}`).to.equal(4);
    for (const n of [1, 2, 3, 7, 256, 900]) {
      const task = createTask('copy', { length: 6, symbols: 64, evaluationSize: n });
      const sequences = (spread: boolean): string[] =>
        [...task.evaluation(1, spread)].map(({ inputs }) => inputs.join(' ')).sort();
      expect(sequences(true)).to.eql(sequences(false));
    }
    using model = tinyModel(data);
    const options = { batchSize: 2, maxBatches: 10 };
    const found = await evaluate(model, data, options);
    expect(found).to.include({ measured: 20, available: N, labels: 80 });
    expect(await evaluate(model, data, options)).to.eql(found);
    const shown: [number, number][] = [];
    const late = await evaluate(model, data, {
      batchSize: 2,
      maxSeconds: 0,
      onProgress: (...values) => shown.push(values),
    });
    expect(late.measured).to.equal(2);
    expect(shown).to.eql([[2, 2]]);
  });

  it('shows no accuracy of labels that there are none of', async () => {
    const data = createTask('associativeRecall', { ...RECALL, replaced: 0, evaluationSize: 8 });
    using model = tinyModel(data);
    expect((await evaluate(model, data)).groups).to.have.all.keys('fresh');
  });

  it('is that of the whole run when it is given anew', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 4 }), dir);
      await losses(run);
      close(run);
      const before = readFileSync(join(dir, 'config.json'), 'utf8');
      expect((await failure(resumeRun(dir, { steps: 3 }))).argument).to.equal('steps');
      expect((await failure(resumeRun(dir, { steps: null, minutes: 1e-6 }))).argument).to.equal('minutes');
      expect(readFileSync(join(dir, 'config.json'), 'utf8')).to.equal(before);
      const longer = await resumeRun(dir, { steps: 8 });
      expect(longer.trainer.learningRate).to.be.closeTo(0.5 * longer.trainer.config.learningRate, 1e-12);
      close(longer);
    });
  });
});

describe('a run that cannot begin', () => {
  it('leaves nothing on disk', async () => {
    await withFolder(async (dir) => {
      mkdirSync(join(dir, 'mine'));
      writeFileSync(join(dir, 'mine', 'notes'), '');
      const config = tinyConfig();
      const wrong = [
        { ...config, model: { ...config.model, numHeads: 3 } },
        { ...config, data: { text: join(dir, 'none'), tokens: 'bytes', sequenceLength: 4, validationFraction: 0.1 } },
        { ...config, data: { task: 'parity', options: { minLength: 0 } } },
      ] as (typeof config)[];
      for (const each of wrong) {
        for (const out of [join(dir, 'new', 'run'), join(dir, 'mine')]) await failure(startRun(each, out));
      }
      expect(readdirSync(dir, { recursive: true })).to.have.members(['mine', join('mine', 'notes')]);
      expect((await failure(checkStart(wrong[0], join(dir, 'new')))).argument).to.equal('numHeads');
      expect(() => checkRunConfig({ ...config, data: { task: 'parity', options: { seed: 1 } } }, 'file')).to.throw(
        'data.options.seed',
      );
      const broken = { ...createTask('copy'), batch: () => expect.fail('no data') } as Dataset;
      await failure(trainOn(broken, join(dir, 'new', 'run'), { steps: 3 }));
      expect(existsSync(join(dir, 'new'))).to.equal(false);
    });
  });

  it('leaves a folder that is no run as it was, and names the runs in it', async () => {
    await withFolder(async (dir) => {
      writeFileSync(join(dir, 'config.json'), '{}');
      await failure(startRun(tinyConfig(), dir));
      await failure(resumeRun(dir));
      expect(readdirSync(dir)).to.eql(['config.json']);
      close(await startRun(tinyConfig(), join(dir, 'outer', 'a')));
      for (const look of [resolveCheckpoint, resumeRun]) {
        expect((await failure(look(join(dir, 'outer')))).message).to.include(join(dir, 'outer', 'a'));
      }
    });
  });
});
