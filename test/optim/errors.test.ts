// Bad input to optimisers: nothing is changed, and the error names what is wrong.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';

for (const where of targets().filter((t) => t.dtype === 'float32')) {
  describe(`bad input to optimisers on ${where.device}`, () => {
    const parameter = (): fw.Tensor => fw.full([3], 1, { ...where, requiresGrad: true });
    const other: fw.Device = where.device === 'js' ? 'cpu' : 'js';

    it('gradients that somebody set to something else are refused', () => {
      const wrong: [fw.Tensor, RegExp][] = [
        [fw.ones([2], where), /SGD.step: gradient of 0 must be float32 \[3\]/],
        [fw.zeros([3], { ...where, dtype: 'int32' }), /gradient of 0/],
        [fw.zeros([3], { device: other }), /gradient of 0/],
        [fw.ones([3, 2], where).slice(1, 0, 1).squeeze(1), /gradient of 0 must be contiguous/],
      ];
      for (const [grad, message] of wrong) {
        const p = parameter();
        const optimizer = new fw.optim.SGD([p], { lr: 0.1 });
        p.grad = grad;
        expect(() => optimizer.step()).to.throw(fw.FastWeightsError, message);
        expect([optimizer.steps, p.tolist()]).to.deep.equal([0, [1, 1, 1]]);
      }
    });

    it('parameters given twice, settings out of range and scales that do not fit are refused', () => {
      const p = parameter();
      expect(() => new fw.optim.SGD([p, p])).to.throw(/parameter 1 must be given once/);
      expect(() => new fw.optim.SGD([{ params: [p], lr: -1 }])).to.throw(/lr/);
      expect(() => new fw.optim.AdamW([p], { betas: [1, 2] })).to.throw(/AdamW: betas/);
      expect(() => new fw.optim.AdamW([p], { betas: 3 as never })).to.throw(/AdamW: betas/);
      const optimizer = new fw.optim.AdamW([p]);
      p.grad = fw.ones([3], where);
      expect(() => optimizer.step(fw.ones([2], where))).to.throw(/AdamW.step: gradientScale/);
      expect(() => optimizer.step(5 as never)).to.throw(/AdamW.step: gradientScale/);
    });

    it('a schedule may start at a rate of 0', () => {
      const p = parameter();
      const optimizer = new fw.optim.SGD([{ params: [p], lr: 0.5 }], { lr: 0 });
      p.grad = fw.ones([3], where);
      optimizer.step();
      expect(p.tolist()).to.deep.equal([1, 1, 1]);
    });
  });
}
