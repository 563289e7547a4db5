// The loss of a projection without its logits in memory, against the two operators in float64: values and gradients, whatever
// the blocks of rows.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { Draw, type HostTensor, rounded } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';

type Loss = (x: fw.Tensor, weight: fw.Tensor, target: fw.Tensor) => fw.Tensor;

const [B, T, D, V] = [3, 67, 40, 72];
const SETTINGS: Record<string, fw.LinearCrossEntropyOptions> = {
  'the mean': {},
  'the sum': { reduction: 'sum' },
  'all numbers': { ignoreIndex: 5, labelSmoothing: 0.2, zLoss: 0.1, logitSoftcap: 3 },
};

const draw = new Draw(11);
const HOST = rounded({ x: draw.uniform([B, T, D], -1, 1), weight: draw.uniform([V, D], -1, 1) });
const classes = (ignored: number): number[] =>
  Array.from({ length: B * T }, (_, i) => (i % 7 === 3 ? ignored : (i * i) % V));

/** The loss and its gradients, of `share` of it. */
function results(loss: Loss, where: Target, ignored: number, share = 1): ArrayLike<number>[] {
  return fw.scope(() => {
    const [x, weight] = [HOST.x, HOST.weight].map(({ data, shape }) =>
      fw.tensor(data, { ...where, shape, requiresGrad: true }),
    );
    const target = fw.tensor(classes(ignored), { device: where.device, dtype: 'int32', shape: [B, T] });
    const y = loss(x, weight, target);
    y.mul(share).backward();
    const found = [y.dataSync(), x.grad!.dataSync(), weight.grad!.dataSync()];
    for (const t of [x, weight]) t.grad!.dispose();
    return found;
  });
}

for (const where of targets({ bfloat16: true })) {
  describe(`linearCrossEntropy on ${where.device}, ${where.dtype}`, () => {
    const { forward, gradient } = toleranceOf(where.dtype);
    for (const [title, options] of Object.entries(SETTINGS)) {
      it(`${title}, of rows at once and in blocks`, () => {
        const ignored = options.ignoreIndex ?? -100;
        const exact = results(
          (x, w, t) => fw.crossEntropy(fw.linear(x, w), t, options),
          { device: 'js', dtype: 'float64' },
          ignored,
          0.3,
        );
        for (const blockRows of [undefined, 200, 64, 1]) {
          const found = results(
            (x, w, t) => fw.linearCrossEntropy(x, w, t, { ...options, blockRows }),
            where,
            ignored,
            0.3,
          );
          expectClose('loss', found[0], exact[0], forward);
          expectClose('gradient of x', found[1], exact[1], gradient);
          expectClose('gradient of the weight', found[2], exact[2], gradient);
        }
      });
    }

    it('has the loss of the two operators without gradients, and theirs for a frozen x or weight', () => {
      const make = ({ data, shape }: HostTensor, requiresGrad: boolean): fw.Tensor =>
        fw.tensor(data, { ...where, shape, requiresGrad });
      const target = fw.tensor(classes(-100), { device: where.device, dtype: 'int32', shape: [B, T] });
      const pair = fw.crossEntropy(fw.linear(make(HOST.x, false), make(HOST.weight, false)), target).item();
      for (const [ofX, ofWeight] of [
        [false, false],
        [true, false],
        [false, true],
      ]) {
        const [x, weight] = [make(HOST.x, ofX), make(HOST.weight, ofWeight)];
        const loss = fw.linearCrossEntropy(x, weight, target);
        expectClose('loss', loss.dataSync(), [pair], forward);
        expect(loss.requiresGrad).to.equal(ofX || ofWeight);
        if (loss.requiresGrad) loss.backward();
        expect([x.grad !== null, weight.grad !== null]).to.eql([ofX, ofWeight]);
      }
    });

    it('of no rows', () => {
      const x = fw.zeros([0, D], { ...where, requiresGrad: true });
      const weight = fw.zeros([V, D], { ...where, requiresGrad: true });
      const target = fw.zeros([0], { device: where.device, dtype: 'int32' });
      const loss = fw.linearCrossEntropy(x, weight, target, { reduction: 'sum' });
      loss.backward();
      expect(loss.item()).to.equal(0);
      expect(weight.grad!.abs().sum().item()).to.equal(0);
    });
  });
}

describe('linearCrossEntropy', () => {
  const js = { device: 'js', dtype: 'float64' } as const;
  const x = fw.tensor(HOST.x.data.slice(0, 6), { ...js, shape: [2, 3] });
  const weight = fw.tensor(HOST.weight.data.slice(0, 12), { ...js, shape: [4, 3] });
  const ids = fw.tensor([1, 3], { dtype: 'int32', device: 'js' });

  it('has the gradients of central differences, and gradients of them', () => {
    fw.gradcheck((a, w) => fw.linearCrossEntropy(a, w, ids, { blockRows: 1 }), [x, weight]);
    const leaf = x.detach();
    leaf.requiresGrad = true;
    const second = (loss: fw.Tensor): number[] => {
      const [first] = fw.gradients(loss, [leaf], { createGraph: true });
      return [...fw.gradients(first.square().sum(), [leaf])[0].dataSync()];
    };
    const found = second(fw.linearCrossEntropy(leaf, weight, ids));
    expectClose('second', found, second(fw.crossEntropy(fw.linear(leaf, weight), ids)), 1e-12);
  });

  it('refuses what does not fit', () => {
    expectError('SHAPE', /weight must be \[4, 3\]/, () => fw.linearCrossEntropy(x, weight.slice(1, 1), ids));
    expectError('SHAPE', /target must be \[2\]/, () => fw.linearCrossEntropy(x, weight, ids.slice(0, 1)));
    expectError('DTYPE', /target must be int32/, () => fw.linearCrossEntropy(x, weight, ids.to('float64')));
    expectError('INVALID_ARGUMENT', /blockRows/, () => fw.linearCrossEntropy(x, weight, ids, { blockRows: 0 }));
    expectError('INVALID_ARGUMENT', /target must be from 0 to 3, got 4/, () =>
      fw.linearCrossEntropy(x, weight, ids.add(1), { blockRows: 1 }).item(),
    );
    const reduction = 'none' as 'sum';
    expectError('INVALID_ARGUMENT', /reduction/, () => fw.linearCrossEntropy(x, weight, ids, { reduction }));
  });
});
