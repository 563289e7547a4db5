// Hooks on tensors.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const values = (t: fw.Tensor | null): number[] => Array.from(t!.dataSync());

for (const device of ['cpu', 'js'] as const) {
  describe(`hooks on tensors on ${device}`, () => {
    const leaf = (...data: number[]): fw.Tensor => fw.tensor(data, { device, requiresGrad: true });

    it('get the whole gradient of leaves and results, and may replace it', () => {
      fw.scope(() => {
        const x = leaf(1, 2);
        const h = x.mul(3);
        const seen: fw.Tensor[] = [];
        const handles = [
          h.registerHook((g) => void seen.push(g)),
          h.registerHook((g) => g.mul(10)),
          x.registerHook((g) => {
            seen.push(g);
            return g.add(1);
          }),
        ];
        // Two uses of each: a hook sees their sum, once.
        const y = (): fw.Tensor => h.square().sum().add(h.sum()).add(x.sum());
        y().backward(undefined, { retainGraph: true });
        expect(seen.map(values)).to.eql([
          [7, 13],
          [211, 391],
        ]);
        expect(values(x.grad)).to.eql([212, 392]);
        expect(values(fw.gradients(y(), h, { retainGraph: true })[0]), 'of a result that is asked for').to.eql([
          70, 130,
        ]);
        expect(seen.length).to.equal(3);
        handles.forEach((handle) => (handle.remove(), handle.remove()));
        expect(values(fw.gradients(y(), x)[0])).to.eql([22, 40]);
        expect(seen.length).to.equal(3);
      });
    });

    it('work with gradients that are there already, under checkpoints and in graphs of gradients', () => {
      fw.scope(() => {
        const x = leaf(1, 2);
        x.sum().backward();
        x.registerHook((g) => g.mul(2));
        x.square().sum().backward();
        expect(values(x.grad)).to.eql([5, 9]);
        x.grad = null;
        fw.checkpoint((t) => t.mul(x), x.mul(1))
          .sum()
          .backward();
        expect(values(x.grad)).to.eql([4, 8]);
        const [dx] = fw.gradients(x.pow(3).sum(), x, { createGraph: true });
        expect(values(dx)).to.eql([6, 24]);
        // d/dx of 2 * 3 x^2, through the hook once more
        expect(values(fw.gradients(dx.sum(), x)[0])).to.eql([24, 48]);
      });
    });

    it('that throw or return something else leave every .grad as it was', () => {
      fw.scope(() => {
        const [x, w] = [leaf(1, 2), leaf(3, 4)];
        const run = (): void => x.mul(w).sum().backward();
        run();
        const cases: [fw.ErrorCode, RegExp, (g: fw.Tensor) => unknown][] = [
          ['INVALID_ARGUMENT', /registerHook: fn must be one that returns a Tensor or nothing, got 3/, () => 3],
          ['SHAPE', /the gradient that fn returned must be \[2\]/, (g) => g.sum()],
          ['INVALID_ARGUMENT', /synchronous/, () => Promise.resolve()],
          ['GRAPH', /changed its gradient in place/, (g) => void g.mul_(2)],
        ];
        for (const [code, pattern, fn] of cases) {
          const handle = x.registerHook(fn as fw.TensorHook);
          expectError(code, pattern, run);
          handle.remove();
        }
        const boom = new Error('boom');
        w.registerHook(() => {
          throw boom;
        });
        expect(run).to.throw(boom);
        expect([values(x.grad), values(w.grad)]).to.eql([
          [3, 4],
          [1, 2],
        ]);
        expectError('GRAPH', /requires no gradient/, () => fw.ones([1], { device }).registerHook(() => undefined));
        expectError('INVALID_ARGUMENT', /fn must be a function/, () => x.registerHook(null as never));
      });
    });
  });
}
