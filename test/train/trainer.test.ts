// Runs, their folders and checkpoints.
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import '../../lib';
import { devices } from '../../lib/backends';
import { type FastWeightsError, manualSeed, memory, scope, type Tensor } from '../../lib/core';
import { checksEnabled, float32MatmulPrecision, rand, setChecks, setFloat32MatmulPrecision } from '../../lib/ops';
import { type Batch, createTask, type Dataset, IGNORED } from '../../lib/data';
import { createModel } from '../../lib/models';
import {
  checkRunConfig,
  evaluate,
  fillTraining,
  resolveCheckpoint,
  resumeRun,
  RUN_DTYPES,
  RunFolder,
  startRun,
  Trainer,
} from '../../lib/train';
import { collectGarbage } from '../support/garbage';
import { close, losses, tinyConfig, weights, withFolder } from './support';

async function failure(promise: Promise<unknown>): Promise<FastWeightsError> {
  return promise.then(
    () => expect.fail('must fail'),
    (error: FastWeightsError) => error,
  );
}

describe('training', () => {
  const places = devices().filter((d) => d.available);
  for (const { device, dtype } of places.flatMap(({ device }) => RUN_DTYPES.map((dtype) => ({ device, dtype })))) {
    it(`resumes bit for bit on ${device} in ${dtype}`, async () => {
      await withFolder(async (dir) => {
        const whole = await startRun(tinyConfig({}, device, dtype), join(dir, 'whole'));
        const expected = await losses(whole);
        const first = await startRun(tinyConfig({}, device, dtype), join(dir, 'parts'));
        await losses(first, 5);
        const reached = first.trainer.step;
        expect(reached).to.be.within(5, 6);
        const second = await resumeRun(join(dir, 'parts'));
        expect(second.trainer.step).to.equal(reached);
        expect(await losses(second)).to.eql(expected.slice(reached));
        expect(weights(second)).to.eql(weights(whole));
        const logged = (run: typeof whole): Promise<unknown[]> =>
          run.folder.metrics().then((lines) => lines.map(({ step, loss, validation }) => ({ step, loss, validation })));
        expect(await logged(second)).to.eql(await logged(whole));
        for (const run of [whole, first, second]) close(run);
      });
    });
  }

  it('is one run at a time', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 3 }), join(dir, 'a'));
      const running = run.trainer.run();
      const busy = /trainer must be free.*run is at work/;
      for (const second of [run.trainer.run(), run.trainer.restore(dir)]) {
        const { code, message } = await failure(second);
        expect([code, message]).to.satisfy(([c, m]: string[]) => c === 'INVALID_ARGUMENT' && busy.test(m));
      }
      const { checkpoint } = await running;
      await run.trainer.restore(checkpoint);
      expect((await run.trainer.run()).step).to.equal(3);
      close(run);
    });
  });

  it("trains with matmulPrecision 'medium' to nearly the same losses, and leaves the setting as it was", async () => {
    await withFolder(async (dir) => {
      const [exact, rounded] = [{}, { matmulPrecision: 'medium' as const }].map((t) => tinyConfig(t));
      const first = await startRun(exact, join(dir, 'a'));
      const second = await startRun(rounded, join(dir, 'b'));
      const [a, b] = [await losses(first), await losses(second)];
      a.forEach((loss, i) => expect(b[i]).to.be.closeTo(loss, 0.02 * loss));
      expect(float32MatmulPrecision()).to.equal('highest');
      expect(() => fillTraining({ matmulPrecision: 'low' as 'medium' })).to.throw(/training: matmulPrecision/);
      for (const run of [first, second]) close(run);
    });
  });

  it('trains to the same losses with gradientCheckpointing, which is a setting of its model', async () => {
    await withFolder(async (dir) => {
      const configs = [false, true].map((gradientCheckpointing) => tinyConfig({ gradientCheckpointing }));
      const runs = [await startRun(configs[0], join(dir, 'a')), await startRun(configs[1], join(dir, 'b'))];
      expect(runs.map((run) => run.model.gradientCheckpointing)).to.eql([false, true]);
      expect(await losses(runs[1])).to.eql(await losses(runs[0]));
      for (const run of runs) close(run);
      const resumed = await resumeRun(join(dir, 'b'));
      expect(resumed.model.gradientCheckpointing).to.equal(true);
      close(resumed);
    });
  });

  it('repeats from its config.json', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 4 }), join(dir, 'a'));
      const saved = JSON.parse(readFileSync(join(dir, 'a', 'config.json'), 'utf8')) as unknown;
      expect(checkRunConfig(saved, 'config')).to.eql(run.config);
      const again = await startRun(checkRunConfig(saved, 'config'), join(dir, 'b'));
      expect(await losses(again)).to.eql(await losses(run));
      close(run);
      close(again);
    });
  });

  it('refuses configurations that make no sense, naming what is wrong', () => {
    expect(() => fillTraining({ batchSize: 0 })).to.throw('batchSize');
    expect(() => fillTraining({ lerningRate: 1 } as never)).to.throw('unknown option lerningRate');
    expect(() => checkRunConfig([], 'file')).to.throw('an object');
    expect(() => checkRunConfig({ ...tinyConfig(), device: 'tpu' }, 'file')).to.throw('device');
    expect(() => checkRunConfig({ ...tinyConfig(), data: { task: 'nope' } }, 'file')).to.throw('data.task');
  });

  it('fails before any work where the folder cannot be written or holds a run', async () => {
    await withFolder(async (dir) => {
      writeFileSync(join(dir, 'file'), '');
      expect((await failure(startRun(tinyConfig(), join(dir, 'file', 'run')))).code).to.equal('IO');
      close(await startRun(tinyConfig(), join(dir, 'run')));
      expect((await failure(startRun(tinyConfig(), join(dir, 'run')))).message).to.include('already holds a run');
      expect((await failure(resumeRun(join(dir, 'nothing')))).code).to.equal('IO');
      expect((await failure(resumeRun(join(dir, 'run')))).message).to.include('no checkpoint');
    });
  });

  it('replaces a run that ended before its first checkpoint, but nothing else that lies in a folder', async () => {
    await withFolder(async (dir) => {
      const at = (...names: string[]): string => join(dir, ...names);
      mkdirSync(at('run', 'checkpoints', 'step-0.tmp-1-00000000'), { recursive: true });
      writeFileSync(at('run', 'config.json'), JSON.stringify(tinyConfig({ steps: 7 })));
      writeFileSync(at('run', 'metrics.jsonl'), '{"step":3,"seconds":1,"loss":9}\n');
      writeFileSync(at('run', 'tokens.safetensors.tmp-1-00000000'), '');
      expect((await failure(resumeRun(at('run')))).message)
        .to.include('nothing to resume')
        .and.to.include('start it again');
      const run = await startRun(tinyConfig({ steps: 1 }), at('run'));
      await losses(run);
      close(run);
      expect((await run.folder.metrics()).map(({ step }) => step)).to.eql([1, 1]);
      expect(readdirSync(at('run')).sort()).to.eql(['checkpoints', 'config.json', 'metrics.jsonl']);
      expect(readdirSync(at('run', 'checkpoints'))).to.eql(['step-1']);
      expect((await failure(startRun(tinyConfig(), at('run')))).message).to.include('resume it');
      const copied = await failure(resumeRun(at('run', 'checkpoints', 'step-1')));
      expect(copied.message).to.include('is one checkpoint of a run');
      mkdirSync(at('other', 'checkpoints'), { recursive: true });
      writeFileSync(at('other', 'config.json'), '{"model_type":"llama"}');
      expect((await failure(startRun(tinyConfig(), at('other')))).message).to.include('not of a run');
      expect(readFileSync(at('other', 'config.json'), 'utf8')).to.include('llama');
    });
  });

  it('refuses a folder in which another process works, and only while that is alive', async () => {
    await withFolder(async (dir) => {
      close(await startRun(tinyConfig({ steps: 1 }), dir));
      const mine = `lock-${process.pid}`;
      expect(readdirSync(dir)).to.include(mine);
      rmSync(join(dir, mine));
      writeFileSync(join(dir, `lock-${process.ppid}`), '');
      const held = `process ${process.ppid} works`;
      expect((await failure(startRun(tinyConfig(), dir))).message).to.include(held);
      expect((await failure(resumeRun(dir))).message).to.include(held);
      const { pid } = spawnSync(process.execPath, ['--version']);
      renameSync(join(dir, `lock-${process.ppid}`), join(dir, `lock-${pid}`));
      const run = await startRun(tinyConfig({ steps: 1 }), dir);
      await losses(run);
      close(run);
      expect(readdirSync(dir).filter((name) => name.startsWith('lock'))).to.eql([]);
    });
  });

  it('makes checkpoints that open as models, and keeps the last two and the best', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ checkpointEvery: 2, validateEvery: 2 }), dir);
      await losses(run);
      const all = await run.folder.listCheckpoints();
      const measured = (await run.folder.metrics()).filter((line) => line.validation);
      const best = measured.reduce((a, b) => (b.validation!.loss < a.validation!.loss ? b : a)).step;
      expect(all.map((c) => c.step)).to.eql([...new Set([best, 8, 10])].sort((a, b) => a - b));
      expect(await resolveCheckpoint(dir)).to.equal(run.folder.checkpointPath(10));
      close(run);
    });
  });

  it('ends on a loss that is not finite, its last checkpoint untouched', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ learningRate: 1e37, warmup: 0, checkpointEvery: 1 }), dir);
      setChecks(false);
      const error = await failure(run.trainer.run()).finally(() => setChecks('values'));
      expect(error.argument).to.equal('learningRate');
      expect(error.message).to.match(/the checkpoint of step \d+ is kept/);
      close(await resumeRun(dir));
      close(run);
    });
  });

  it('names a damaged checkpoint', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 2 }), dir);
      await losses(run);
      close(run);
      const checkpoint = run.folder.checkpointPath(2);
      truncateSync(join(checkpoint, 'optimizer.safetensors'), 1000);
      expect((await failure(resumeRun(dir))).message).to.include('optimizer.safetensors');
      truncateSync(join(checkpoint, 'model.safetensors'), 100);
      expect((await failure(resumeRun(dir))).message).to.include('model.safetensors');
    });
  });

  it('reads past a line of metrics that was cut short, and past folders that were never finished', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 3 }), dir);
      await losses(run);
      const before = await run.folder.metrics();
      appendFileSync(join(dir, 'metrics.jsonl'), '{"step":4,"lo');
      expect(await run.folder.metrics()).to.eql(before);
      close(run);
      close(await resumeRun(dir, { steps: 4 }));
      expect(readFileSync(join(dir, 'metrics.jsonl'), 'utf8').endsWith('}\n')).to.equal(true);
      expect(readdirSync(join(dir, 'checkpoints'))).to.eql(['step-3']);
    });
  });

  it('ends in time when time is the limit, and lets timers fire', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: null, minutes: 1 / 60, validateEvery: 1000 }), dir);
      let ticks = 0;
      const timer = setInterval(() => ticks++, 10);
      const { step, seconds } = await run.trainer.run();
      clearInterval(timer);
      expect(seconds).to.be.above(0.5);
      expect(run.trainer.totalSteps).to.equal(step);
      expect(ticks).to.be.above(10);
      const rates = (await run.folder.metrics()).flatMap((line) => line.learningRate ?? []);
      expect(rates.at(-1)).to.be.below(0.2 * Math.max(...rates));
      close(run);
    });
  });

  it('two at once, another task and every setting of the process changing meanwhile, train as each alone', async () => {
    await withFolder(async (dir) => {
      const configs = [
        tinyConfig({ steps: 12, seed: 1, matmulPrecision: 'medium' }, 'cpu'),
        tinyConfig({ steps: 12, seed: 2 }, 'cpu'),
      ];
      const train = async (name: string, i: number): Promise<{ found: number[]; final: object }> => {
        const run = await startRun(configs[i], join(dir, `${name}-${i}`));
        const found = await losses(run);
        const result = { found, final: weights(run) };
        close(run);
        return result;
      };
      const alone = [await train('alone', 0), await train('alone', 1)];
      let over = false;
      const noise = (async () => {
        const checks = checksEnabled();
        for (let i = 0; !over; i++) {
          manualSeed(i);
          setFloat32MatmulPrecision(i % 2 === 0 ? 'medium' : 'highest');
          setChecks(i % 3 === 0);
          using s = scope();
          const x = s.run(() => rand([8, 8], { device: 'cpu' }));
          await new Promise((resolve) => setTimeout(resolve, 1));
          await s.run(() => x.add(1)).data();
        }
        setChecks(checks && 'values');
        setFloat32MatmulPrecision('highest');
      })();
      const together = await Promise.all([train('together', 0), train('together', 1)]).finally(() => (over = true));
      await noise;
      expect(together).to.eql(alone);
    });
  });

  it('holds memory flat', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 120, validateEvery: 25 }), dir);
      const live: number[] = [];
      await collectGarbage();
      await run.trainer.run({
        onMetrics: ({ step }) => {
          if (step % 40 === 30) live.push(memory().devices.find((d) => d.device === 'js')!.bytes);
        },
      });
      expect(new Set(live).size).to.equal(1);
      close(run);
    });
  });

  it('frees everything', async () => {
    const bytes = (): number => memory().devices.find((d) => d.device === 'js')?.bytes ?? 0;
    await withFolder(async (dir) => {
      await collectGarbage();
      const before = bytes();
      const run = await startRun(tinyConfig({ steps: 3 }), dir);
      await losses(run);
      close(run);
      const resumed = await resumeRun(dir, { steps: 5 });
      await losses(resumed);
      close(resumed);
      expect(bytes()).to.equal(before);
    });
  });

  it('sums gradients over batches as one larger batch would, whatever the number of labels in each', async () => {
    await withFolder(async (dir) => {
      const task = fewerLabels(createTask('associativeRecall', { pairs: 4, evaluationSize: 4 }));
      expect(task.batch(0, 3).labelCount).to.be.above(task.batch(1, 3).labelCount);
      const found: number[][] = [];
      for (const accumulate of [1, 2]) {
        // Step s of the larger batch is steps 2 s and 2 s + 1 of the smaller one.
        const data: Dataset = {
          ...task,
          batch: (step) => (accumulate === 1 ? join2(task, step) : task.batch(step, 3)),
        };
        manualSeed(1);
        const model = createModel('deltanet', {
          vocabSize: task.vocabSize,
          hiddenSize: 16,
          numLayers: 1,
          numHeads: 2,
          device: 'js',
        });
        const folder = await RunFolder.create(join(dir, String(accumulate)), {});
        const trainer = new Trainer({
          model,
          data,
          folder,
          training: { steps: 4, batchSize: 3, accumulate, warmup: 0 },
        });
        await trainer.run();
        found.push((await folder.metrics()).flatMap((line) => line.loss ?? []));
        trainer.dispose();
        model.dispose();
      }
      found[0].forEach((loss, i) => expect(loss).to.be.closeTo(found[1][i], 1e-5));
    });
  });

  it('weights an evaluation by labels and tells groups apart', async () => {
    const data = createTask('associativeRecall', { nKeys: 4, nValues: 4, pairs: 4, evaluationSize: 5 });
    const first = {
      ...data,
      *evaluation(): Iterable<Batch> {
        yield* data.evaluation(5);
      },
    };
    using model = createModel('deltanet', {
      vocabSize: data.vocabSize,
      hiddenSize: 16,
      numLayers: 1,
      numHeads: 2,
      device: 'js',
    });
    const [one, two] = [await evaluate(model, first), await evaluate(model, data, { batchSize: 2 })];
    expect(one.loss).to.be.closeTo(two.loss, 1e-5);
    expect(one.groups).to.eql(two.groups).and.to.have.keys('fresh', 'replaced');
    const aborted = AbortSignal.abort();
    expect((await failure(evaluate(model, data, { signal: aborted }))).code).to.equal('ABORTED');
    expect((model as unknown as { lm_head: { weight: Tensor } }).lm_head.weight.grad).to.equal(null);
  });
});

/** The same data, but that every second batch has labels in its first row only. */
function fewerLabels(task: Dataset): Dataset {
  const batch: Dataset['batch'] = (step, size) => {
    const whole = task.batch(step, size);
    if (step % 2 === 0) return whole;
    const labels = whole.labels.map((label, i) => (i < whole.sequenceLength ? label : IGNORED));
    return { ...whole, labels, labelCount: labels.filter((label) => label !== IGNORED).length };
  };
  return { ...task, batch };
}

function join2(task: Dataset, step: number): Batch {
  const [a, b] = [task.batch(2 * step, 3), task.batch(2 * step + 1, 3)];
  return {
    ...a,
    batchSize: 6,
    inputs: Int32Array.from([...a.inputs, ...b.inputs]),
    labels: Int32Array.from([...a.labels, ...b.labels]),
    groups: Uint8Array.from([...a.groups!, ...b.groups!]),
    labelCount: a.labelCount + b.labelCount,
  };
}
