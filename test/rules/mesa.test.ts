// MesaNet's rule: the reference vectors, systems of every kind solved side by side, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { describeLong } from '../golden/table';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { expectClose } from '../support/tolerance';

describeLong('mesa');

for (const where of targets()) {
  describe(`mesa on ${where.device}, ${where.dtype}`, () => {
    it('fits what it has seen: the answer to a key is its value, up to lambda', () => {
      const [T, K, V] = [6, 8, 3];
      // Keys that are the axes: every channel is a fit of its own.
      const k = fw.eye(K, where).slice(0, 0, T).reshape(1, T, 1, K);
      const v = fw.rand([1, T, 1, V], { ...where, low: -1 });
      const [gate, beta] = [fw.zeros([1, T, 1], where), fw.full([1, T, 1], 0.8, where)];
      const lambda = fw.full([1, K], 0.2, where);
      const { output } = fw.mesa(k, k, v, { gate, beta, lambda });
      expectClose('output', output.dataSync(), v.mul(0.8).dataSync(), where.dtype === 'float64' ? 1e-12 : 1e-6);
    });

    it('solves zero, easy and badly conditioned systems beside each other, each with the same bits alone', () => {
      const [T, K] = [20, 8];
      const easy = fw.rand([1, T, 1, K], { ...where, low: -1 });
      const hard = easy.mul(0.01).add(1).mul(3);
      const k = fw.cat([easy, hard, easy], 0);
      const q = fw.cat([easy, hard.flip(1), easy.mul(0)], 0);
      const ones = fw.ones([3, T, 1], where);
      const given = { gate: ones.mul(-0.001), beta: ones, lambda: fw.full([1, K], 0.1, where) };
      const together = fw.mesa(q, k, k, given).output;
      expect([...together.dataSync()].every(Number.isFinite)).to.equal(true);
      for (let b = 0; b < 3; b++) {
        const own = (t: fw.Tensor): fw.Tensor => t.slice(0, b, b + 1);
        const alone = fw.mesa(own(q), own(k), own(k), {
          ...given,
          gate: own(given.gate),
          beta: own(given.beta),
        }).output;
        expect([...own(together).dataSync()]).to.deep.equal([...alone.dataSync()]);
      }
      expect(together.slice(0, 2).abs().max().item()).to.equal(0);
    });
  });
}

describe('mesa, given what it does not take', () => {
  const z = (...shape: number[]): fw.Tensor => fw.zeros(shape, { device: 'js' });
  const [k, v, gate] = [z(1, 3, 2, 4), z(1, 3, 2, 5), z(1, 3, 2)];
  const lambda = z(2, 4).add(1);

  it('names it', () => {
    const run =
      (more: object): (() => unknown) =>
      () =>
        fw.mesa(k, k, v, { gate, beta: gate, lambda, ...more });
    expectError('INVALID_ARGUMENT', /mesa: lambda must be above 0, got 0/, run({ lambda: z(2, 4) }));
    expectError('SHAPE', /mesa: lambda must be \[2, 4\]/, run({ lambda: z(4) }));
    expectError('INVALID_ARGUMENT', /mesa: gate must be <= 0/, run({ gate: gate.add(1) }));
    expectError('INVALID_ARGUMENT', /mesa: beta must be a Tensor/, run({ beta: undefined }));
    expectError('INVALID_ARGUMENT', /mesa: solver must be/, run({ solver: 'lu' }));
    expectError(
      'INVALID_ARGUMENT',
      /maxIterations must be left out with solver 'exact', got 3/,
      run({ maxIterations: 3 }),
    );
    expectError('INVALID_ARGUMENT', /maxIterations must be/, run({ solver: 'cg', maxIterations: 1.5 }));
    expectError('SHAPE', /initialKeyState must be \[1, 2, 4, 4\]/, run({ initialKeyState: z(1, 2, 4, 5) }));
  });

  it('has no gradient of its gradient with the exact solver', () => {
    const q = z(1, 3, 2, 4).add(0.5);
    q.requiresGrad = true;
    const { output } = fw.mesa(q, k.add(0.1), v.add(1), { gate, beta: gate.add(1), lambda });
    expectError('UNSUPPORTED', /mesa/, () => fw.gradients(output.sum(), q, { createGraph: true }));
  });
});
