// Averages of weights.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

const { AdamW, ExponentialMovingAverage } = fw.optim;

for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
  describe(`averages of weights on ${where.device}`, () => {
    const n = 19;
    const valuesAt = (s: number): number[] => Array.from({ length: n }, (_, i) => Math.sin(s + i));
    const leaf = (dtype: fw.DType = 'float32'): fw.Tensor =>
      fw.nn.parameter(fw.tensor(valuesAt(0), { ...where, dtype }));
    const put = (p: fw.Tensor, s: number): void => {
      fw.noGrad(() => fw.scope(() => p.copy_(fw.tensor(valuesAt(s), { ...where, dtype: p.dtype }))));
    };

    it('follow their equation, float32 beside bfloat16, and go on from a saved state', () => {
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const p = leaf(dtype);
        const ema = new ExponentialMovingAverage([['p', p]], { decay: 0.75 });
        const expected = Array.from(p.dataSync());
        const take = (s: number): void => {
          put(p, s);
          p.dataSync().forEach((v, i) => (expected[i] = 0.75 * expected[i] + 0.25 * v));
        };
        for (let s = 1; s <= 3; s++) {
          take(s);
          ema.update();
        }
        const { updates, tensors } = ema.state();
        expect([updates, tensors.p.dtype]).to.eql([3, 'float32']);
        expectClose('average', tensors.p.dataSync(), expected, 1e-6);
        const resumed = new ExponentialMovingAverage([['p', p]], { decay: 0.75 });
        resumed.loadState(ema.state());
        take(4);
        [ema, resumed].forEach((e) => e.update());
        expect(resumed.state().tensors.p.dataSync()).to.eql(ema.state().tensors.p.dataSync());
        ema.copyTo();
        expect(p.dataSync()).to.eql(ema.state().tensors.p.to(dtype).dataSync());
      }
    });

    it('stand in for the weights during an evaluation, and an optimiser goes on as if they had not', async () => {
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const train = async (evaluate: boolean): Promise<unknown[]> => {
          const whole = leaf(dtype);
          const [p, q] = [fw.nn.parameter(whole.detach().slice(0, 0, 8)), fw.nn.parameter(whole.detach().slice(0, 8))];
          const named: [string, fw.Tensor][] = [
            ['p', p],
            ['q', q],
          ];
          const optimizer = new AdamW(named, { lr: 1e-4 });
          const ema = new ExponentialMovingAverage(named, { decay: 0.5 });
          for (let s = 0; s < 6; s++) {
            for (const [, t] of named) t.grad = fw.ones(t.shape, { ...where, dtype });
            optimizer.step();
            for (const [, t] of named) t.grad!.dispose();
            ema.update();
            if (!evaluate) continue;
            const before = named.map(([, t]) => t.tolist());
            const seen = ema.withAverages(() => named.map(([, t]) => t.tolist()));
            expect(seen).to.eql(named.map(([name]) => ema.state().tensors[name].to(dtype).tolist()));
            const later = await ema.withAverages(async () => {
              await Promise.resolve();
              return q.tolist();
            });
            expect(later).to.eql(seen[1]);
            expect(() =>
              ema.withAverages(() => {
                throw new Error('broken');
              }),
            ).to.throw('broken');
            await ema.withAverages(() => Promise.reject(new Error('late'))).catch(() => undefined);
            expect(named.map(([, t]) => t.tolist())).to.eql(before);
          }
          const { tensors } = optimizer.state();
          return [p.tolist(), q.tolist(), ...Object.entries(tensors).map(([name, t]) => [name, t.tolist()])];
        };
        expect(await train(true)).to.eql(await train(false));
      }
    });

    it('follow parameters that are cast, and free what they hold', () => {
      const p = leaf();
      const storages = (): number => fw.memory().devices.find((d) => d.device === where.device)!.storages;
      const live = storages();
      const ema = new ExponentialMovingAverage([p]);
      expect(storages()).to.equal(live + 1);
      ema.withAverages(() => undefined);
      ema.update();
      expect(storages()).to.equal(live + 1);
      class Holder extends fw.nn.Module {
        p = p;
      }
      new Holder().to('bfloat16');
      ema.update();
      expect(ema.state().tensors['0'].dtype).to.equal('float32');
      ema.dispose();
      expect(storages()).to.equal(live);
    });

    it('refuse what does not fit', () => {
      const p = leaf();
      expectError(
        'INVALID_ARGUMENT',
        /decay must be a number from 0 to 1/,
        () => new ExponentialMovingAverage([p], { decay: 2 }),
      );
      expectError(
        'INVALID_ARGUMENT',
        /did you mean decay/,
        () => new ExponentialMovingAverage([p], { decai: 0 } as never),
      );
      expectError('INVALID_ARGUMENT', /parameters must be a list/, () => new ExponentialMovingAverage(p as never));
      const ema = new ExponentialMovingAverage([['p', p]]);
      const good = ema.state();
      const wrong: [fw.ErrorCode, RegExp, unknown][] = [
        ['INVALID_ARGUMENT', /updates/, { ...good, updates: -1 }],
        ['INVALID_ARGUMENT', /tensors/, { updates: 0 }],
        ['INVALID_ARGUMENT', /p must be a tensor/, { updates: 0, tensors: {} }],
        ['INVALID_ARGUMENT', /averages of the same parameters/, { updates: 0, tensors: { ...good.tensors, q: p } }],
        ['SHAPE', /p must be float32 \[19\]/, { updates: 0, tensors: { p: fw.zeros([2], where) } }],
        ['INVALID_ARGUMENT', /state must be an object/, null],
      ];
      for (const [code, message, state] of wrong) expectError(code, message, () => ema.loadState(state as never));
      ema.loadState(good);
    });
  });
}
