// Bad input to optimisers: nothing is changed, and the error names what is wrong.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
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

    it('clipping takes tensors, and says so', () => {
      const p = parameter();
      p.square().sum().backward();
      for (const wrong of [[['a', p]], [{ params: [p] }], new Set([p]), p, undefined] as unknown as fw.Tensor[][]) {
        expectError('INVALID_ARGUMENT', /parameters must be a list of tensors/, () => fw.optim.clipGradNorm(wrong, 1));
      }
      expect(p.grad!.tolist()).to.deep.equal([2, 2, 2]);
    });

    it('buffers without a count of their steps are refused', () => {
      const p = parameter();
      const optimizer = new fw.optim.Adam([['constructor', p]], { lr: 0.1 });
      p.square().sum().backward();
      optimizer.step();
      optimizer.loadState(optimizer.state());
      for (const parameterSteps of [{}, { constructor: 0 }, 0, false]) {
        const state = { ...optimizer.state(), parameterSteps } as never;
        expectError('INVALID_ARGUMENT', /parameterSteps/, () => optimizer.loadState(state));
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

    it("a group's rate survives a base rate of 0", () => {
      const [p, q] = [parameter(), parameter()];
      const optimizer = new fw.optim.SGD([{ params: [p], lr: 0.5 }, { params: [q] }], { lr: 0 });
      p.grad = fw.ones([3], where);
      q.grad = fw.ones([3], where);
      optimizer.step();
      expect([p.tolist(), q.tolist()]).to.deep.equal([
        [0.5, 0.5, 0.5],
        [1, 1, 1],
      ]);
      optimizer.lr = 0.25;
      optimizer.step();
      expect([p.tolist(), q.tolist()]).to.deep.equal([
        [0, 0, 0],
        [0.75, 0.75, 0.75],
      ]);
    });

    it('unknown options are refused with the nearest known one, in groups, too', () => {
      const p = parameter();
      const refuse = (message: RegExp, make: () => unknown): void => {
        expectError('INVALID_ARGUMENT', message, make);
      };
      refuse(/AdamW: unknown option weigthDecay; did you mean weightDecay/, () => {
        new fw.optim.AdamW([p], { weigthDecay: 0 } as never);
      });
      refuse(/SGD: unknown option momentun; did you mean momentum/, () => {
        new fw.optim.SGD([{ params: [p], momentun: 0.9 } as never]);
      });
      refuse(/Adam: options must be an object, got 0.1/, () => new fw.optim.Adam([p], 0.1 as never));
      refuse(/cosine: unknown option warmpu/, () => fw.optim.cosine(10, { warmpu: 1 } as never));
      new fw.optim.SGD([p], { lr: undefined }).step();
    });

    it('settings out of range are refused, those of groups and of the rate of now, too', () => {
      const p = parameter();
      const wrong: Partial<fw.optim.AdamSettings>[] = [
        { lr: NaN },
        { lr: Infinity },
        { lr: '1' as never },
        { weightDecay: NaN },
        { weightDecay: -0.1 },
        { betas: [NaN, 0.9] },
        { betas: [0.9, 1] },
        { betas: [0.9] as never },
        { eps: -1e-8 },
        { eps: Infinity },
      ];
      for (const settings of wrong) {
        const [name] = Object.keys(settings);
        for (const make of [
          () => new fw.optim.AdamW([p], settings),
          () => new fw.optim.Adam([{ params: [p], ...settings }]),
        ]) {
          expect(expectError('INVALID_ARGUMENT', new RegExp(`Adam(W)?: ${name} must be`), make).argument).to.equal(
            name,
          );
        }
      }
      expectError('INVALID_ARGUMENT', /momentum/, () => new fw.optim.SGD([p], { momentum: NaN }));
      expectError('INVALID_ARGUMENT', /nesterov/, () => new fw.optim.SGD([p], { nesterov: 1 as never }));
      const optimizer = new fw.optim.SGD([p]);
      optimizer.lr = NaN;
      expectError('INVALID_ARGUMENT', /SGD.step: lr/, () => optimizer.step());
      expect(optimizer.steps).to.equal(0);
    });

    it('what is no parameter is refused', () => {
      const p = parameter();
      for (const given of [undefined, p, 3, [null], [['a', null]], [[p, 'a']], [{ params: p }], [{ params: [3] }]]) {
        expectError('INVALID_ARGUMENT', /SGD: param/, () => new fw.optim.SGD(given as never));
      }
      expectError('INVALID_ARGUMENT', /parameter a must be given once/, () => {
        new fw.optim.SGD([
          ['a', p],
          ['a', parameter()],
        ]);
      });
      expectError('GRAPH', /parameter 0 must be a leaf/, () => new fw.optim.SGD([p.mul(2)]));
    });

    it('clipping without gradients finds a norm of 0; frozen parameters do not count', () => {
      const [p, q] = [parameter(), parameter()];
      expect(fw.optim.clipGradNorm([], 1).tolist()).to.deep.equal([0]);
      const none = fw.optim.clipFactor([p], 1);
      expect([none.norm.tolist(), none.factor.tolist(), none.norm.device]).to.deep.equal([[0], [1], where.device]);
      p.grad = fw.full([3], 2, where);
      q.grad = fw.full([3], 1e3, where);
      q.requiresGrad = false;
      expect(fw.optim.clipGradNorm([p, q], 1).item()).to.be.closeTo(Math.sqrt(12), 1e-6);
      expect(q.grad.tolist()).to.deep.equal([1e3, 1e3, 1e3]);
      for (const maxNorm of [NaN, -1, Infinity, '1']) {
        expectError('INVALID_ARGUMENT', /maxNorm/, () => fw.optim.clipGradNorm([p], maxNorm as number));
      }
      p.grad = fw.full([3], 2, where);
      const elsewhere = fw.full([3], 1, { device: other, requiresGrad: true });
      elsewhere.grad = fw.ones([3], { device: other });
      expectError('DEVICE', /parameters/, () => fw.optim.clipGradNorm([p, elsewhere], 1));
      expect(p.grad.tolist()).to.deep.equal([2, 2, 2]);
    });
  });
}
