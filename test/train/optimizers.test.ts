// Runs with each optimiser and schedule: they learn, and go on bit for bit.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import '../../lib';
import { devices } from '../../lib/backends';
import { createModel } from '../../lib/models';
import type { AdamW } from '../../lib/optim';
import { fillTraining, OPTIMIZERS, type RunDtype, resumeRun, SCHEDULES, startRun } from '../../lib/train';
import { makeOptimizer, scheduleOver } from '../../lib/train/optimizer';
import type { TrainingConfig } from '../../lib/train';
import { expectError, expectRejection } from '../support/errors';
import { close, losses, tinyConfig, weights, withFolder } from './support';

/** Every optimiser and every schedule at least once. */
const RUNS: readonly [Partial<TrainingConfig>, RunDtype?][] = [
  [{ optimizer: 'adam', schedule: 'constant' }],
  [{ optimizer: 'lion', schedule: 'linear', floor: 0.1 }, 'bfloat16'],
  [{ optimizer: 'adafactor', schedule: 'oneCycle' }],
  [{ optimizer: 'muon', schedule: 'oneCycle', floor: 0.1 }, 'bfloat16'],
  [{ optimizer: 'muon', clip: null }],
  [{ optimizer: 'sgd', schedule: 'reduceOnPlateau', patience: 0, plateauFactor: 0.5, validateEvery: 2, warmup: 1 }],
];

