// Runs that break: what was the first not to be finite, frozen parameters, no clipping.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import '../../lib';
import { devices } from '../../lib/backends';
import { type Device, FastWeightsError, manualSeed, memory, type Tensor } from '../../lib/core';
import { createTask } from '../../lib/data';
import { createModel, modelFamilies, type ModelName } from '../../lib/models';
import { Embedding, Linear, Module, parameter } from '../../lib/nn';
import { setChecks, tensor, zeros } from '../../lib/ops';
import {
  fillTraining,
  resumeRun,
  RunFolder,
  startRun,
  type TrainableModel,
  Trainer,
  type TrainingConfig,
} from '../../lib/train';
import { close, losses, tinyConfig, weights, withFolder } from './support';
import { collectGarbage } from '../support/garbage';

const places = devices().flatMap(({ device, available }) => (available ? [device] : []));
const task = createTask('associativeRecall', { nKeys: 4, nValues: 4, pairs: 4, evaluationSize: 4 });

async function failure(promise: Promise<unknown>): Promise<FastWeightsError> {
  return promise.then(
    () => expect.fail('must fail'),
    (error: FastWeightsError) => error,
  );
}

/** Two projections; from call `from` on the gradient of the first one's bias is not finite, the value is as before. */
class Fragile extends Module {
  embedding: Embedding;
  first: Linear;
  kink: Tensor;
  second: Linear;
  calls = 0;

  constructor(
    device: Device,
    private readonly from: number,
  ) {
    super();
    this.embedding = new Embedding(task.vocabSize, 8, { device });
    this.first = new Linear(8, 8, { device });
    this.kink = parameter(zeros([8], { device }));
    this.second = new Linear(8, task.vocabSize, { device });
  }

  forward(ids: Tensor): { logits: Tensor } {
    const hidden = this.first.forward(this.embedding.forward(ids));
    const bent = this.calls++ >= this.from ? hidden.add(this.kink.sub(this.kink.detach()).sqrt()) : hidden;
    return { logits: this.second.forward(bent) };
  }

  savePretrained(): Promise<void> {
    return Promise.resolve();
  }
}

async function trainerOf(dir: string, model: TrainableModel, training: object = {}): Promise<Trainer> {
  const folder = await RunFolder.create(dir, {});
  const lengths = { steps: 6, batchSize: 2, warmup: 0, ...training };
  return new Trainer({ model, data: task, folder, training: lengths });
}

for (const device of places) {
  describe(`runs that break on ${device}`, () => {
    // Checks of values would stop a run before its numbers do.
    beforeEach(() => setChecks(false));
    afterEach(() => setChecks('values'));

    it('name a parameter that is not finite when they begin', async () => {
      await withFolder(async (dir) => {
        for (const value of [NaN, -Infinity]) {
          const run = await startRun(tinyConfig({ steps: 3 }, device), join(dir, String(value)));
          const [name, bad] = run.model.namedParameters()[3];
          const data = Float32Array.from(bad.dataSync());
          data[1] = value;
          run.model.loadStateDict({ [name]: tensor(data, { shape: bad.shape }) }, { strict: false });
          const error = await failure(run.trainer.run());
          expect([error.code, error.argument, error.found]).to.eql(['INVALID_ARGUMENT', name, String(value)]);
          close(run);
        }
      });
    });

    for (const checks of [false, true]) {
      it(`name a parameter that a step made infinite, with checks ${checks ? 'on' : 'off'}`, async () => {
        await withFolder(async (dir) => {
          const run = await startRun(tinyConfig({ learningRate: 1e39, warmup: 0 }, device), dir);
          setChecks(checks);
          const error = await failure(run.trainer.run());
          expect(error.message).to.match(/parameter model.embeddings.weight became -?(Infinity|NaN)/);
          expect(error.message).to.match(/step 2/);
          expect([error.code, error.argument]).to.eql(['INVALID_ARGUMENT', 'learningRate']);
          close(run);
        });
      });
    }

    it('name the gradient that was the first not to be finite, and change nothing any more', async () => {
      await withFolder(async (dir) => {
        const model = new Fragile(device, 3);
        const trainer = await trainerOf(dir, model, { checkpointEvery: 1 });
        const error = await failure(trainer.run());
        expect(error.message).to.match(
          /the gradient norm of step 4 is (NaN|Infinity), first in the gradient of kink, which holds (NaN|-?Infinity)/,
        );
        expect(error.message).to.include('the checkpoint of step 3 is kept');
        for (const [name, t] of model.namedParameters()) {
          expect(t.dataSync().every(Number.isFinite), name).to.equal(true);
          expect(t.grad, name).to.equal(null);
        }
        trainer.dispose();
        model.dispose();
      });
    });

    it('say so when it is the loss', async () => {
      await withFolder(async (dir) => {
        const model = new Fragile(device, Infinity);
        const trainer = await trainerOf(dir, model);
        const forward = model.forward.bind(model);
        model.forward = (ids) => ({ logits: forward(ids).logits.mul(model.calls > 2 ? Infinity : 1) });
        const error = await failure(trainer.run());
        expect(error.message).to.match(/the loss of step 3 is NaN, from finite parameters; there is no checkpoint yet/);
        trainer.dispose();
        model.dispose();
      });
    });
  });

  describe(`training on ${device}`, () => {
    const rounded = (name: ModelName, steps: number): ReturnType<typeof tinyConfig> => {
      const tiny = tinyConfig({ steps, validateEvery: 100, checkpointEvery: 100 }, device, 'bfloat16');
      return { ...tiny, model: { ...tiny.model, name } as typeof tiny.model };
    };

    for (const { name } of modelFamilies) {
      it(`${name} in bfloat16`, async () => {
        await withFolder(async (dir) => {
          const run = await startRun(rounded(name, 2), dir);
          expect((await losses(run)).every((loss) => loss > 0 && loss < 10)).to.equal(true);
          close(run);
        });
      });
    }

    it('resumes bit for bit where some parameters of a bfloat16 model are float32', async () => {
      await withFolder(async (dir) => {
        const whole = await startRun(rounded('kda', 5), join(dir, 'whole'));
        const expected = await losses(whole);
        const part = await startRun(rounded('kda', 5), join(dir, 'part'));
        await losses(part, 2);
        const resumed = await resumeRun(join(dir, 'part'));
        expect(await losses(resumed)).to.eql(expected.slice(part.trainer.step));
        expect(weights(resumed)).to.eql(weights(whole));
        for (const run of [whole, part, resumed]) close(run);
      });
    });

    it('leaves frozen parameters as they are', async () => {
      await withFolder(async (dir) => {
        const bytes = (): number => memory().devices.reduce((sum, d) => sum + d.bytes, 0);
        await collectGarbage();
        const before = bytes();
        manualSeed(1);
        const sizes = { vocabSize: task.vocabSize, hiddenSize: 16, numLayers: 2, numHeads: 2 };
        const model = createModel('deltanet', { ...sizes, device });
        const frozen = (name: string): boolean => /layers\.0\.|embeddings/.test(name);
        for (const [name, t] of model.namedParameters()) t.requiresGrad = !frozen(name);
        const values = (): unknown[] => model.namedParameters().map(([name, t]) => [name, Array.from(t.dataSync())]);
        const start = values();
        const trainer = await trainerOf(dir, model);
        await trainer.run();
        values().forEach((now, i) => {
          if (frozen((now as [string])[0])) expect(now).to.eql(start[i]);
          else expect(now).to.not.eql(start[i]);
        });
        trainer.dispose();
        model.dispose();
        expect(bytes()).to.equal(before);
      });
    });
  });
}

