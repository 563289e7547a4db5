// Optimisers against the published formulas in float64, schedules, clipping.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const { Adam, AdamW, SGD, clipFactor, clipGradNorm, cosine, warmup } = fw.optim;

/** Gradients of step s: a fixed function, so that the loops below can repeat them. */
const gradientAt = (s: number, i: number): number => Math.sin(3 * s + i) + 0.1 * i;

function adamLoop(
  n: number,
  steps: number,
  o: { lr: number; b1: number; b2: number; eps: number; wd: number; coupled: boolean },
): number[] {
  const [p, m, v] = [
    Array.from({ length: n }, (_, i) => 1 - i / n),
    new Array<number>(n).fill(0),
    new Array<number>(n).fill(0),
  ];
  for (let s = 1; s <= steps; s++) {
    for (let i = 0; i < n; i++) {
      const g = gradientAt(s, i) + (o.coupled ? o.wd * p[i] : 0);
      if (!o.coupled) p[i] -= o.lr * o.wd * p[i];
      m[i] = o.b1 * m[i] + (1 - o.b1) * g;
      v[i] = o.b2 * v[i] + (1 - o.b2) * g * g;
      p[i] -= (o.lr * m[i]) / (1 - o.b1 ** s) / (Math.sqrt(v[i] / (1 - o.b2 ** s)) + o.eps);
    }
  }
  return p;
}

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`optimisers on ${device}`, () => {
    const n = 37;
    const start = (): fw.Tensor =>
      fw.nn.parameter(
        fw.tensor(
          Array.from({ length: n }, (_, i) => 1 - i / n),
          { device },
        ),
      );
    const run = (make: (p: fw.Tensor) => { step(): void }, p: fw.Tensor, steps: number): ArrayLike<number> => {
      const optimizer = make(p);
      for (let s = 1; s <= steps; s++) {
        p.grad = fw
          .tensor(
            Array.from({ length: n }, (_, i) => gradientAt(s, i)),
            { device },
          )
          .persist();
        optimizer.step();
        p.grad.dispose();
        p.grad = null;
      }
      return p.dataSync();
    };

    it('AdamW and Adam', () => {
      const w = run((p) => new AdamW([['p', p]], { lr: 0.01, weightDecay: 0.1 }), start(), 5);
      expectClose(
        'AdamW',
        w,
        adamLoop(n, 5, { lr: 0.01, b1: 0.9, b2: 0.999, eps: 1e-8, wd: 0.1, coupled: false }),
        1e-6,
      );
      const a = run((p) => new Adam([['p', p]], { lr: 0.01, weightDecay: 0.1, betas: [0.9, 0.95] }), start(), 5);
      expectClose('Adam', a, adamLoop(n, 5, { lr: 0.01, b1: 0.9, b2: 0.95, eps: 1e-8, wd: 0.1, coupled: true }), 1e-6);
    });

    it('SGD with momentum and Nesterov', () => {
      const [p, b] = [Array.from({ length: n }, (_, i) => 1 - i / n), new Array<number>(n).fill(0)];
      for (let s = 1; s <= 4; s++) {
        for (let i = 0; i < n; i++) {
          const g = gradientAt(s, i) + 0.05 * p[i];
          b[i] = 0.9 * b[i] + g;
          p[i] -= 0.1 * (g + 0.9 * b[i]);
        }
      }
      const settings = { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.05 };
      expectClose(
        'SGD',
        run((t) => new SGD([['p', t]], settings), start(), 4),
        p,
        1e-6,
      );
    });

    it('groups have settings of their own; state goes out and in', () => {
      const [a, b] = [start(), start()];
      const groups = (x: fw.Tensor, y: fw.Tensor): fw.optim.AdamW =>
        new AdamW([{ params: [['a', x]] }, { params: [['b', y]], weightDecay: 0, lr: 0.2 }], {
          weightDecay: 0.5,
          lr: 0.1,
        });
      const first = groups(a, b);
      const give = (t: fw.Tensor): void => {
        t.grad = fw.ones([n], { device }).persist();
      };
      [a, b].forEach(give);
      first.step();
      expect(a.dataSync()[0]).to.be.closeTo(1 - 0.1 * 0.5 - 0.1, 1e-5);
      expect(b.dataSync()[0]).to.be.closeTo(1 - 0.2, 1e-5);
      const second = groups(a, b);
      second.loadState(first.state());
      expect(second.steps).to.equal(1);
      expect(second.state().tensors['a.mean'].dataSync()).to.deep.equal(first.state().tensors['a.mean'].dataSync());
      expectError('INVALID_ARGUMENT', /buffers of the same parameters/, () =>
        second.loadState({ ...first.state(), tensors: { 'c.mean': a } }),
      );
    });

    const bfloat16 = (): fw.Tensor => fw.nn.parameter(fw.full([n], 1, { device, dtype: 'bfloat16' }));
    const step = (optimizer: { step(): void }, p: fw.Tensor, gradient: number): void => {
      p.grad = fw.full([n], gradient, { device, dtype: 'bfloat16' }).persist();
      optimizer.step();
      p.grad.dispose();
      p.grad = null;
    };
    const makers: [string, (p: fw.Tensor) => fw.optim.AdamW | fw.optim.Adam | fw.optim.SGD][] = [
      ['AdamW', (p) => new AdamW([['p', p]], { lr: 1e-3, weightDecay: 0 })],
      ['Adam', (p) => new Adam([['p', p]], { lr: 1e-3 })],
      ['SGD', (p) => new SGD([['p', p]], { lr: 1e-3, momentum: 0.5 })],
    ];

    for (const [name, make] of makers) {
      it(`${name}: small steps of bfloat16 parameters add up, also over a saved state`, () => {
        const [p, q, exact] = [bfloat16(), bfloat16(), fw.nn.parameter(fw.ones([n], { device }))];
        const [optimizer, reference] = [make(p), make(exact)];
        for (let s = 0; s < 20; s++) {
          step(optimizer, p, 1);
          exact.grad = fw.ones([n], { device }).persist();
          reference.step();
          exact.grad.dispose();
          exact.grad = null;
        }
        const { tensors } = optimizer.state();
        for (const t of Object.values(tensors)) expect(t.dtype).to.equal('float32');
        expect(tensors['p.master'].dataSync()).to.deep.equal(exact.dataSync());
        expect(p.dataSync()).to.deep.equal(exact.to('bfloat16').dataSync());
        expect(p.dataSync()[0]).to.be.below(0.99);

        fw.noGrad(() => q.copy_(p));
        const resumed = make(q);
        resumed.loadState(optimizer.state());
        [step(optimizer, p, 1), step(resumed, q, 1)];
        expect(resumed.state().tensors['p.master'].dataSync()).to.deep.equal(tensors['p.master'].dataSync());
      });
    }

    it('a bfloat16 parameter that somebody changed goes on from its new value', () => {
      const p = bfloat16();
      const optimizer = new SGD([p], { lr: 0.5 });
      step(optimizer, p, 1);
      expect(p.dataSync()[0]).to.equal(0.5);
      fw.noGrad(() => p.fill_(3));
      step(optimizer, p, 1);
      expect(p.dataSync()[0]).to.equal(2.5);
    });

    it('clips bfloat16 gradients by a factor in float32', () => {
      const p = bfloat16();
      p.grad = fw.full([n], 3, { device, dtype: 'bfloat16' }).persist();
      const { factor, norm } = clipFactor([p], 1);
      expect([factor.dtype, norm.dtype]).to.deep.equal(['float32', 'float32']);
      expect(norm.item()).to.be.closeTo(3 * Math.sqrt(n), 1e-3);
      clipGradNorm([p], 1);
      expect(p.grad.dataSync()[0]).to.be.closeTo(1 / Math.sqrt(n), 2 ** -9);
      const scale = fw.ones([1], { device, dtype: 'bfloat16' });
      expectError('DTYPE', /gradientScale must be float32/, () => new SGD([p]).step(scale));
    });

    it('clips the joint norm, on the device', () => {
      const [a, b] = [start(), start()];
      a.grad = fw.full([n], 3, { device }).persist();
      b.grad = fw.full([n], 4, { device }).persist();
      const norm = 5 * Math.sqrt(n);
      const { factor, norm: before } = clipFactor([a, b], 1);
      expect(before.item()).to.be.closeTo(norm, 1e-3);
      expect(factor.item()).to.be.closeTo(1 / norm, 1e-6);
      clipGradNorm([a, b], 1);
      expect(a.grad.dataSync()[0]).to.be.closeTo(3 / norm, 1e-6);
      expect(clipFactor([a, b], 10).factor.item()).to.equal(1);
    });
  });
}

describe('schedules', () => {
  it('cosine with warm-up', () => {
    const f = cosine(100, { warmup: 10, floor: 0.1 });
    expect(f(0)).to.be.closeTo(0.1, 1e-12);
    expect(f(9)).to.equal(1);
    expect(f(55)).to.be.closeTo(0.55, 1e-12);
    expect(f(100)).to.be.closeTo(0.1, 1e-12);
    expect(f(500)).to.be.closeTo(0.1, 1e-12);
    expect(warmup(4)(1)).to.equal(0.5);
    expectError('INVALID_ARGUMENT', /warmup/, () => cosine(10, { warmup: 11 }));
  });
});
