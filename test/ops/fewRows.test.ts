// Products with few rows: the same bits as in many, whether the matrix is one that comes from memory or one that lies near.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';

const MANY = 100;

for (const { device } of targets()) {
  describe(`few rows of a product on ${device}`, () => {
    for (const [n, k] of [
      [303, 1030],
      [136, 2049],
      [1040, 256],
      [41, 70],
      [7, 300],
    ]) {
      it(`[*, ${k}] by [${n}, ${k}], whose columns or rows are contiguous`, () =>
        fw.scope(() => {
          fw.manualSeed(n);
          const [x, weight] = [MANY, n].map((rows) => fw.randn([rows, k], { device }));
          const turned = weight.transpose(0, 1).contiguous();
          for (const product of [(a: fw.Tensor) => fw.linear(a, weight), (a: fw.Tensor) => fw.matmul(a, turned)]) {
            const all = Array.from(product(x).dataSync());
            for (const rows of [1, 2, 3, 4, 5, 8, 9]) {
              const few = Array.from(product(x.slice(0, 1, 1 + rows)).dataSync());
              expect(few, `${rows} rows`).to.eql(all.slice(n, n * (1 + rows)));
            }
          }
        }));
    }
  });
}
