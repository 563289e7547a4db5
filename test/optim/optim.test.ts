// Optimisers against the published formulas in float64, schedules, clipping.
import { expect } from 'chai';
import * as fw from '../../lib';
import { getBackend } from '../../lib/backends';
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

    /** One step with these gradients; parameters without one sit it out. */
    const stepWith = (optimizer: { step(): void }, gradients: [fw.Tensor, number | number[]][]): void => {
      for (const [t, g] of gradients) {
        t.grad = (typeof g === 'number' ? fw.full(t.shape, g, { device }) : fw.tensor(g, { device })).persist();
      }
      optimizer.step();
      for (const [t] of gradients) {
        t.grad!.dispose();
        t.grad = null;
      }
    };

    it('a parameter that joins later starts its own count, and keeps it over a saved state', () => {
      const gradients = Array.from({ length: 5 }, (_, s) => Array.from({ length: n }, (_, i) => gradientAt(s + 1, i)));
      const expected = adamLoop(n, 5, { lr: 0.01, b1: 0.9, b2: 0.999, eps: 1e-8, wd: 0, coupled: true });
      const make = (...named: [string, fw.Tensor][]): fw.optim.Adam => new Adam(named, { lr: 0.01 });
      const [a, b] = [start(), start()];
      const optimizer = make(['a', a], ['b', b]);
      for (let s = 0; s < 40; s++) stepWith(optimizer, [[a, 1]]);
      for (const g of gradients.slice(0, 2)) {
        stepWith(optimizer, [
          [a, 1],
          [b, g],
        ]);
      }
      const [c, d] = [a, b].map((t) => fw.nn.parameter(t.detach().clone()));
      const resumed = make(['a', c], ['b', d]);
      const saved = optimizer.state();
      expect([saved.steps, saved.parameterSteps]).to.eql([42, { a: 42, b: 2 }]);
      resumed.loadState(saved);
      for (const g of gradients.slice(2)) {
        stepWith(optimizer, [
          [a, 1],
          [b, g],
        ]);
        stepWith(resumed, [
          [c, 1],
          [d, g],
        ]);
      }
      expectClose('late', b.dataSync(), expected, 1e-6);
      expect([c.dataSync(), d.dataSync()]).to.eql([a.dataSync(), b.dataSync()]);
      expect(resumed.state().parameterSteps).to.eql({ a: 45, b: 5 });
    });

    it('loads a state without counts of parameters: each with buffers has taken every step', () => {
      const [a, b] = [start(), start()];
      const first = new Adam([['a', a]], { lr: 0.01 });
      for (let s = 0; s < 7; s++) stepWith(first, [[a, 1]]);
      const { steps, lr, tensors } = first.state();
      const second = new Adam(
        [
          ['a', a],
          ['b', b],
        ],
        { lr: 0.01 },
      );
      second.loadState({ steps, lr, tensors });
      expect(second.state().parameterSteps).to.eql({ a: 7 });
      const sgd = new SGD([['a', a]]);
      sgd.loadState({ steps, lr, tensors: {} });
      expect(sgd.state().parameterSteps).to.eql({ a: 7 });
    });

    it('one call updates all parameters of one count, dtype and group', () => {
      const kernels = getBackend(device).kernels;
      const { adam } = kernels;
      const counts: number[] = [];
      try {
        kernels.adam = (args) => {
          counts.push(args.parameters.length);
          adam(args);
        };
        const all = Array.from({ length: 6 }, start);
        all.push(fw.nn.parameter(start().detach().to('bfloat16')));
        const optimizer = new AdamW(all);
        const step = (...which: number[]): number[] => {
          for (const i of which) all[i].grad = fw.ones([n], { device, dtype: all[i].dtype });
          optimizer.step();
          for (const t of all) t.grad = null;
          return counts.splice(0);
        };
        expect(step(0, 1, 2)).to.eql([3]);
        expect(step(0, 1, 2, 3, 4, 5)).to.eql([3, 3]);
        expect(step(0, 6, 1, 3)).to.eql([2, 1, 1]);
        expect(step()).to.eql([]);
      } finally {
        kernels.adam = adam;
      }
    });

    it('leaves frozen parameters as they are, and goes on with them when they are thawed', () => {
      const [p, q] = [start(), start()];
      q.requiresGrad = false;
      const optimizer = new SGD([p, q], { lr: 0.5 });
      stepWith(optimizer, [
        [p, 1],
        [q, 1],
      ]);
      expect([p.dataSync()[0], q.dataSync()[0]]).to.eql([0.5, 1]);
      q.requiresGrad = true;
      stepWith(optimizer, [[q, 1]]);
      expect(q.dataSync()[0]).to.equal(0.5);
      expect(optimizer.state().parameterSteps).to.eql({ 0: 1, 1: 1 });
    });

    it('a scale of NaN changes nothing', () => {
      for (const make of [AdamW, SGD]) {
        const p = start();
        const before = p.dataSync();
        const optimizer = new make([p], { lr: 0.5 });
        p.grad = fw.ones([n], { device });
        optimizer.step(fw.full([1], NaN, { device }));
        expect(p.dataSync()).to.eql(before);
        for (const t of Object.values(optimizer.state().tensors)) expect(t.abs().max().item()).to.equal(0);
      }
    });

    it('takes over a state only when all of it fits', () => {
      const [a, b] = [start(), start()];
      const named: [string, fw.Tensor][] = [
        ['a', a],
        ['b', b],
      ];
      const source = new AdamW(named, { lr: 0.25 });
      stepWith(source, [
        [a, 1],
        [b, 2],
      ]);
      const good = source.state();
      const target = new AdamW(named, { lr: 0.5 });
      stepWith(target, [[b, 3]]);
      const picture = (): unknown => {
        const { tensors, ...numbers } = target.state();
        return [numbers, Object.entries(tensors).map(([name, t]) => [name, t.tolist()])];
      };
      const before = picture();
      const gone = fw.zeros([n], { device });
      gone.dispose();
      const elsewhere: fw.Device = device === 'js' ? 'cpu' : 'js';
      const other = fw.devices().some((d) => d.device === elsewhere && d.available);
      const put = (name: string, t: unknown): object => ({ ...good, tensors: { ...good.tensors, [name]: t } });
      const { 'b.mean': _, ...withoutMean } = good.tensors;
      const wrong: [fw.ErrorCode, RegExp, unknown][] = [
        ['SHAPE', /b.mean must be \[37\], got \[1\]/, put('b.mean', fw.zeros([1], { device }))],
        ['SHAPE', /b.mean/, put('b.mean', fw.zeros([1, n], { device }))],
        [
          'DTYPE',
          /b.square must be float32, got bfloat16/,
          put('b.square', fw.zeros([n], { device, dtype: 'bfloat16' })),
        ],
        ['DTYPE', /b.square/, put('b.square', fw.zeros([n], { device, dtype: 'int32' }))],
        ['DISPOSED', /loadState/, put('b.mean', gone)],
        ['INVALID_ARGUMENT', /b.mean must be a tensor/, put('b.mean', [1])],
        ['INVALID_ARGUMENT', /c.mean/, put('c.mean', fw.zeros([n], { device }))],
        ['INVALID_ARGUMENT', /parameter b is without mean/, { ...good, tensors: withoutMean }],
        ['INVALID_ARGUMENT', /parameter a is without mean, square/, { ...good, tensors: {} }],
        ['INVALID_ARGUMENT', /loadState: steps/, { ...good, steps: -1 }],
        ['INVALID_ARGUMENT', /loadState: steps/, { ...good, steps: 1.5 }],
        ['INVALID_ARGUMENT', /loadState: lr/, { ...good, lr: NaN }],
        ['INVALID_ARGUMENT', /parameterSteps.b/, { ...good, parameterSteps: { a: 1, b: 2 } }],
        ['INVALID_ARGUMENT', /parameterSteps.b/, { ...good, parameterSteps: { a: 1, b: '1' } }],
        ['INVALID_ARGUMENT', /parameterSteps/, { ...good, parameterSteps: { a: 1, b: 1, c: 1 } }],
        ['INVALID_ARGUMENT', /did you mean tensors/, { ...good, tensor: {} }],
        ['INVALID_ARGUMENT', /tensors/, { steps: 1, lr: 1 }],
        ['INVALID_ARGUMENT', /state/, null],
      ];
      if (other) wrong.push(['DEVICE', /b.mean/, put('b.mean', fw.zeros([n], { device: elsewhere }))]);
      for (const [code, message, state] of wrong) {
        expectError(code, message, () => target.loadState(state as fw.optim.OptimizerState));
        expect(picture()).to.eql(before);
      }
      target.loadState(good);
      expect(target.state().tensors['b.mean'].tolist()).to.eql(good.tensors['b.mean'].tolist());
      // What the state does not hold is no longer there.
      target.loadState({ steps: 0, lr: 0.5, parameterSteps: {}, tensors: {} });
      expect([target.state().tensors, target.lr]).to.eql([{}, 0.5]);
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

    it('clips gradients of several dtypes together', () => {
      const [p, q] = [bfloat16(), start()];
      p.grad = fw.full([n], 3, { device, dtype: 'bfloat16' }).persist();
      q.grad = fw.full([n], 4, { device }).persist();
      const { factor, norm } = clipFactor([p, q], null);
      expect(norm.item()).to.be.closeTo(5 * Math.sqrt(n), 1e-3);
      expect(factor.tolist()).to.eql([1]);
      clipGradNorm([p, q], 1);
      expect(q.grad.dataSync()[0]).to.be.closeTo(4 / 5 / Math.sqrt(n), 1e-6);
      expect(p.grad.dataSync()[0]).to.be.closeTo(3 / 5 / Math.sqrt(n), 2 ** -10);
      new AdamW([p, q]).step(factor);
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
