// Training of adapters: the trainer changes nothing else, its checkpoints hold them, and a run goes on from one.
import { join } from 'node:path';
import { expect } from 'chai';
import { AutoModelForCausalLM, createModel, type models, nn, withSeed } from '../../lib';
import { createTask } from '../../lib/data';
import { RunFolder, Trainer } from '../../lib/train';
import { withFolder } from './support';

describe('training of low-rank adapters', () => {
  it('leaves the rest alone, saves them, and goes on bit for bit', async () => {
    await withFolder(async (dir) => {
      const data = createTask('associativeRecall', { nKeys: 4, nValues: 4, pairs: 4, evaluationSize: 4 });
      const make = (): models.CausalLM =>
        withSeed(1, () =>
          createModel('deltanet', {
            vocabSize: data.vocabSize,
            hiddenSize: 16,
            numLayers: 1,
            numHeads: 2,
            device: 'js',
          }),
        );
      const values = (model: models.CausalLM, of: RegExp): unknown =>
        model.namedParameters().flatMap(([name, t]) => (of.test(name) ? [[name, t.tolist()]] : []));
      const base = values(make(), /./);
      const run = async (model: models.CausalLM, name: string, steps: number, from?: string): Promise<string> => {
        const folder = await RunFolder.create(join(dir, name), {});
        const training = { steps, batchSize: 4, learningRate: 0.05, warmup: 0, floor: 1 };
        const trainer = new Trainer({ model, data, folder, training });
        if (from) await trainer.restore(from);
        const { checkpoint } = await trainer.run();
        trainer.dispose();
        return checkpoint;
      };
      const adapted = (): models.CausalLM => {
        const model = make();
        withSeed(2, () => nn.addLora(model, { rank: 2, alpha: 4, targets: 'all-linear', dropout: 0.25 }));
        return model;
      };
      const whole = adapted();
      const first = values(whole, /lora/);
      await run(whole, 'whole', 6);
      expect(values(whole, /^(?!.*lora)/)).to.eql(base);
      expect(values(whole, /lora/)).not.to.eql(first);
      const half = await run(adapted(), 'half', 3);
      const again = await AutoModelForCausalLM.fromPretrained(half, { device: 'js' });
      expect(values(again, /^(?!.*lora)/)).to.eql(base);
      await run(again, 'again', 6, half);
      expect(values(again, /lora/)).to.eql(values(whole, /lora/));
    });
  });
});
