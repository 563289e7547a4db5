// NaN of every sign and payload, infinities, zeros of both signs, subnormal and huge numbers through every function,
// forwards and backwards, against float64 functions of Math and the limits of analysis. Values are those of PyTorch.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';
import { expectSame, NANS, withNans } from '../support/special';

type Where = { device: fw.Device; dtype: fw.DType };
type Function1 = (x: number) => number;

const { Infinity: Inf } = globalThis;

const SIZES = [
  0,
  2 ** -149,
  1e-40,
  2 ** -126,
  1e-20,
  1e-3,
  0.5,
  0.7,
  1,
  3,
  9,
  20,
  60,
  87,
  88,
  89,
  95,
  110,
  1e3,
  1e10,
  1e19,
  1e30,
  3e38,
  Inf,
];
const VALUES = Float32Array.from(SIZES.flatMap((x) => [x, -x]));

const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const sigmoidSlope = (x: number): number => Math.exp(-Math.abs(x)) / (1 + Math.exp(-Math.abs(x))) ** 2;
const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
/** x s, where s falls faster than x grows. */
const fading = (x: number, s: number): number => (s === 0 ? 0 : x * s);
const power = (x: number, a: number): number => (x === 1 ? 1 : Math.pow(x, a));
/** From 20 on float32 holds nothing of what the normal distribution has beyond. */
const far =
  (f: Function1): Function1 =>
  (x) =>
    Math.abs(x) < 20 ? NaN : f(x);

interface Case {
  build: (x: fw.Tensor) => fw.Tensor;
  value: Function1;
  slope: Function1;
  /** A zero has the sign that the function gives it. */
  signed?: boolean;
  /** Only where the reference is a number. */
  partial?: boolean;
}

const CASES: Record<string, Case> = {
  exp: { build: (x) => x.exp(), value: Math.exp, slope: Math.exp },
  log: { build: (x) => x.log(), value: Math.log, slope: (x) => 1 / x },
  sqrt: { build: (x) => x.sqrt(), value: Math.sqrt, slope: (x) => 0.5 / Math.sqrt(x), signed: true },
  rsqrt: { build: (x) => x.rsqrt(), value: (x) => 1 / Math.sqrt(x), slope: (x) => -0.5 / Math.sqrt(x) / x },
  reciprocal: { build: (x) => x.reciprocal(), value: (x) => 1 / x, slope: (x) => -1 / x / x, signed: true },
  abs: { build: (x) => x.abs(), value: Math.abs, slope: Math.sign, signed: true },
  square: { build: (x) => x.square(), value: (x) => x * x, slope: (x) => 2 * x },
  neg: { build: (x) => x.neg(), value: (x) => -x, slope: () => -1, signed: true },
  'times 1': { build: (x) => x.mul(1), value: (x) => x, slope: () => 1, signed: true },
  'times 0': { build: (x) => x.mul(0), value: (x) => x * 0, slope: () => 0, signed: true },
  'plus 0': { build: (x) => x.add(0), value: (x) => x + 0, slope: () => 1, signed: true },
  'minus 0': { build: (x) => x.sub(0), value: (x) => x - 0, slope: () => 1, signed: true },
  tanh: { build: (x) => x.tanh(), value: Math.tanh, slope: (x) => 4 * sigmoidSlope(2 * x), signed: true },
  sigmoid: { build: (x) => x.sigmoid(), value: sigmoid, slope: sigmoidSlope },
  logSigmoid: { build: (x) => x.logSigmoid(), value: (x) => -softplus(-x), slope: (x) => sigmoid(-x) },
  silu: {
    build: (x) => x.silu(),
    value: (x) => fading(x, sigmoid(x)),
    slope: (x) => sigmoid(x) + fading(x, sigmoidSlope(x)),
  },
  swiglu: {
    build: (x) => fw.swiglu(x, fw.ones(x.shape, { device: x.device, dtype: x.dtype })),
    value: (x) => fading(x, sigmoid(x)),
    slope: (x) => sigmoid(x) + fading(x, sigmoidSlope(x)),
  },
  gelu: { build: (x) => x.gelu(), value: far((x) => Math.max(x, 0)), slope: far((x) => Number(x > 0)), partial: true },
  'gelu by tanh': {
    build: (x) => fw.gelu(x, 'tanh'),
    value: far((x) => Math.max(x, 0)),
    slope: far((x) => Number(x > 0)),
    partial: true,
  },
  softplus: { build: (x) => x.softplus(), value: softplus, slope: sigmoid },
  relu: { build: (x) => x.relu(), value: (x) => (x < 0 ? 0 : x), slope: (x) => Number(x > 0) },
  elu1: {
    build: (x) => fw.elu1(x),
    value: (x) => (x > 0 ? x + 1 : Math.exp(x)),
    slope: (x) => (x > 0 ? 1 : Math.exp(x)),
  },
  clamp: {
    build: (x) => x.clamp(-2, 2),
    value: (x) => (Number.isNaN(x) ? x : Math.min(Math.max(x, -2), 2)),
    slope: (x) => Number(Math.abs(x) <= 2),
  },
  'clamp to a range turned round': {
    build: (x) => x.clamp(2, -2),
    value: (x) => 0 * x - 2,
    slope: () => 0,
    partial: true,
  },
  ...Object.fromEntries(
    [0.5, -0.5, 1, 2, 3, -1, -2, 2.5].map((a): [string, Case] => [
      `pow ${a}`,
      { build: (x) => x.pow(a), value: (x) => power(x, a), slope: (x) => a * power(x, a - 1) },
    ]),
  ),
};

