// Matrix products: what a factor does to them, and the same bits beside any others, on any number of threads. Those of
// bfloat16 pairs are as exact as their operands.
import { expect } from 'chai';
import * as fw from '../../lib';
import { kernelsOf } from '../../lib/ops/kernel';
import { targets } from '../support/golden';
import { Draw } from '../support/ruleInputs';
import { relativeRms, TOLERANCE } from '../support/tolerance';

describe('float32 matrix products', () => {
  afterEach(() => {
    fw.setFloat32MatmulPrecision('highest');
    fw.setNumThreads(2);
  });

  it('are exact by default, and an unknown precision is refused', () => {
    expect(fw.float32MatmulPrecision()).to.equal('highest');
    expect(() => fw.setFloat32MatmulPrecision('low' as 'medium')).to.throw(/setFloat32MatmulPrecision: precision/);
  });

  for (const where of targets().filter((t) => t.dtype === 'float32')) {
    // Odd depths, depths of more than one block, every orientation of both operands.
    const sizes = [
      [97, 5, 1],
      [130, 33, 7],
      [128, 64, 64],
      [200, 130, 257],
      [150, 70, 1111],
    ];
    for (const [m, n, k] of sizes) {
      it(`'medium' ${m} x ${n} x ${k} on ${where.device}`, () => {
        fw.scope(() => {
          const draw = new Draw(m);
          const [a, b] = [draw.uniform([m, k], -1, 1).data, draw.uniform([k, n], -1, 1).data];
          const make = (data: Float64Array, shape: number[], turned: boolean, to: typeof where): fw.Tensor => {
            const t = fw.tensor(data, { shape, ...to, dtype: to.dtype });
            return turned ? t.transpose(0, 1).contiguous().transpose(0, 1) : t;
          };
          const reference = make(a, [m, k], false, { device: 'js', dtype: 'float64' })
            .matmul(make(b, [k, n], false, { device: 'js', dtype: 'float64' }))
            .dataSync();
          for (const [ta, tb] of [
            [false, false],
            [false, true],
            [true, false],
            [true, true],
          ]) {
            fw.setFloat32MatmulPrecision('medium');
            const product = (): ArrayLike<number> =>
              make(a, [m, k], ta, where)
                .matmul(make(b, [k, n], tb, where))
                .dataSync();
            const y = product();
            expect(relativeRms(y, reference)).to.be.at.most(TOLERANCE.bfloat16.forward);
            fw.setNumThreads(1);
            expect(product()).to.deep.equal(y);
            fw.setNumThreads(2);
          }
        });
      });
    }

    it(`'highest': a row of a feed-forward has the same bits beside any number of rows on ${where.device}`, () => {
      fw.scope(() => {
        for (const hidden of [40, 1025, 1368]) {
          const draw = new Draw(hidden);
          const make = (shape: number[]): fw.Tensor => fw.tensor(draw.uniform(shape, -1, 1).data, { shape, ...where });
          const [x, gate, up, down] = [
            [200, 24],
            [hidden, 24],
            [hidden, 24],
            [24, hidden],
          ].map(make);
          const all = fw.feedForward(x, { gate, up, down });
          for (const rows of [1, 8, 9, 96, 97, 193]) {
            const some = fw.feedForward(x.slice(0, 0, rows), { gate, up, down });
            expect(some.dataSync(), `${rows} rows`).to.deep.equal(all.slice(0, 0, rows).dataSync());
          }
        }
      });
    });

    it(`'highest': columns of the left side have the same bits beside any number of them on ${where.device}`, () => {
      fw.scope(() => {
        const [n, k] = [48, 1300];
        const draw = new Draw(k);
        const make = (shape: number[]): fw.Tensor => fw.tensor(draw.uniform(shape, -1, 1).data, { shape, ...where });
        const [a, b] = [make([k, 800]), make([k, n])];
        const product = (columns: number): number[] =>
          Array.from(a.slice(1, 0, columns).transpose(0, 1).matmul(b).dataSync());
        const all = product(800);
        for (const threads of [1, 2, 3]) {
          fw.setNumThreads(threads);
          for (const columns of [1, 96, 97, 131, 768, 769, 800]) {
            expect(product(columns), `${columns} columns`).to.deep.equal(all.slice(0, columns * n));
          }
        }
      });
    });

    it(`a factor, and what is added to, on ${where.device}`, () => {
      for (const [m, n, k] of [
        [5, 33, 20],
        [130, 48, 70],
        [130, 48, 1300],
      ]) {
        const product = (to: { device: fw.Device; dtype: fw.DType }): ArrayLike<number> =>
          fw.scope(() => {
            const draw = new Draw(k);
            const [a, b, c] = [
              [k, m],
              [k, n],
              [m, n],
            ].map((shape) => fw.tensor(draw.uniform(shape, -1, 1).data, { shape, ...to }));
            const strides = { aStrides: [0, 0, 1, m], bStrides: [0, 0, n, 1], cStrides: [0, 0, n, 1] };
            const rest = { batch1: 1, batch2: 1, m, n, k, ...strides, alpha: 0.37, accumulate: 1, precision: 0 };
            kernelsOf(a).matmul({ a, b, c, ...rest });
            return c.dataSync();
          });
        const error = relativeRms(product(where), product({ device: 'js', dtype: 'float64' }));
        expect(error, `${m} x ${n} x ${k}`).to.be.at.most(TOLERANCE.float32.forward);
      }
    });

    it(`what comes to a zero has the same sign on any number of threads on ${where.device}`, () => {
      const [m, n, k] = [128, 16, 2048];
      const product = (threads: number): ArrayLike<number> =>
        fw.scope(() => {
          fw.setNumThreads(threads);
          const [a, b] = [fw.full([k, m], 1e-30, where), fw.full([k, n], -1e-30, where)];
          const c = fw.full([m, n], -0, where);
          const strides = { aStrides: [0, 0, 1, m], bStrides: [0, 0, n, 1], cStrides: [0, 0, n, 1] };
          const rest = { batch1: 1, batch2: 1, m, n, k, ...strides, alpha: 1, accumulate: 1, precision: 0 };
          kernelsOf(a).matmul({ a, b, c, ...rest });
          return c.dataSync();
        });
      expect(product(2)).to.deep.equal(product(1));
    });

    it(`'medium' gradients of a feed-forward on ${where.device}`, () => {
      const gradients = (to: { device: fw.Device; dtype: fw.DType }): ArrayLike<number>[] =>
        fw.scope(() => {
          const draw = new Draw(9);
          const shapes = [
            [200, 40],
            [77, 40],
            [77, 40],
            [40, 77],
          ];
          const leaves = shapes.map((shape) =>
            fw.tensor(draw.uniform(shape, -0.5, 0.5).data, { shape, ...to, requiresGrad: true }),
          );
          const [x, gate, up, down] = leaves;
          fw.feedForward(x, { gate, up, down }, x).square().sum().backward();
          return leaves.map((t) => t.grad!.dataSync());
        });
      fw.setFloat32MatmulPrecision('medium');
      const actual = gradients(where);
      fw.setFloat32MatmulPrecision('highest');
      gradients({ device: 'js', dtype: 'float64' }).forEach((g, i) =>
        expect(relativeRms(actual[i], g), `gradient ${i}`).to.be.at.most(TOLERANCE.bfloat16.gradient),
      );
    });
  }
});
