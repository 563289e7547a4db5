// `gradients`, and graphs of gradients.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const values = (t: fw.Tensor | null): number[] => Array.from(t!.dataSync());

for (const device of ['cpu', 'js'] as const) {
  describe(`gradients on ${device}`, () => {
    const leaf = (...data: number[]): fw.Tensor => fw.tensor(data, { device, requiresGrad: true });

    it('of leaves and of results on the way, and no .grad changes', () => {
      fw.scope(() => {
        const [x, w] = [leaf(1, 2, 3), leaf(2, 0, -1)];
        const h = x.mul(w);
        const y = h.square();
        const [dh, dx, dw] = fw.gradients(y.sum(), [h, x, w], { retainGraph: true });
        expect(values(dh)).to.eql([4, 0, -6]);
        expect(values(dx)).to.eql([8, 0, 6]);
        expect(values(dw)).to.eql([4, 0, -18]);
        const direction = fw.tensor([1, 1, 0.5], { device });
        const [twice] = fw.gradients([y, h], h, { gradOutputs: [direction, fw.ones([3], { device })] });
        expect(values(twice)).to.eql([5, 1, -2]);
        // The nodes before `h` were not run, so that the rest of the graph is there.
        h.sum().backward();
        expect(values(w.grad)).to.eql([1, 2, 3]);
        expect(values(x.grad)).to.eql([2, 0, -1]);
      });
    });

    it('of an output, of an input twice, and of what gets nothing', () => {
      fw.scope(() => {
        const x = leaf(1, 2);
        const y = x.mul(3);
        const [dy, dx, again] = fw.gradients(y, [y, x, x], { gradOutputs: fw.ones([2], { device }) });
        expect(values(dy)).to.eql([1, 1]);
        expect(values(dx)).to.eql([3, 3]);
        fw.noGrad(() => dx.add_(1));
        expect(values(again)).to.eql([3, 3]);
        const nothing = fw.defineFunction({
          name: 'nothing',
          forward: (_, t: fw.Tensor) => t.clone(),
          backward: () => null,
        });
        expect(values(fw.gradients(nothing(x).sum(), x)[0])).to.eql([0, 0]);
      });
    });

    it('refuse what cannot be, before anything changes', () => {
      fw.scope(() => {
        const [x, unused] = [leaf(1, 2), leaf(1)];
        const [a, b] = fw.split(x, [1, 1], 0);
        const plain = fw.ones([2], { device });
        const y = a.square();
        expectError('GRAPH', /inputs\[1\] must be a tensor that the outputs depend on/, () =>
          fw.gradients(y, [x, unused]),
        );
        expectError('GRAPH', /inputs\[0\] must be/, () => fw.gradients(y, [b]));
        expectError('GRAPH', /inputs\[0\] must be a tensor that requires a gradient/, () => fw.gradients(y, plain));
        expectError('GRAPH', /does not depend/, () => fw.gradients(plain.sum(), x));
        expectError('SHAPE', /gradOutputs\[0\] must be given/, () => fw.gradients(x.mul(2), x));
        expectError('SHAPE', /gradOutputs\[0\] must be \[2\]/, () =>
          fw.gradients(x.mul(2), x, { gradOutputs: fw.ones([3], { device }) }),
        );
        expectError('INVALID_ARGUMENT', /gradOutputs must be a list of 1/, () =>
          fw.gradients(y, x, { gradOutputs: [null, null] }),
        );
        expectError('INVALID_ARGUMENT', /inputs must be/, () => fw.gradients(y, []));
        expectError('INVALID_ARGUMENT', /inputs\[1\] must be a Tensor/, () => fw.gradients(y, [x, 3 as never]));
        expectError('INVALID_ARGUMENT', /unknown option createGraphs/, () =>
          fw.gradients(y, x, { createGraphs: true } as never),
        );
        const [dx, none] = fw.gradients(y, [x, unused], { allowUnused: true });
        expect(values(dx)).to.eql([2, 0]);
        expect(none).to.equal(null);
        expectError('GRAPH', /already used/, () => fw.gradients(y, x));
      });
    });

    it('go through checkpoints, to their parameters, too', () => {
      fw.scope(() => {
        const [x, w] = [leaf(1, 2), leaf(3, 4)];
        const y = fw.checkpoint((t) => t.mul(w).square(), x.mul(2)).sum();
        const [dw, dx] = fw.gradients(y, [w, x]);
        expect(values(dw)).to.eql([24, 128]);
        expect(values(dx)).to.eql([72, 256]);
        expect([w.grad, x.grad]).to.eql([null, null]);
      });
    });

    it('with createGraph are results of the graph', () => {
      fw.scope(() => {
        const x = leaf(1, 2, -1);
        const [dx] = fw.gradients(x.pow(3).sum(), x, { createGraph: true });
        const [ddx] = fw.gradients(dx.sum(), x, { createGraph: true });
        const [dddx] = fw.gradients(ddx.sum(), x);
        expect(values(dx)).to.eql([3, 12, 3]);
        expect(values(ddx)).to.eql([6, 12, -6]);
        expect(values(dddx)).to.eql([6, 6, 6]);
      });
    });

    it('a penalty on a gradient trains through views and parts added up', () => {
      fw.scope(() => {
        const w = fw.tensor([[0.5, -1], [2, 1]], { device, requiresGrad: true }); // prettier-ignore
        const x = fw.tensor([[1, 2]], { device, requiresGrad: true });
        const h = x.matmul(w);
        const [dx] = fw.gradients(h.square().sum().add(h.mul(h).sum()), x, { createGraph: true });
        dx.square().sum().backward();
        // dx = 4 x W W^T; d|dx|^2/dW = 8 (x^T dx + dx^T x) W
        const [X, W] = [[1, 2], [[0.5, -1], [2, 1]]] as const; // prettier-ignore
        const hs = [0, 1].map((j) => X[0] * W[0][j] + X[1] * W[1][j]);
        const g = [0, 1].map((i) => 4 * (W[i][0] * hs[0] + W[i][1] * hs[1]));
        const expected = [0, 1].flatMap((i) =>
          [0, 1].map((j) => 8 * [0, 1].reduce((s, k) => s + (X[i] * g[k] + g[i] * X[k]) * W[k][j], 0)),
        );
        values(w.grad).forEach((v, i) => expect(v).to.be.closeTo(expected[i], 1e-4));
      });
    });

    it('backward with createGraph adds to .grad, which is then a result', () => {
      fw.scope(() => {
        const x = leaf(2);
        x.pow(3).backward(undefined, { createGraph: true });
        const first = x.grad!;
        x.pow(2).backward(undefined, { createGraph: true });
        expect(values(first), 'the one before').to.eql([12]);
        expect(values(x.grad)).to.eql([16]);
        const [second] = fw.gradients(x.grad!, x);
        expect(values(second)).to.eql([14]);
        // Without it what was a result is added to, but stays what it was for others.
        const held = x.grad!;
        x.mul(1).backward();
        expect([values(held), values(x.grad), x.grad!.requiresGrad]).to.eql([[16], [17], false]);
      });
    });

    it('notice a change in place of what second gradients need', () => {
      fw.scope(() => {
        const x = leaf(2);
        const [dx] = fw.gradients(x.pow(3), x, { createGraph: true });
        fw.noGrad(() => x.add_(1));
        expectError('GRAPH', /changed in place/, () => fw.gradients(dx, x));
      });
    });

    it('leave nothing behind', () => {
      const live = (): number => fw.memory().devices.reduce((n, d) => n + d.storages, 0);
      const x = leaf(1, 2);
      const before = live();
      for (let i = 0; i < 3; i++) {
        fw.scope(() => {
          const [dx] = fw.gradients(x.tanh().mul(x).sum(), x, { createGraph: true });
          const [ddx] = fw.gradients(dx.square().sum(), x, { createGraph: i > 0 });
          ddx.dataSync();
        });
        expect(live()).to.equal(before);
      }
      fw.scope(() => x.pow(3).sum().backward(undefined, { createGraph: true }));
      x.grad!.dispose();
      expect(live()).to.equal(before);
      x.dispose();
    });
  });
}

describe('gradgradcheck', () => {
  it('finds a wrong second gradient, and a first one that createGraph makes wrong', () => {
    const x = fw.tensor([0.3, -0.7], { device: 'js', dtype: 'float64' });
    const cube = (slope: (x: fw.Tensor) => fw.Tensor): ((x: fw.Tensor) => fw.Tensor) =>
      fw.defineFunction({
        name: 'cube',
        forward(ctx, t: fw.Tensor) {
          ctx.saveForBackward(t);
          return t.pow(3);
        },
        backward: (ctx, g) => g.mul(slope(ctx.savedTensors[0])),
      });
    const right = cube((t) => t.square().mul(3));
    const detached = cube((t) => t.detach().square().mul(3));
    expect(fw.gradgradcheck((t) => right(t).sum(), [x])).to.equal(true);
    expect(fw.gradcheck((t) => detached(t).sum(), [x])).to.equal(true);
    expectError('GRAPH', /gradgradcheck: inputs\[0\] differs/, () => fw.gradgradcheck((t) => detached(t).sum(), [x]));
  });
});
