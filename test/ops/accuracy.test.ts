// Functions of float32 against float64 over the whole range of floats, in units of the last place; powers and angles at
// all combinations of zeros, infinities, subnormal and huge numbers; and the same bits wherever a number stands.
import { expect } from 'chai';
import * as fw from '../../lib';
import { targets } from '../support/golden';

type Build = (x: fw.Tensor, y: fw.Tensor) => fw.Tensor;
type Where = { device: fw.Device; dtype: fw.DType };

const REFERENCE: Where = { device: 'js', dtype: 'float64' };
const { Infinity: Inf } = globalThis;

/** Of every sign and exponent some, and some of the sizes that networks have. */
function everySize(each = 9): number[] {
  const numbers: number[] = [];
  for (let exponent = -149; exponent < 128; exponent++)
    for (let i = 0; i < each; i++) numbers.push((1 + ((i * 0.618 + exponent * 0.377) % 1 || 0)) * 2 ** exponent);
  for (let i = 0; i < 3000; i++) numbers.push((i + 0.3) / 200);
  return numbers.map(Math.fround).flatMap((x) => [x, -x]);
}
/** Close to whole numbers of quarter turns, where a sine or a cosine is nearly 0. */
const TURNS = Array.from({ length: 300 }, (_, i) => Math.fround(((i < 200 ? i : 2 ** (i / 8)) * Math.PI) / 2));
const NUMBERS = Float32Array.from([
  ...everySize(),
  ...TURNS,
  ...TURNS.map((x) => -x),
  0,
  -0,
  131072,
  131073,
  1e9,
  3e38,
]);

/** The distance between two neighbouring floats at x; subnormal ones lie as far apart as the smallest normal ones. */
const unit = (x: number): number => 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x) || 1e-45)), -126) - 23);

/** The normal numbers end here, or nearly so. */
const SMALLEST = 2 ** -125;

/** The worst error in units of the last place, and where it is; a result among the smallest numbers may be 0. */
function worst(found: ArrayLike<number>, expected: ArrayLike<number>, at: (i: number) => string): [number, string] {
  let most: [number, string] = [0, 'nowhere'];
  for (let i = 0; i < expected.length; i++) {
    const [y, r] = [found[i], expected[i]];
    const rounded = Math.fround(r);
    if (Number.isNaN(r) ? Number.isNaN(y) : y === rounded || (y === 0 && Math.abs(r) < SMALLEST)) continue;
    const error = Number.isFinite(rounded) ? Math.abs(y - r) / unit(r) : Inf;
    if (!(error <= most[0])) most = [error, `${y} instead of ${r} at ${at(i)}`];
  }
  return most;
}

function expectWithin(units: number, [error, where]: [number, string]): void {
  expect(error, where).to.be.at.most(units);
}

function values(build: Build, where: Where, x: Float32Array, y = x): ArrayLike<number> {
  return fw.scope(() => {
    const [a, b] = [x, y].map((data) => fw.tensor(Float64Array.from(data), where));
    return build(a, b).dataSync();
  });
}

function gradients(build: Build, where: Where, x: Float32Array): ArrayLike<number> {
  return fw.scope(() => {
    const a = fw.tensor(Float64Array.from(x), { ...where, requiresGrad: true });
    build(a, a).sum().backward();
    return a.grad!.dataSync();
  });
}

/** Units of the last place of the value and of the slope; none where that crosses 0 and says nothing. */
const FUNCTIONS: [string, Build, number, number?][] = [
  ['sin', (x) => x.sin(), 2, 2],
  ['cos', (x) => x.cos(), 2, 2],
  ['erf', (x) => x.erf(), 1.5, 4],
  ['gelu', (x) => x.gelu(), 6],
  ['exp', (x) => x.exp(), 2, 2],
  ['expm1', (x) => x.expm1(), 3, 3],
  ['log', (x) => x.log(), 2, 2],
  ['log1p', (x) => x.log1p(), 3, 3],
  ['floor', (x) => x.floor(), 0, 0],
  ['ceil', (x) => x.ceil(), 0, 0],
  ['round', (x) => x.round(), 0, 0],
  ['trunc', (x) => x.trunc(), 0, 0],
  ...[0, 1, 2, 3, 10, -1, -2, 0.5, -0.5, 1.7, -7.3, 0.1, 1e-10, 1e10, 16777217].map(
    (a): [string, Build, number, number] => [
      `pow ${a}`,
      (x) => x.pow(Math.fround(a)),
      a === 2 || a === -1 ? 0.5 : 0.51,
      1.5,
    ],
  ),
];

