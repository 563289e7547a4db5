// Norms of rows beside others: a row and its gradient have the same bits whatever company they are in.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { Draw, rounded } from '../support/ruleInputs';

type Norm = (x: fw.Tensor, weight: fw.Tensor) => fw.Tensor;

const NORMS: Record<string, Norm> = {
  rmsNorm: (x, weight) => fw.rmsNorm(x, weight),
  layerNorm: (x, weight) => fw.layerNorm(x, weight, weight),
  l2Norm: (x) => fw.l2Norm(x),
};

for (const where of targets({ bfloat16: true })) {
  describe(`norms of rows on ${where.device}, ${where.dtype}`, () => {
    for (const [name, norm] of Object.entries(NORMS)) {
      for (const n of [33, 128, 1000, 2048]) {
        it(`${name} of ${n}: one row among many`, () => {
          const rows = 67;
          const draw = new Draw(7);
          const { x, weight, dy } = rounded({
            x: draw.uniform([rows, n], -2, 2),
            weight: draw.uniform([n], -2, 2),
            dy: draw.uniform([rows, n], -2, 2),
          });
          const run = (from: number, count: number): [ArrayLike<number>, ArrayLike<number>] =>
            fw.scope(() => {
              const part = ({ data }: { data: ArrayLike<number> }): fw.Tensor =>
                fw.tensor(Array.from(data).slice(from * n, (from + count) * n), { ...where, shape: [count, n] });
              const leaf = part(x).detach();
              leaf.requiresGrad = true;
              const y = norm(leaf, fw.tensor(weight.data, { ...where, shape: [n] }));
              y.backward(part(dy));
              const gradient = leaf.grad!.dataSync();
              leaf.grad!.dispose();
              return [y.dataSync(), gradient];
            });
          const all = run(0, rows);
          for (const row of [0, 40, rows - 1]) {
            run(row, 1).forEach((alone, i) => {
              expect([...Array.from(alone)], `row ${row}`).to.eql(Array.from(all[i]).slice(row * n, (row + 1) * n));
            });
          }
        });
      }
    }
  });
}