function valueAndGradient(build: Case['build'], data: ArrayLike<number>, where: Where, g = 1): ArrayLike<number>[] {
  return fw.scope(() => {
    const x = fw.tensor(where.dtype === 'float64' ? Float64Array.from(data) : Float32Array.from(data), { ...where });
    x.requiresGrad = true;
    const y = build(x);
    y.backward(fw.full(y.shape, g, where));
    return [y.dataSync(), x.grad!.dataSync()];
  });
}

for (const where of targets()) {
  describe(`special values on ${where.device}, ${where.dtype}`, () => {
    const close = where.dtype === 'float32';

    for (const [name, { build, value, slope, signed, partial }] of Object.entries(CASES)) {
      it(name, () => {
        const [y, dx] = valueAndGradient(build, VALUES, where);
        VALUES.forEach((x, i) => {
          const at = `${name} of ${Object.is(x, -0) ? '-0' : x}`;
          if (partial && Number.isNaN(value(x))) return;
          expectSame(at, y[i], value(x), signed);
          // What float32 cannot hold of a value is lost to the slope that is read off it.
          if (close || Number.isFinite(x)) expectSame(`gradient of ${at}`, dx[i], slope(x));
        });
      });

      if (close && !/^clamp to/.test(name)) {
        it(`${name} of NaN of any bits`, () => {
          // Beside numbers, so that NaN stands in whole vectors and in the part of one at the end.
          for (const data of [withNans(new Float32Array(33)), withNans(new Float32Array(0))]) {
            const x = fw.tensor(data, where);
            const y = build(x).dataSync();
            for (let i = data.length - NANS.length; i < data.length; i++)
              expect(y[i], `NaN ${i}`).to.satisfy(Number.isNaN);
          }
        });
      }
    }

    it('gradients leave the range of floats only where they must', () => {
      const cases: [string, Case['build'], number, number, number][] = [
        ['log', (x) => x.log(), 1e-40, 1e-10, 1e30],
        ['rsqrt', (x) => x.rsqrt(), 1e-28, 1e-10, -0.5e32],
        ['reciprocal', (x) => x.reciprocal(), 1e-25, 1e-20, -1e30],
        ['reciprocal', (x) => x.reciprocal(), 1e25, 1e20, -1e-30],
        ['square', (x) => x.square(), 3e38, 0.1, 0.6e38],
        ['div by x', (x) => x.mul(0).add(1e-20).div(x), 1e-15, 1, -1e10],
        ['div by x', (x) => x.mul(0).add(1e-30).div(x), 1e-25, 1, -1e20],
        ['div by x', (x) => x.mul(0).add(1e30).div(x), 1e25, 1, -1e-20],
        ['sigmoid', (x) => x.sigmoid(), 40, 1, Math.exp(-40)],
        ['tanh', (x) => x.tanh(), 20, 1, 4 * Math.exp(-40)],
      ];
      for (const [name, build, x, g, expected] of cases) {
        const [, dx] = valueAndGradient(build, [x], where, g);
        expect(dx[0] / expected, `${name} at ${x}`).to.be.closeTo(1, 1e-4);
      }
    });

    it('powers at 0 and of negative numbers, with exponents on both sides', () => {
      // [base, exponent, gradient of the base, gradient of the exponent]
      const cases = [
        [0, 0, 0, 0],
        [0, 1, 1, 0],
        [0, 2, 0, 0],
        [-0, 0, 0, 0],
        [0, 0.5, Inf, 0],
        [0, -1, -Inf, -Inf],
        [2, 0, 0, Math.log(2)],
        [NaN, 0, 0, NaN],
        [-2, 3, 12, NaN],
        [-2, 2, -4, NaN],
        [1, Inf, Inf, 0],
        [3, 2, 6, 9 * Math.log(3)],
      ];
      const [a, b] = [0, 1].map((i) =>
        fw.tensor(
          cases.map((c) => c[i]),
          { ...where, requiresGrad: true },
        ),
      );
      const y = a.pow(b);
      y.sum().backward();
      const [values, da, db] = [y, a.grad!, b.grad!].map((t) => t.dataSync());
      cases.forEach(([base, exponent, ofBase, ofExponent], i) => {
        const at = `${base}^${exponent}`;
        expectSame(at, values[i], power(base, exponent));
        expectSame(`gradient of the base of ${at}`, da[i], ofBase);
        expectSame(`gradient of the exponent of ${at}`, db[i], ofExponent);
        const x = fw.tensor([base], { ...where, requiresGrad: true });
        x.pow(exponent).backward();
        if (Number.isFinite(exponent)) expectSame(`gradient of ${at} by a number`, x.grad!.dataSync()[0], ofBase);
      });
    });
  });
}