for (const where of targets().filter(({ device, dtype }) => dtype === 'float32' && !device.startsWith('cuda'))) {
  describe(`accuracy over all floats on ${where.device}`, () => {
    for (const [name, build, ofValue, ofSlope] of FUNCTIONS) {
      it(name, () => {
        const at = (i: number): string => `${name} of ${NUMBERS[i]}`;
        expectWithin(ofValue, worst(values(build, where, NUMBERS), values(build, REFERENCE, NUMBERS), at));
        if (ofSlope === undefined) return;
        // The slope that a value's own rounding gives away is no fault of the function.
        const slopes = [where, REFERENCE].map((to) => gradients(build, to, NUMBERS));
        expectWithin(
          ofSlope,
          worst(slopes[0], slopes[1], (i) => `the slope of ${at(i)}`),
        );
      });
    }

    it('the slope of gelu', () => {
      const gelu: Build = (x) => x.gelu();
      const [found, expected] = [where, REFERENCE].map((to) => gradients(gelu, to, NUMBERS));
      NUMBERS.forEach((x, i) => {
        if (Number.isNaN(x)) return;
        // It crosses 0 at -0.75; far below, the density ends among the smallest numbers, several times which it is.
        const bound = x > -1 ? 2e-7 : 6 * unit(expected[i]) + 8 * SMALLEST;
        expect(Math.abs(found[i] - expected[i]), `at ${x}`).to.be.at.most(bound);
      });
    });

    it('whole powers of whole numbers and of two', () => {
      const [bases, exponents]: number[][] = [[], []];
      for (let b = -12; b <= 12; b++)
        for (let e = 0; Math.abs(b) ** e < 2 ** 24 && e < 24; e++) (bases.push(b), exponents.push(e));
      for (let e = -149; e < 128; e++) (bases.push(2, 4), exponents.push(e, e / 2));
      const pairs = [bases, exponents].map((list) => Float32Array.from(list));
      const y = values((a, b) => a.pow(b), where, pairs[0], pairs[1]);
      bases.forEach((b, i) => expect(y[i], `${b}^${exponents[i]}`).to.equal(b ** exponents[i] + 0));
    });

    it('powers and angles of special numbers, with the signs of zeros', () => {
      const sizes = [0, 2 ** -149, 1e-40, 1e-20, 0.3, 1 - 2 ** -24, 1, 1 + 2 ** -23, 1.5, 2, 3, 4, 5];
      sizes.push(2 ** 24 - 1, 2 ** 24, 2 ** 24 + 2, 2 ** 31, 1e10, 1e30, 3e38, Inf, NaN);
      const list = sizes.flatMap((x) => [x, -x]);
      const a = Float32Array.from(list.flatMap((x) => list.map(() => x)));
      const b = Float32Array.from(list.flatMap(() => list));
      for (const [name, build, units] of [
        ['pow', (x, y) => x.pow(y), 0.51],
        ['atan2', (x, y) => x.atan2(y), 2],
      ] as [string, Build, number][]) {
        const [found, expected] = [where, REFERENCE].map((to) => values(build, to, a, b));
        const at = (i: number): string => `${name} of ${a[i]} and ${b[i]}`;
        expectWithin(units, worst(found, expected, at));
        for (let i = 0; i < a.length; i++)
          if (found[i] === 0) expect(Object.is(found[i], Math.fround(expected[i])), at(i)).to.equal(true);
      }
    });

    it('angles in every direction', () => {
      const n = 20000;
      const [y, x] = [0.7, 1.3].map((f) =>
        Float32Array.from({ length: n }, (_, i) => Math.sin(f * i * i) * 2 ** (((i * 7 * f) | 0) % 60)),
      );
      const [found, expected] = [where, REFERENCE].map((to) => values((a, b) => a.atan2(b), to, y, x));
      expectWithin(
        2,
        worst(found, expected, (i) => `${y[i]}, ${x[i]}`),
      );
    });

    it('a number has the same bits wherever it stands', () => {
      const numbers = NUMBERS.filter((x) => Number.isFinite(x)).subarray(0, 999);
      const other = Float32Array.from(numbers, (_, i) => ((i % 37) - 18) / 4);
      const pairs: [string, Build][] = [
        ['pow', (x, y) => x.abs().pow(y)],
        ['atan2', (x, y) => x.atan2(y)],
        ['where', (x, y) => fw.where(x.gt(y), x, y)],
      ];
      for (const [name, build] of [...FUNCTIONS, ...pairs]) {
        const all = Array.from(values(build, where, numbers, other));
        for (const from of [1, 5, 990, 998])
          expect(Array.from(values(build, where, numbers.slice(from), other.slice(from))), name).to.deep.equal(
            all.slice(from),
          );
        // Walked with steps, and beside one number repeated.
        const turned: Build = (x, y) => {
          const [a, b] = [x, y].map((t) => t.reshape(27, 37).transpose(0, 1));
          return build(a, b).transpose(0, 1).contiguous();
        };
        expect(Array.from(values(turned, where, numbers, other)), name).to.deep.equal(all);
        const repeated = values((x, y) => build(x, y.slice(0, 3, 4)), where, numbers, other);
        const alone = values(build, where, numbers, new Float32Array(numbers.length).fill(other[3]));
        expect(repeated, name).to.deep.equal(alone);
      }
    });
  });
}
