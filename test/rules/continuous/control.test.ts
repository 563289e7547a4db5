// Splines and log-signatures: what they are by their definitions, missing values, and what they refuse.
import { expect } from 'chai';
import * as fw from '../../../lib';
import { expectError } from '../../support/errors';
import { targets } from '../../support/golden';
import { expectClose, toleranceOf } from '../../support/tolerance';

const js64 = { device: 'js', dtype: 'float64' } as const;
const TIMES = [0, 0.4, 1.5, 1.7, 3, 4.2];

for (const where of targets()) {
  const { forward } = toleranceOf(where.dtype);

  describe(`naturalCubicSpline on ${where.device}, ${where.dtype}`, () => {
    const x = fw.withSeed(3, () => fw.randn([2, TIMES.length, 3], where));

    it('goes through its knots, with two derivatives, and bends at neither end', () => {
      const spline = fw.naturalCubicSpline(TIMES, x);
      const { values } = fw.evaluateSpline(spline, TIMES);
      expectClose('values', values.dataSync(), x.dataSync(), forward);
      const { b, twoC, threeD } = spline;
      const width = fw.tensor(
        TIMES.slice(1).map((t, i) => t - TIMES[i]),
        { ...where, shape: [1, 5, 1] },
      );
      const bend = twoC.add(threeD.mul(width).mul(2));
      const slope = b.add(twoC.mul(width)).add(threeD.mul(width.square()));
      const inner = (t: fw.Tensor): ArrayLike<number> => t.slice(1, 0, 4).dataSync();
      expectClose('slopes', inner(slope), b.slice(1, 1).dataSync(), 10 * forward);
      expectClose('bends', inner(bend), twoC.slice(1, 1).dataSync(), 10 * forward);
      expectClose('first', twoC.select(1, 0).dataSync(), new Float64Array(6), 100 * forward);
      expectClose('last', bend.select(1, 4).dataSync(), new Float64Array(6), 100 * forward);
    });

    it('leaves out what is missing, said by NaN or by observed', () => {
      const holes = [1, 3, 4];
      const observed = fw
        .tensor(
          TIMES.flatMap((_, i) => [1, Number(!holes.includes(i)), 1]),
          { device: where.device, dtype: 'int32', shape: [1, 6, 3] },
        )
        .expand(2, 6, 3);
      const nan = x.maskedFill(observed.eq(0), NaN);
      const at = [0, 0.2, 0.4, 1, 1.6, 2.5, 4, 4.2];
      const sparse = TIMES.filter((_, i) => !holes.includes(i));
      const column = (t: fw.Tensor): fw.Tensor => t.slice(2, 1, 2);
      const rest = fw.cat(
        sparse.map((t) => column(x).slice(1, TIMES.indexOf(t), TIMES.indexOf(t) + 1)),
        1,
      );
      const expected = fw.evaluateSpline(fw.naturalCubicSpline(sparse, rest), at);
      const whole = fw.evaluateSpline(fw.naturalCubicSpline(TIMES, x), at);
      for (const spline of [fw.naturalCubicSpline(TIMES, nan), fw.naturalCubicSpline(TIMES, x, { observed })]) {
        const found = fw.evaluateSpline(spline, at);
        for (const name of ['values', 'derivatives'] as const) {
          expectClose(name, column(found[name]).dataSync(), expected[name].dataSync(), 10 * forward);
          expectClose(name, found[name].slice(2, 2).dataSync(), whole[name].slice(2, 2).dataSync(), 10 * forward);
        }
      }
      const none = fw.naturalCubicSpline(TIMES, fw.full([1, 6, 1], NaN, where));
      expect(fw.evaluateSpline(none, at).values.abs().max().item()).to.equal(0);
    });
  });

  describe(`logSignature on ${where.device}, ${where.dtype}`, () => {
    it('is the area that a path encloses, and follows the rule of Chen for paths one after the other', () => {
      const square = fw.tensor([0, 0, 2, 0, 2, 1, 0, 1, 0, 0], { ...where, shape: [1, 5, 2] });
      expectClose('square', fw.logSignature(square, { step: 4 }).dataSync(), [0, 0, 2], forward);
      const x = fw.withSeed(5, () => fw.randn([2, 9, 3], where));
      const halves = fw.logSignature(x, { step: 4 });
      const [p, q] = [0, 1].map((w) => halves.select(1, w));
      // log(exp(p) exp(q)) = p + q + [p, q] / 2, whose last part is of the increments.
      const bracket = (i: number, j: number): fw.Tensor => {
        const part = (t: fw.Tensor, c: number): fw.Tensor => t.slice(1, c, c + 1);
        return part(p, i)
          .mul(part(q, j))
          .sub(part(p, j).mul(part(q, i)))
          .mul(0.5);
      };
      const zero = fw.zeros([2, 3], where);
      const expected = p.add(q).add(fw.cat([zero, bracket(0, 1), bracket(0, 2), bracket(1, 2)], 1));
      expectClose('Chen', fw.logSignature(x, { step: 8 }).dataSync(), expected.dataSync(), 10 * forward);
    });
  });
}

