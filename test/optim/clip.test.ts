// Kinds of clipping against their definitions.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

const { clipEachGradNorm, clipFactor, clipGradNorm, clipGradValue } = fw.optim;

for (const where of targets().filter(({ dtype }) => dtype === 'float32')) {
  describe(`clipping on ${where.device}`, () => {
    const values = [
      Array.from({ length: 37 }, (_, i) => Math.sin(i) * (1 + (i % 5))),
      Array.from({ length: 15 }, (_, i) => -3 * Math.cos(2 * i)),
      [],
    ];
    const leaves = (dtype: fw.DType = 'float32'): fw.Tensor[] =>
      values.map((x) => {
        const p = fw.nn.parameter(fw.zeros([x.length], { ...where, dtype }));
        p.grad = fw.tensor(x, where).to(dtype);
        return p;
      });
    const normOf = (x: number[], p: number): number =>
      p === Infinity ? Math.max(0, ...x.map(Math.abs)) : x.reduce((sum, v) => sum + Math.abs(v) ** p, 0) ** (1 / p);

    it('has the norms of PyTorch', () => {
      for (const normType of [1, 1.5, 2, 3, Infinity]) {
        for (const mixed of [false, true]) {
          const all = leaves();
          if (mixed) all[1] = leaves('bfloat16')[1];
          const seen = all.map((p) => Array.from(p.grad!.dataSync()));
          const norm = normOf(seen.flat(), normType);
          expect(clipGradNorm(all, 1, { normType }).item()).to.be.closeTo(norm, 1e-5 * norm);
          const tolerance = mixed ? 0.005 : 1e-5;
          all.forEach((p, i) => {
            expectClose(
              `${normType}`,
              p.grad!.dataSync(),
              seen[i].map((v) => v / norm),
              tolerance,
            );
          });
          expect(clipFactor(all, 100, { normType }).factor.item()).to.equal(1);
        }
      }
      const empty = leaves().slice(2);
      for (const normType of [1, 2, Infinity]) expect(clipGradNorm(empty, 1, { normType }).tolist()).to.eql([0]);
      expect(clipGradNorm([], 1, { normType: Infinity }).tolist()).to.eql([0]);
    });

    it('of each gradient by itself, and of each element', () => {
      for (const dtype of ['float32', 'bfloat16'] as const) {
        const tolerance = dtype === 'float32' ? 1e-5 : 0.005;
        for (const normType of [1, 2, Infinity]) {
          const all = leaves(dtype);
          const seen = all.map((p) => Array.from(p.grad!.dataSync()));
          const norms = clipEachGradNorm(all, 10, { normType });
          seen.forEach((x, i) => {
            const norm = normOf(x, normType);
            expectClose('norm', norms[i].dataSync(), [norm], 1e-5);
            expectClose(
              'gradient',
              all[i].grad!.dataSync(),
              x.map((v) => v * Math.min(1, 10 / norm)),
              tolerance,
            );
          });
        }
        const all = leaves(dtype);
        all[1].requiresGrad = false;
        const seen = all.map((p) => Array.from(p.grad!.dataSync()));
        clipGradValue(all, 1.5);
        expect(Array.from(all[0].grad!.dataSync())).to.eql(seen[0].map((v) => Math.max(-1.5, Math.min(1.5, v))));
        expect(Array.from(all[1].grad!.dataSync())).to.eql(seen[1]);
      }
    });

    it('says what is not finite where it is asked to, before it changes anything', () => {
      for (const bad of [NaN, Infinity]) {
        for (const normType of [1, 2, Infinity]) {
          const all = leaves();
          fw.noGrad(() => all[1].grad!.slice(0, 3, 4).fill_(bad));
          const before = all[0].grad!.tolist();
          const options = { normType, errorIfNonfinite: true };
          for (const clip of [clipGradNorm, clipEachGradNorm, clipFactor]) {
            const error = expectError('INVALID_ARGUMENT', /norm of the gradients must be finite/, () =>
              clip(all, 1, options),
            );
            expect(error.found).to.equal(String(bad));
          }
          expect(all[0].grad!.tolist()).to.eql(before);
          expect(clipGradNorm(all, 1, { normType }).item()).to.eql(bad);
        }
      }
    });

    it('refuses settings that make no sense', () => {
      const all = leaves();
      for (const normType of [0, -1, NaN, 'inf' as never]) {
        expectError('INVALID_ARGUMENT', /clipFactor: normType/, () => clipGradNorm(all, 1, { normType }));
        expectError('INVALID_ARGUMENT', /clipEachGradNorm: normType/, () => clipEachGradNorm(all, 1, { normType }));
      }
      expectError('INVALID_ARGUMENT', /did you mean normType/, () => clipFactor(all, 1, { normTyp: 1 } as never));
      expectError('INVALID_ARGUMENT', /clipValue/, () => clipGradValue(all, -1));
      expectError('INVALID_ARGUMENT', /a list of tensors/, () => clipGradValue(all[0] as never, 1));
      expectError('INVALID_ARGUMENT', /maxNorm/, () => clipEachGradNorm(all, NaN));
    });
  });
}