describe('clipping in a run', () => {
  it('is a number above 0, or null for none', async () => {
    for (const clip of [0, -1, NaN, Infinity, '1']) {
      expect(() => fillTraining({ clip } as Partial<TrainingConfig>), String(clip)).to.throw(
        FastWeightsError,
        /training: clip must be a number above 0, or null for none/,
      );
    }
    await withFolder(async (dir) => {
      // Gradients that are never as long as the bound are the same without one.
      const [loose, none] = await Promise.all(
        [1e6, null].map((clip) => startRun(tinyConfig({ clip, steps: 4 }), join(dir, String(clip)))),
      );
      expect(await losses(none)).to.eql(await losses(loose));
      [loose, none].forEach(close);
    });
  });

  it('of 0 in an older run is refused, and may be given anew', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 2 }), dir);
      await losses(run);
      close(run);
      const path = join(dir, 'config.json');
      const config = JSON.parse(readFileSync(path, 'utf8')) as { training: { clip: number | null } };
      config.training.clip = 0;
      writeFileSync(path, JSON.stringify(config));
      expect((await failure(resumeRun(dir))).message).to.match(/clip must be a number above 0/);
      const resumed = await resumeRun(dir, { clip: null, steps: 3 });
      await losses(resumed);
      close(resumed);
    });
  });
});

describe('the state of a trainer', () => {
  it('is checked before anything is restored', async () => {
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 2 }), dir);
      await losses(run);
      const path = join(run.folder.checkpointPath(2), 'trainer.json');
      const good = JSON.parse(readFileSync(path, 'utf8')) as Record<string, object>;
      expect(Object.keys(good.optimizer)).to.eql(['steps', 'lr', 'groupLrs', 'parameterSteps']);
      const { trainer } = await startRun(tinyConfig({ steps: 2 }), join(dir, 'other'));
      const wrong: [object, RegExp][] = [
        [{ step: 1.5 }, /step/],
        [{ step: -1 }, /step/],
        [{ seconds: 'x' }, /seconds/],
        [{ generator: { seed: -1, stream: 0 } }, /generator.seed/],
        [{ generator: { seed: 0 } }, /generator.stream/],
        [{ bestLoss: 'x' }, /bestLoss/],
        [{ optimizer: { ...good.optimizer, lr: -1 } }, /lr/],
        [{ optimizer: { ...good.optimizer, parameterSteps: { x: 1 } } }, /parameterSteps/],
      ];
      for (const [change, message] of wrong) {
        writeFileSync(path, JSON.stringify({ ...good, ...change }));
        const error = await failure(trainer.restore(run.folder.checkpointPath(2)));
        expect(error.code, JSON.stringify(change)).to.equal('FORMAT');
        expect(error.message).to.match(message);
        expect(trainer.step).to.equal(0);
      }
      // As it was written before parameters were counted one by one.
      const { parameterSteps: _, ...older } = good.optimizer as { parameterSteps: object };
      writeFileSync(path, JSON.stringify({ ...good, optimizer: older }));
      const resumed = await resumeRun(dir, { steps: 4 });
      await losses(resumed);
      const again = JSON.parse(
        readFileSync(join(resumed.folder.checkpointPath(4), 'trainer.json'), 'utf8'),
      ) as typeof good;
      const { parameterSteps } = again.optimizer as { parameterSteps: Record<string, number> };
      expect(new Set(Object.values(parameterSteps))).to.eql(new Set([4]));
      [run, resumed].forEach(close);
      trainer.dispose();
    });
  });
});