describe('splines and log-signatures', () => {
  it('are differentiable', () => {
    const x = fw.withSeed(7, () => fw.randn([1, 5, 2], { ...js64, requiresGrad: true }));
    const observed = fw.tensor([1, 0, 1, 1, 0, 1, 1, 1, 0, 1], { device: 'js', dtype: 'int32', shape: [1, 5, 2] });
    const weigh = (t: fw.Tensor): fw.Tensor => t.mul(fw.linspace(1, 2, t.size, js64).reshape(...t.shape)).sum();
    const check = (fn: (t: fw.Tensor) => fw.Tensor): void => {
      expect(fw.gradcheck((t: fw.Tensor) => weigh(fn(t)), [x])).to.equal(true);
    };
    const at = [0.3, 1, 3.9];
    check((t) => fw.evaluateSpline(fw.naturalCubicSpline([0, 1, 1.5, 3, 4], t, { observed }), at).derivatives);
    check((t) => fw.evaluateSpline(fw.naturalCubicSpline([0, 1, 1.5, 3, 4], t), at).values);
    check((t) => fw.logSignature(t, { step: 3 }));
  });

  it('refuse what they cannot use, and name it', () => {
    const x = fw.zeros([1, 3, 2], js64);
    const spline = fw.naturalCubicSpline([0, 1, 2], x);
    const cases: [fw.ErrorCode, string, RegExp, () => unknown][] = [
      ['INVALID_ARGUMENT', 'times', /increase, got 0 after 1/, () => fw.naturalCubicSpline([1, 0, 2], x)],
      ['INVALID_ARGUMENT', 'times', /at least 2/, () => fw.naturalCubicSpline([0], x.slice(1, 0, 1))],
      ['SHAPE', 'x', /\[B, 2, C\], got \[1, 3, 2\]/, () => fw.naturalCubicSpline([0, 1], x)],
      ['SHAPE', 'observed', /got \[1, 3\]/, () => fw.naturalCubicSpline([0, 1, 2], x, { observed: x.select(2, 0) })],
      ['INVALID_ARGUMENT', 'at', /finite times/, () => fw.evaluateSpline(spline, [0, NaN])],
      ['INVALID_ARGUMENT', 'spline', /an object/, () => fw.evaluateSpline(null as never, [0])],
      ['INVALID_ARGUMENT', 'spline.times', /finite times/, () => fw.evaluateSpline({} as never, [0])],
      ['SHAPE', 'spline.b', /\[1, 2, 2\], got/, () => fw.evaluateSpline({ ...spline, b: x }, [0])],
      ['SHAPE', 'x', /at least 2 samples/, () => fw.logSignature(x.slice(1, 0, 1), { step: 1 })],
      ['INVALID_ARGUMENT', 'step', /a whole number >= 1/, () => fw.logSignature(x, { step: 0 })],
      ['INVALID_ARGUMENT', 'depth', /from 1 to 2/, () => fw.logSignature(x, { step: 1, depth: 3 as never })],
    ];
    for (const [code, argument, message, fn] of cases) {
      expect(expectError(code, message, fn).argument).to.equal(argument);
    }
  });
});
