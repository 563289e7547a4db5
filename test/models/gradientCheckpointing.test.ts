// Activations that are computed again: the same losses and gradients with less memory.
import { expect } from 'chai';
import * as fw from '../../lib';
import { EVERY_PART } from '../support/everyPart';
import { expectError } from '../support/errors';

const SIZES = { vocabSize: 11, hiddenSize: 16, numLayers: 2, numHeads: 2 } as const;

for (const device of ['cpu', 'js'] as const) {
  describe(`gradient checkpointing on ${device}`, () => {
    const bytes = (): number => fw.memory().devices.reduce((sum, d) => sum + d.bytes, 0);
    const ids = (): fw.Tensor =>
      fw.tensor(
        Int32Array.from({ length: 24 }, (_, i) => (7 * i) % 11),
        { shape: [2, 12], device, dtype: 'int32' },
      );

    for (const name of ['linear-transformer', 'gated-deltaproduct', 'kda', 'rwkv7', 'mamba3', 'mesa-net'] as const) {
      it(`of ${name} gives the same bits where states are kept on the way`, () =>
        fw.scope(() => {
          fw.manualSeed(3);
          const model = fw.createModel(name, { ...SIZES, device });
          const long = Int32Array.from({ length: 100 }, (_, i) => (7 * i) % 11);
          const batch = fw.tensor(long, { shape: [1, 100], device, dtype: 'int32' });
          const [less, more] = [true, false].map((on) => {
            model.gradientCheckpointing = on;
            model.zeroGrad();
            model.forward(batch, { labels: batch }).loss.backward();
            return model.namedParameters().map(([, t]) => Array.from(t.grad!.dataSync()));
          });
          expect(less).to.eql(more);
        }));
    }

    for (const { name } of fw.models.modelFamilies) {
      it(`of ${name}`, () => {
        fw.scope(() => {
          fw.manualSeed(3);
          const model = fw.createModel(name, { ...SIZES, ...EVERY_PART[name], device, gradientCheckpointing: true });
          expect(model.gradientCheckpointing).to.equal(true);
          const batch = ids();
          /** Loss, gradients, and what is alive between the two passes. */
          const run = (): { loss: number; gradients: Record<string, number[]>; alive: number } =>
            fw.scope(() => {
              const before = bytes();
              const loss = fw.scope(() => model.forward(batch, { labels: batch }).loss);
              const alive = bytes() - before;
              loss.backward();
              const gradients = Object.fromEntries(
                model.namedParameters().map(([path, t]) => [path, Array.from(t.grad!.dataSync())]),
              );
              model.zeroGrad();
              return { loss: loss.item(), gradients, alive };
            });
          const less = run();
          model.gradientCheckpointing = false;
          const more = run();
          expect(less.loss).to.equal(more.loss);
          expect(less.gradients).to.eql(more.gradients);
          expect(less.alive).to.be.below(0.7 * more.alive);
          model.dispose();
        });
      });
    }

    it('goes on from a state, whose gradients are the same, too', () => {
      fw.scope(() => {
        fw.manualSeed(4);
        const model = fw.createModel('gated-deltanet', { ...SIZES, device });
        const batch = ids();
        const run = (on: boolean): number[][] =>
          fw.scope(() => {
            model.gradientCheckpointing = on;
            const { state } = model.forward(batch, { outputState: true });
            const second = model.forward(batch, { labels: batch, state, outputState: true });
            second.loss.backward();
            const found = model.parameters().map((t) => Array.from(t.grad!.dataSync()));
            model.zeroGrad();
            return [Array.from(second.logits.dataSync()), ...found];
          });
        expect(run(true)).to.eql(run(false));
        model.dispose();
      });
    });

    it('is true or false', () => {
      const model = fw.createModel('lstm', { ...SIZES, device });
      expect(model.gradientCheckpointing).to.equal(false);
      expectError('INVALID_ARGUMENT', /gradientCheckpointing must be true or false/, () => {
        model.gradientCheckpointing = 1 as never;
      });
      expectError('INVALID_ARGUMENT', /gradientCheckpointing must be true or false/, () =>
        fw.createModel('lstm', { ...SIZES, device, gradientCheckpointing: 'yes' as never }),
      );
      model.dispose();
    });
  });
}
