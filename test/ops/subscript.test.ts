// x.index(...) with several tensors, against what NumPy and PyTorch give.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';

for (const { device, dtype } of targets()) {
  if (dtype !== 'float32') continue;
  describe(`items of index on ${device}`, () => {
    const whole = (data: fw.NestedNumbers): fw.Tensor => fw.tensor(data, { dtype: 'int32', device });
    const x = (): fw.Tensor => fw.arange(0, 24, 1, { device }).reshape(2, 3, 4);

    it('act in pairs, broadcast, and count from the end', () => {
      fw.scope(() => {
        expect(
          x()
            .select(0, 0)
            .index(whole([2, 0]), whole([1, 3]))
            .tolist(),
        ).to.deep.equal([9, 3]);
        expect(
          x()
            .index(0, whole([[0], [1]]), whole([0, 3]))
            .tolist(),
        ).to.deep.equal([
          [0, 3],
          [4, 7],
        ]);
        expect(
          x()
            .index(null, whole([0, -1]), whole([1, 2]))
            .tolist(),
        ).to.deep.equal([
          [1, 10],
          [13, 22],
        ]);
      });
    });

    it('stand in front where others lie between them', () => {
      fw.scope(() => {
        expect(
          x()
            .index(whole([1, 0]), null, whole([1, 2]))
            .tolist(),
        ).to.deep.equal([
          [13, 17, 21],
          [2, 6, 10],
        ]);
      });
    });

    it('may be masks of several dimensions', () => {
      fw.scope(() => {
        expect(x().index(x().gt(20)).tolist()).to.deep.equal([21, 22, 23]);
        const mask = fw.tensor([true, false, true], { device });
        expect(x().index(null, mask, [0, 1]).tolist()).to.deep.equal([
          [[0], [8]],
          [[12], [20]],
        ]);
        expectError('SHAPE', /items\[0\]/, () => x().index(mask));
      });
    });

    it('are compared each with its own dimension', () => {
      fw.scope(() => {
        for (const items of [[whole([2])], [null, whole([-4]), whole([0])], [whole([0]), whole([3]), whole([0])]]) {
          expectError('INVALID_ARGUMENT', /from 0 to/, () =>
            x()
              .index(...items)
              .tolist(),
          );
        }
        expectError('INVALID_ARGUMENT', /items/, () => x().index(0, 0, 0, 0));
      });
    });

    it('have gradients that add up', () => {
      fw.scope(() => {
        const y = fw.ones([2, 2], { device, requiresGrad: true });
        y.index(whole([0, 0, 1]), whole([1, 1, 0]))
          .sum()
          .backward();
        expect(y.grad!.tolist()).to.deep.equal([
          [0, 2],
          [1, 0],
        ]);
      });
    });

    it('split takes a size or sizes, and is a method', () => {
      fw.scope(() => {
        const y = fw.arange(0, 6, 1, { device });
        expect(y.split(4).map((part) => part.tolist())).to.deep.equal([
          [0, 1, 2, 3],
          [4, 5],
        ]);
        expect(fw.split(y, [1, 5])[0].tolist()).to.deep.equal([0]);
        expectError('INVALID_ARGUMENT', /sizes/, () => y.split(0));
      });
    });

    it('a gradient that null takes the place of is freed by the scope of that moment', () => {
      const w = fw.ones([64], { device, requiresGrad: true });
      const bytes = (): number => fw.memory().devices.find((d) => d.device === device)!.bytes;
      const step = (): void =>
        fw.scope(() => {
          w.square().sum().backward();
          w.grad = null;
        });
      step();
      const before = bytes();
      for (let i = 0; i < 5; i++) step();
      expect(bytes()).to.equal(before);
      w.dispose();
    });
  });
}
