// Operators in place on operands that share memory: as if the source had been copied first.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

type Change = (x: fw.Tensor, source: (t: fw.Tensor) => fw.Tensor) => void;

const n = 300;
const CASES: Record<string, Change> = {
  'x.add_(its transpose)': (x, of) => x.add_(of(x.transpose(0, 1))),
  'x.mul_(itself)': (x, of) => x.mul_(of(x)),
  'x.mul_(a row of it)': (x, of) => x.mul_(of(x.slice(0, 1, 2))),
  'x.mul_(an element of it)': (x, of) => x.mul_(of(x.slice(0, 1, 2).slice(1, 3, 4))),
  'x.copy_(its transpose)': (x, of) => x.copy_(of(x.transpose(0, 1))),
  'x.copy_(a row of it)': (x, of) => x.copy_(of(x.slice(0, 2, 3))),
  'x.copy_(itself)': (x, of) => x.copy_(of(x)),
  'forwards by one': (x, of) => {
    const flat = x.reshape(n * n);
    flat.slice(0, 1).copy_(of(flat.slice(0, 0, -1)));
  },
  'backwards by one': (x, of) => {
    const flat = x.reshape(n * n);
    flat.slice(0, 0, -1).copy_(of(flat.slice(0, 1)));
  },
  'a view, by its neighbour': (x, of) => x.slice(1, 1, 200).add_(of(x.slice(1, 0, 199))),
  'a transposed view, by its neighbour': (x, of) =>
    x
      .transpose(0, 1)
      .slice(0, 0, 100)
      .mul_(of(x.slice(0, 0, 100))),
};

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`in place on ${device}`, () => {
    for (const [name, change] of Object.entries(CASES)) {
      for (const dtype of name === 'forwards by one'
        ? (['float32', 'bfloat16', 'int32'] as const)
        : ['float32' as const]) {
        it(`${name}, ${dtype}`, () => {
          const after = (source: (t: fw.Tensor) => fw.Tensor): ArrayLike<number> =>
            fw.scope(() =>
              fw.noGrad(() => {
                const x = fw
                  .arange(n * n, undefined, 1, { device })
                  .remainder(251)
                  .to(dtype)
                  .reshape(n, n);
                change(x, source);
                return x.dataSync();
              }),
            );
          const [found, expected] = [after((t) => t), after((t) => t.clone())];
          expect(found).to.deep.equal(expected);
        });
      }
    }

    it('refuses a target with elements at two places, and raises the version of any other', () => {
      const expanded = fw.zeros([1], { device }).expand(3);
      const folded = fw.zeros([2, 3], { device }).expand(4, 2, 3).transpose(0, 1);
      const other = fw.ones([3], { device });
      fw.noGrad(() => {
        for (const t of [expanded, folded]) {
          for (const use of [() => t.add_(1), () => t.mul_(other), () => t.copy_(other), () => t.fill_(2)])
            expectError('SHAPE', /x must be without elements at two places/, use);
        }
        expect(folded.sum().item()).to.equal(0);
        fw.zeros([1, 3], { device }).expand(1, 3).add_(other);
      });
      const leaf = fw.ones([3], { device, requiresGrad: true });
      const y = leaf.mul(other);
      fw.noGrad(() => other.slice(0, 1).fill_(5));
      expectError('GRAPH', /changed in place/, () => y.sum().backward());
    });

    it('optimisers refuse parameters and gradients that share memory', () => {
      const flat = fw.ones([6], { device });
      const part = (from: number, to: number): fw.Tensor => {
        const t = flat.slice(0, from, to);
        t.requiresGrad = true;
        return t;
      };
      expectError('INVALID_ARGUMENT', /parameter 1 must be apart/, () => new fw.optim.SGD([part(0, 4), part(3, 6)]));
      const [a, b] = [part(0, 3), part(3, 6)];
      const optimizer = new fw.optim.SGD([a, b], { lr: 1 });
      a.grad = flat.slice(0, 3);
      expectError('INVALID_ARGUMENT', /gradient of 0 must be apart/, () => optimizer.step());
      a.grad = flat.slice(0, 2, 5);
      expectError('INVALID_ARGUMENT', /gradient of 0 must be apart/, () => optimizer.step());
      a.grad = fw.ones([3], { device });
      optimizer.step();
      expect([a.tolist(), b.tolist()]).to.deep.equal([
        [0, 0, 0],
        [1, 1, 1],
      ]);
    });
  });
}
