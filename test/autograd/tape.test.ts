// The tape: accumulation, freeing, errors, modes.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const usage = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`tape on ${device}`, () => {
    const leaf = (values: number[]): fw.Tensor => fw.tensor(values, { device, requiresGrad: true });

    it('adds into .grad, and a tensor used twice gets both parts', () => {
      const x = leaf([1, 2]);
      x.mul(x).add(x).sum().backward();
      expect([...x.grad!.dataSync()]).to.deep.equal([3, 5]);
      x.sum().backward();
      expect([...x.grad!.dataSync()]).to.deep.equal([4, 6]);
    });

    it('gives every leaf of the graph a gradient, zero where nothing arrives', () => {
      const [x, y] = [leaf([1, 2]), leaf([3, 4])];
      const { output, finalState } = fw.linearAttention(
        x.reshape(1, 1, 1, 2),
        y.reshape(1, 1, 1, 2),
        y.reshape(1, 1, 1, 2),
        { outputFinalState: true },
      );
      expect(output.shape).to.deep.equal([1, 1, 1, 2]);
      finalState.sum().backward();
      expect([...x.grad!.dataSync()]).to.deep.equal([0, 0]);
    });

    it('has gradients of size 0', () => {
      const x = fw.zeros([0, 3], { device, requiresGrad: true });
      x.mul(2).sum().backward();
      expect(x.grad!.shape).to.deep.equal([0, 3]);
    });

    it('refuses a second backward, unless the graph was retained', () => {
      const x = leaf([2]);
      const y = x.mul(x).sum();
      y.backward(undefined, { retainGraph: true });
      y.backward();
      expect(x.grad!.item()).to.equal(8);
      expectError('GRAPH', /already used/, () => y.backward());
    });

    it('keeps what gradients need and no more', () => {
      const [x, w, column] = [leaf([1, 2, 3]), leaf([4, 5, 6]), fw.tensor([2, 3, 4], { device })];
      const calls: [string, number, () => fw.Tensor][] = [
        ['numbers added and multiplied', 0, () => x.add(1).mul(2).sub(3).neg()],
        ['relu of them', device.startsWith('cuda') ? 1 : 0, () => x.add(1).relu()],
        ['one function', 1, () => x.mul(2).silu()],
        ['sums', 0, () => x.add(w).sub(column)],
        ['a product by a constant', 0, () => x.mul(column)],
        ['a product of two leaves', 0, () => x.mul(w)],
        ['a product of results', 2, () => x.add(1).mul(w.add(1))],
        ['a quotient', 0, () => x.div(w)],
        [
          'a product of matrices, one of them constant',
          0,
          () => fw.matmul(x.add(1).reshape(1, 3), column.reshape(3, 1)),
        ],
        ['a projection by frozen weights', 0, () => fw.linear(x.add(1).reshape(1, 3), column.reshape(1, 3))],
      ];
      for (const [name, kept, call] of calls) {
        const before = usage();
        const y = fw.scope(call);
        expect(usage() - before - 1, name).to.equal(kept);
        y.dispose();
        expect(usage(), name).to.equal(before);
      }
      // Nothing of w is needed, so it may change.
      const y = fw.scope(() => w.add(1).mul(2).sum());
      fw.noGrad(() => w.add_(1));
      y.backward();
      expect([...w.grad!.dataSync()]).to.deep.equal([2, 2, 2]);
    });

    it("leaves the caller's gradient alone", () => {
      const [x, g] = [leaf([1, 2]), fw.tensor([3, 4], { device })];
      x.mul(2).backward(g);
      x.backward(g);
      expect([...g.dataSync()]).to.deep.equal([3, 4]);
      expect([...x.grad!.dataSync()]).to.deep.equal([9, 12]);
    });

    it('refuses what needs no gradient, and a missing or wrong gradient', () => {
      const x = leaf([1, 2]);
      expectError('GRAPH', /does not depend/, () => fw.zeros([1], { device }).backward());
      expectError('SHAPE', /gradient must be given/, () => x.mul(2).backward());
      expectError('SHAPE', /gradient must be \[2\]/, () => x.mul(2).backward(fw.zeros([3], { device })));
    });

    it('notices that a saved tensor was changed in place', () => {
      const x = leaf([1, 2]);
      const middle = x.add(1);
      const y = middle.square();
      fw.noGrad(() => middle.add_(1));
      expectError('GRAPH', /changed in place/, () => y.sum().backward());
    });

    it('allows operators in place only under noGrad', () => {
      const x = fw.zeros([2], { device });
      expectError('GRAPH', /only inside noGrad/, () => x.add_(1));
      fw.noGrad(() => x.add_(1).mul_(3));
      expect([...x.dataSync()]).to.deep.equal([3, 3]);
    });

    it('outputs stay readable after backward; what only the tape held is freed', () => {
      const x = leaf([0.5, 1]);
      fw.scope(() => {
        const y = fw.scope(() => x.tanh().exp().mul(2));
        const before = usage();
        y.sum().backward();
        expect(usage()).to.be.lessThan(before + 2);
        expect(y.dataSync()[0]).to.be.closeTo(2 * Math.exp(Math.tanh(0.5)), 1e-6);
      });
    });

    it('a training loop inside scopes leaves nothing behind, with and without backward', () => {
      const w = fw.rand([4, 4], { device, requiresGrad: true }).persist();
      const step = (train: boolean): void =>
        fw.scope(() => {
          const x = fw.rand([3, 4], { device });
          const loss = x.matmul(w).silu().matmul(w).square().mean();
          if (train) loss.backward();
        });
      step(true);
      const before = usage();
      for (let i = 0; i < 20; i++) step(i % 2 === 0);
      expect(usage()).to.equal(before);
    });

    it('checkpoint gives the same gradients, parameters inside included, and keeps less', () => {
      const w = leaf([0.3, -0.7]);
      const run = (wrap: boolean): number[] => {
        const x = leaf([1, 2]);
        const f = (t: fw.Tensor): fw.Tensor => t.mul(w).tanh().mul(w).exp();
        (wrap ? fw.checkpoint(f, x) : f(x)).sum().backward();
        const all = [...x.grad!.dataSync(), ...w.grad!.dataSync()];
        w.grad!.dispose();
        w.grad = null;
        return all;
      };
      expect(run(true)).to.deep.equal(run(false));
    });

    it('grad() leaves its inputs alone', () => {
      const x = fw.tensor([1, 2, 3], { device });
      const g = fw.grad((t: fw.Tensor) => t.square().sum())(x);
      expect([...g.dataSync()]).to.deep.equal([2, 4, 6]);
      expect(x.grad).to.equal(null);
    });

    it('moves gradients between devices', () => {
      const x = leaf([1, 2]);
      x.to('js').mul(3).sum().backward();
      expect(x.grad!.device).to.equal(device);
      expect([...x.grad!.dataSync()]).to.deep.equal([3, 3]);
    });
  });
}

describe('gradcheck', () => {
  it('finds a wrong gradient', () => {
    const x = fw.tensor([1, 2], { device: 'js', dtype: 'float64' });
    expectError('GRAPH', /inputs\[0\] differs at element 0/, () =>
      fw.gradcheck((t) => t.square().detach().add(t).sum(), [x]),
    );
  });
  it('wants float64', () => {
    expectError('DTYPE', /inputs\[0\] must be float64/, () =>
      fw.gradcheck((t) => t.sum(), [fw.zeros([2], { device: 'js' })]),
    );
  });
});
