// Deep and wide graphs: nothing runs out of stack, and the time grows with the number of nodes.
import { expect } from 'chai';
import * as fw from '../../lib';

const usage = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);
const NODES = 30000;

// What is deep is the tape's, whatever computes.
for (const device of ['js', 'cpu'] as const) {
  if (!fw.devices().some((d) => d.device === device && d.available)) continue;
  describe(`deep graphs on ${device}`, () => {
    before(() => fw.setChecks(false));
    after(() => fw.setChecks('values'));

    /** A leaf and the end of a chain behind it that only the tape holds. */
    const chain = (n = NODES): { x: fw.Tensor; y: fw.Tensor } => {
      const x = fw.ones([2], { device, requiresGrad: true });
      let y = x.mul(1);
      for (let i = 1; i < n; i++) {
        const next = y.mul(1);
        y.dispose();
        y = next;
      }
      return { x, y };
    };
    const gradient = (x: fw.Tensor): fw.NestedNumbers => {
      const values = x.grad!.tolist();
      x.grad!.dispose();
      return values;
    };

    it('are freed unread, by dispose and at the end of a scope', () => {
      const before = usage();
      const { x, y } = chain();
      y.dispose();
      x.dispose();
      fw.scope(() => void chain());
      expect(usage()).to.equal(before);
    });

    it('go backward, and are freed after that when retained', () => {
      const before = usage();
      fw.scope(() => {
        const { x, y } = chain();
        y.sum().backward(undefined, { retainGraph: true });
        expect(gradient(x)).to.deep.equal([1, 1]);
      });
      expect(usage()).to.equal(before);
    });

    it('of a recurrent network over 3,000 steps are freed unread', () => {
      const before = usage();
      fw.scope(() => {
        const w = fw.full([4, 4], 0.1, { device, requiresGrad: true });
        let h = fw.zeros([1, 4], { device });
        for (let t = 0; t < 3000; t++) h = h.matmul(w).add(0.1).tanh().mul(w.sum());
      });
      expect(usage()).to.equal(before);
    });

    it('take an operator of very many inputs', () => {
      fw.scope(() => {
        const x = fw.ones([1], { device, requiresGrad: true });
        const many = 150000;
        fw.cat(new Array<fw.Tensor>(many).fill(x)).sum().backward();
        expect(gradient(x)).to.deep.equal([many]);
      });
    });
  });
}
