// Gradients that operators add in place to what has arrived before.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

for (const where of targets()) {
  describe(`gradients added in place on ${where.device}, ${where.dtype}`, () => {
    const make = (shape: number[], seed: number): fw.Tensor => {
      const data = Float64Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(seed + 1.3 * i));
      return fw.tensor(data, { shape, ...where, requiresGrad: true });
    };
    const inputs = (): fw.Tensor[] => [
      make([120, 6], 1),
      make([6, 6], 2),
      make([8, 6], 3),
      make([8, 6], 4),
      make([6, 8], 5),
    ];
    const close = (name: string, actual: fw.Tensor, expected: ArrayLike<number>): void =>
      expectClose(name, actual.dataSync(), expected, toleranceOf(where.dtype).gradient);

    /** One x through several operators: each adds its part. */
    const model = (x: fw.Tensor, w: fw.Tensor, gate: fw.Tensor, up: fw.Tensor, down: fw.Tensor): fw.Tensor => {
      const h = x.mul(1.5);
      // What comes first here has its turn last, when the others have added their parts.
      const normal = fw.rmsNorm(h);
      const a = fw.linear(h, w).add(fw.linear(h, w, null, { activation: 'silu', residual: h }));
      return fw.feedForward(h, { gate, up, down }, a).add(h.matmul(w)).add(normal).square().sum();
    };
    /** The same out of operators that make every gradient anew. */
    const plain = (x: fw.Tensor, w: fw.Tensor, gate: fw.Tensor, up: fw.Tensor, down: fw.Tensor): fw.Tensor => {
      const h = x.mul(1.5);
      const times = (y: fw.Tensor, weight: fw.Tensor): fw.Tensor => y.unsqueeze(1).mul(weight.unsqueeze(0)).sum(2);
      const a = times(h, w).add(times(h, w).silu().add(h));
      const normal = h.div(h.square().mean(-1, true).add(1e-6).sqrt());
      const fed = times(times(h, gate).silu().mul(times(h, up)), down);
      return a
        .add(fed)
        .add(times(h, w.transpose(0, 1)))
        .add(normal)
        .square()
        .sum();
    };

    it('equal those of plain operators, also when backward runs twice', () => {
      fw.scope(() => {
        const [leaves, others] = [inputs(), inputs()];
        model(...(leaves as Parameters<typeof model>)).backward();
        plain(...(others as Parameters<typeof model>)).backward();
        leaves.forEach((t, i) => close(`gradient ${i}`, t.grad!, others[i].grad!.dataSync()));
        model(...(leaves as Parameters<typeof model>)).backward();
        leaves.forEach((t, i) => {
          close(
            `twice gradient ${i}`,
            t.grad!,
            Array.from(others[i].grad!.dataSync(), (g) => 2 * g),
          );
          t.grad!.dispose();
          others[i].grad!.dispose();
        });
      });
    });

    it('refuse a gradient that somebody set to something else', () => {
      fw.scope(() => {
        const [x, w] = [make([120, 6], 1), make([5, 6], 2)];
        for (const grad of [
          fw.ones([2], where),
          fw.ones([6, 5], where),
          fw.zeros([5, 6], { ...where, dtype: 'int32' }),
        ]) {
          w.grad = grad;
          expect(() => fw.linear(x, w).sum().backward()).to.throw(fw.FastWeightsError, /backward: grad must be/);
        }
      });
    });

    it('leave alone a gradient that another operator was given, too', () => {
      fw.scope(() => {
        const [x, w, b] = [make([120, 6], 1), make([6, 6], 2), make([120, 6], 3)];
        const [h, other] = [x.mul(1.5), b.mul(2)];
        const projected = fw.linear(h, w);
        // The gradient of the sum goes to both of its terms; that of the projection comes to one of them afterwards.
        h.add(other)
          .mul(fw.full([120, 6], 3, where))
          .sum()
          .add(projected.sum())
          .backward();
        close('the other term', b.grad!, new Float64Array(b.size).fill(6));
      });
    });
  });
}