describe('optimisers and schedules of runs', () => {
  it('each is in the list above', () => {
    expect(RUNS.map(([t]) => t.optimizer ?? 'adamw')).to.include.members(
      Object.keys(OPTIMIZERS).filter((name) => name !== 'adamw'),
    );
    expect(RUNS.map(([t]) => t.schedule ?? 'cosine')).to.have.members([...SCHEDULES, 'oneCycle']);
  });

  for (const { device, available } of devices()) {
    if (!available) continue;
    // What each optimiser computes is compared on every device where they are tested.
    for (const [training, dtype = 'float32'] of device === 'cpu' ? RUNS : RUNS.slice(-1)) {
      const { optimizer, schedule = 'cosine' } = training;
      it(`${optimizer}, ${schedule}, ${dtype}: resumes bit for bit on ${device}`, async () => {
        await withFolder(async (dir) => {
          const config = tinyConfig({ steps: 6, ...training }, device, dtype);
          const whole = await startRun(config, join(dir, 'whole'));
          const expected = await losses(whole);
          const first = await startRun(config, join(dir, 'parts'));
          await losses(first, 3);
          const reached = first.trainer.step;
          const second = await resumeRun(join(dir, 'parts'));
          expect(await losses(second)).to.eql(expected.slice(reached));
          expect(weights(second)).to.eql(weights(whole));
          const rates = (run: typeof whole): Promise<number[]> =>
            run.folder.metrics().then((lines) => lines.flatMap(({ learningRate }) => learningRate ?? []));
          expect(await rates(second)).to.eql(await rates(whole));
          for (const run of [whole, first, second]) close(run);
        });
      });
    }
  }

  it('a plateau of validations reduces the learning rate, down to the floor, and is part of a checkpoint', async () => {
    await withFolder(async (dir) => {
      const plateau = { schedule: 'reduceOnPlateau', patience: 0, plateauFactor: 0.5, floor: 0.2 } as const;
      const settings = { ...plateau, steps: 10, validateEvery: 2, warmup: 0, learningRate: 0, batchSize: 1 };
      const run = await startRun(tinyConfig(settings), dir);
      await losses(run);
      const path = join(run.folder.checkpointPath(10), 'trainer.json');
      const state = JSON.parse(readFileSync(path, 'utf8')) as { plateau: { share: number; best: number } };
      // Without a learning rate the loss never changes: the validations of steps 4, 6 and 8 are no better.
      expect(state.plateau.share).to.equal(0.2);
      expect(run.trainer.learningRate).to.equal(0);
      close(run);
      const resumed = await resumeRun(dir, { steps: 11, learningRate: 1 });
      expect([resumed.trainer.learningRate, resumed.trainer.finalLearningRate]).to.eql([0.2, 0.2]);
      close(resumed);
      // The best loss of the validations before counts, too.
      writeFileSync(path, JSON.stringify({ ...state, plateau: { ...state.plateau, best: 0, share: 1 } }));
      const further = await resumeRun(dir, { steps: 13, learningRate: 1e-9 });
      await losses(further);
      expect(further.trainer.learningRate).to.equal(5e-10);
      close(further);
      const last = join(further.folder.checkpointPath(13), 'trainer.json');
      for (const [plateau, message] of [
        [{ ...state.plateau, badSteps: -1 }, /badSteps/],
        [{ ...state.plateau, share: 2 }, /plateau.share/],
      ] as const) {
        const now = JSON.parse(readFileSync(last, 'utf8')) as object;
        writeFileSync(last, JSON.stringify({ ...now, plateau }));
        await expectRejection('FORMAT', message, resumeRun(dir, { steps: 14 }));
      }
    });
  });

  it('the schedules over the progress of a run', () => {
    const at = (given: Partial<TrainingConfig>): number[] => {
      const f = scheduleOver(fillTraining(given));
      return [0, 0.3, 0.5, 1].map((p) => +f(p).toFixed(5));
    };
    expect(at({})).to.eql([1, 0.79389, 0.5, 0]);
    expect(at({ schedule: 'linear', floor: 0.5 })).to.eql([1, 0.85, 0.75, 0.5]);
    expect(at({ schedule: 'constant' })).to.eql([1, 1, 1, 1]);
    expect(at({ schedule: 'reduceOnPlateau' })).to.eql([1, 1, 1, 1]);
    expect(at({ schedule: 'oneCycle', floor: 0.01 })).to.eql([0.04, 1, 0.81363, 0.01]);
    const momentum = scheduleOver(fillTraining({ schedule: 'oneCycle' })).momentum!;
    expect([0, 0.3, 1].map((p) => +momentum(p).toFixed(5))).to.eql([0.95, 0.85, 0.95]);
  });

  it('muon is for the matrices inside, weight decay for all of them', () => {
    using model = createModel('deltanet', { vocabSize: 7, hiddenSize: 8, numLayers: 1, numHeads: 1, device: 'js' });
    const groups = makeOptimizer(fillTraining({ optimizer: 'muon' }), model.namedParameters()).paramGroups;
    const settings = groups.map((g) => [(g as unknown as { useMuon: boolean }).useMuon, g.weightDecay, g.lr]);
    expect(settings).to.eql([
      [true, 0.1, 2e-3],
      [false, 0.1, 2e-3],
      [false, 0, 2e-3],
    ]);
    expect(groups.flatMap((g) => g.params)).to.have.members(model.parameters());
    // The embedding, the head and three short convolutions.
    expect(groups[1].params.length).to.equal(5);
  });

  it('one cycle moves momentum; settings that make no sense are refused, so is another optimiser for a run that has begun', async () => {
    expect(fillTraining({ optimizer: 'lion' })).to.include({ learningRate: 3e-4, beta2: 0.99 });
    expectError('INVALID_ARGUMENT', /training: optimizer must be 'adamw'/, () => {
      fillTraining({ optimizer: 'AdamW' as never });
    });
    expectError('INVALID_ARGUMENT', /training: schedule/, () => fillTraining({ schedule: 'cos' as never }));
    expectError('INVALID_ARGUMENT', /warmup must be 0/, () => fillTraining({ schedule: 'oneCycle', warmup: 5 }));
    expectError('INVALID_ARGUMENT', /patience/, () => fillTraining({ patience: -1 }));
    expectError('INVALID_ARGUMENT', /plateauFactor/, () => fillTraining({ plateauFactor: 2 }));
    await withFolder(async (dir) => {
      const run = await startRun(tinyConfig({ steps: 1, schedule: 'oneCycle' }), dir);
      await losses(run);
      const { optimizer } = run.trainer as unknown as { optimizer: AdamW };
      expect(optimizer.paramGroups.map((g) => g.betas[0])).to.eql([0.95, 0.95]);
      close(run);
      await expectRejection(
        'INVALID_ARGUMENT',
        /optimizer must be that of the run, 'adamw', got 'lion'/,
        resumeRun(dir, { steps: 2, optimizer: 'lion' }),
      );
    });
  });
});
