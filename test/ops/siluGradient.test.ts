// The gradient of silu where everything lies in whole packs of 16 bytes, and where it does not: against float64.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { Draw, rounded } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';

const draw = new Draw(7);
/** Rows of 40 elements are whole packs; of 41 they are not, nor do those behind the first begin with one. */
const WIDTHS = [40, 41];
const ROWS = 9;

for (const where of targets({ bfloat16: true })) {
  describe(`the gradient of silu on ${where.device}, ${where.dtype}`, () => {
    for (const width of WIDTHS) {
      const { x, dy } = rounded({
        x: draw.uniform([ROWS, width], -9, 9),
        dy: draw.uniform([ROWS, width], -1, 1),
      });
      const gradient = (at: { device: fw.Device; dtype: fw.DType }, from: number): ArrayLike<number> =>
        fw.scope(() => {
          const [own, slopes] = [x, dy].map(({ data, shape }) =>
            fw
              .tensor(data, { ...at, shape })
              .slice(0, from)
              .detach(),
          );
          own.requiresGrad = true;
          own.silu().backward(slopes);
          const found = own.grad!.dataSync();
          own.grad!.dispose();
          return found;
        });
      for (const from of [0, 1]) {
        it(`of rows of ${width}, from row ${from} on`, () => {
          const exact = gradient({ device: 'js', dtype: 'float64' }, from);
          expectClose('gradient', gradient(where, from), exact, toleranceOf(where.dtype).gradient);
        });
      }
    }

    it('ends on both sides', () => {
      const far = fw.tensor([-1e4, -100, 0, 100, 1e4, -88, 88, 1], { ...where, requiresGrad: true });
      far.silu().sum().backward();
      const found = [...far.grad!.dataSync()];
      far.grad!.dispose();
      expect(found.slice(0, 5).map((slope) => Math.round(slope * 1e6) / 1e6 + 0)).to.deep.equal([0, 0, 0.5, 1, 1]);
    });
  });
}
