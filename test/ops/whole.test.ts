// int32: arithmetic that wraps, division that rounds down, casts that saturate, and what is refused; on every device.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const [LEAST, MOST] = [-(2 ** 31), 2 ** 31 - 1];
const wrap = (x: bigint): number => Number(BigInt.asIntN(32, x));
const SAMPLES = [0, 1, -1, 2, -2, 3, 7, -7, 31, 65536, -65537, 123456789, MOST, MOST - 1, LEAST, LEAST + 1];

type Op = 'add' | 'sub' | 'mul' | 'pow' | 'floorDivide' | 'remainder' | 'maximum' | 'minimum' | 'eq' | 'lt' | 'gt';

function floorQuotient(a: bigint, b: bigint): bigint {
  if (b === 0n) return 0n;
  return a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);
}

function power(a: bigint, b: bigint): bigint {
  if (b < 0n) return a === 1n ? 1n : a === -1n ? (b % 2n === 0n ? 1n : -1n) : 0n;
  let result = 1n;
  for (let [square, left] = [a, b]; left > 0n; left /= 2n, square = BigInt.asIntN(32, square * square)) {
    if (left % 2n === 1n) result = BigInt.asIntN(32, result * square);
  }
  return result;
}

const EXACT: Record<Op, (a: bigint, b: bigint) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  pow: power,
  floorDivide: floorQuotient,
  remainder: (a, b) => (b === 0n ? 0n : a - b * floorQuotient(a, b)),
  maximum: (a, b) => (a > b ? a : b),
  minimum: (a, b) => (a < b ? a : b),
  eq: (a, b) => BigInt(a === b),
  lt: (a, b) => BigInt(a < b),
  gt: (a, b) => BigInt(a > b),
};

for (const { device, available } of fw.devices()) {
  if (!available) continue;
  describe(`int32 on ${device}`, () => {
    const whole = (data: fw.NestedNumbers): fw.Tensor => fw.tensor(data, { dtype: 'int32', device });
    const column = whole(SAMPLES).reshape(-1, 1).persist();
    const row = whole(SAMPLES).persist();

    for (const [op, exact] of Object.entries(EXACT) as [Op, (typeof EXACT)[Op]][]) {
      it(`${op} of all pairs`, () => {
        const expected = SAMPLES.map((a) => SAMPLES.map((b) => wrap(exact(BigInt(a), BigInt(b)))));
        expect(column[op](row).tolist()).to.deep.equal(expected);
      });
    }

    it('numbers stand beside it when they are whole and in range', () => {
      expect(whole([7, -7]).floorDivide(2).tolist()).to.deep.equal([3, -4]);
      expect(whole([7, -7]).remainder(-2).tolist()).to.deep.equal([-1, -1]);
      expect(whole([3, -3]).pow(3).tolist()).to.deep.equal([27, -27]);
      expect(fw.noGrad(() => whole([MOST]).add_(1).mul_(2)).tolist()).to.deep.equal([0]);
      const t = whole([1, 2]);
      const refused: ((value: number) => unknown)[] = [
        (v) => t.add(v),
        (v) => t.sub(v),
        (v) => t.mul(v),
        (v) => t.div(v),
        (v) => t.floorDivide(v),
        (v) => t.remainder(v),
        (v) => t.pow(v),
        (v) => t.maximum(v),
        (v) => t.gt(v),
        (v) => t.clamp(v, 3),
        (v) => fw.noGrad(() => t.add_(v)),
        (v) => fw.noGrad(() => t.mul_(v)),
        (v) => fw.noGrad(() => t.fill_(v)),
        (v) => fw.full([2], v, { dtype: 'int32', device }),
      ];
      for (const use of refused)
        for (const value of [0.5, NaN, Infinity, 2 ** 31])
          expectError('INVALID_ARGUMENT', /must be a whole number/, () => use(value));
      expectError('INVALID_ARGUMENT', /exponent must be a whole number from 0/, () => t.pow(-1));
    });

    it('div is float32', () => {
      const y = whole([7, -7, 1, MOST]).div(whole([2, 2, 0, -1]));
      expect(y.dtype).to.equal('float32');
      expect([...y.dataSync()]).to.deep.equal([3.5, -3.5, Infinity, -(2 ** 31)]);
      expect(whole([7]).div(2).item()).to.equal(3.5);
    });

    it('sums and running sums wrap; extrema and their positions are exact', () => {
      const x = whole([
        [MOST, 1, 16777217],
        [16777216, LEAST, -1],
      ]);
      const long = fw.full([70000], MOST, { dtype: 'int32', device });
      expect(x.sum().item()).to.equal(wrap(BigInt(MOST) + 1n + 16777217n + 16777216n + BigInt(LEAST) - 1n));
      expect(x.sum(0).tolist()).to.deep.equal([wrap(BigInt(MOST) + 16777216n), -MOST, 16777216]);
      expect(x.sum(1, true).tolist()).to.deep.equal([
        [wrap(BigInt(MOST) + 16777218n)],
        [wrap(16777215n + BigInt(LEAST))],
      ]);
      expect(long.sum().item()).to.equal(wrap(70000n * BigInt(MOST)));
      expect(long.reshape(35000, 2).sum(0).tolist()).to.deep.equal([1, 1].map(() => wrap(35000n * BigInt(MOST))));
      expect([...long.cumsum(0).dataSync()].slice(-2)).to.deep.equal(
        [69999n, 70000n].map((n) => wrap(n * BigInt(MOST))),
      );
      expect(x.cumsum(0).tolist()).to.deep.equal([
        [MOST, 1, 16777217],
        [wrap(BigInt(MOST) + 16777216n), -MOST, 16777216],
      ]);
      expect(x.cumsum(1).slice(1, 2).tolist()).to.deep.equal([
        [wrap(BigInt(MOST) + 16777218n)],
        [wrap(16777215n + BigInt(LEAST))],
      ]);
      expect([x.max().item(), x.min().item()]).to.deep.equal([MOST, LEAST]);
      expect(x.max(0).tolist()).to.deep.equal([MOST, 1, 16777217]);
      expect(x.min(1).tolist()).to.deep.equal([1, LEAST]);
      expect(
        whole([[16777216, 16777217, 5, 16777217]])
          .argmax()
          .tolist(),
      ).to.deep.equal([1]);
      expect(x.argmax(0).tolist()).to.deep.equal([0, 0, 0]);
      expect(
        whole([
          [1, 2],
          [3, 2],
        ])
          .argmax(0)
          .tolist(),
      ).to.deep.equal([1, 0]);
      expectError('DTYPE', /mean: x must be a floating-point/, () => x.mean());
    });

    it('neg, abs, square and clamp wrap; functions of floats are refused', () => {
      const x = whole([5, -5, LEAST, 65536]);
      expect(x.neg().tolist()).to.deep.equal([-5, 5, LEAST, -65536]);
      expect(x.abs().tolist()).to.deep.equal([5, 5, LEAST, 65536]);
      expect(x.square().tolist()).to.deep.equal([25, 25, 0, 0]);
      expect(x.clamp(-3, 7).tolist()).to.deep.equal([5, -3, -3, 7]);
      expect(x.clamp(0).tolist()).to.deep.equal([5, 0, 0, 65536]);
      for (const f of [
        'exp',
        'log',
        'sqrt',
        'rsqrt',
        'reciprocal',
        'sin',
        'relu',
        'tanh',
        'softmax',
        'logSoftmax',
      ] as const)
        expectError('DTYPE', /floating-point/, () => x[f]());
    });

    it('casts truncate and saturate, NaN to 0, from data as from tensors', () => {
      const data = [3e9, -3e9, Infinity, -Infinity, NaN, -1.9, 1.9, 2147483520];
      const expected = [MOST, LEAST, MOST, LEAST, 0, -1, 1, 2147483520];
      expect([...fw.tensor(data, { device }).to('int32').dataSync()]).to.deep.equal(expected);
      expect([...whole(data).dataSync()]).to.deep.equal(expected);
      const half = fw.tensor(data.slice(0, 6), { device }).to('bfloat16').to('int32');
      expect([...half.dataSync()].slice(0, 5)).to.deep.equal(expected.slice(0, 5));
    });

    it('floats divide with rounding down, too, with the gradient of a remainder', () => {
      const a = [7, -7, 7, -7, 0.3, 1e10, -1, 1, 0, -4, Infinity];
      const b = [2, 2, -2, -2, 0.1, 3, Infinity, 0, -5, 2, 2];
      const [x, y] = [a, b].map((t) => fw.tensor(t, { device }));
      expect([...x.floorDivide(y).dataSync()]).to.deep.equal(
        [3, -4, -4, 3, 3, 3333333333, -1, Infinity, -0, -2, NaN].map(Math.fround),
      );
      const rest = Math.fround(Math.fround(0.3) % Math.fround(0.1));
      expect([...x.remainder(y).dataSync()].map((v) => v + 0)).to.deep.equal([
        1,
        1,
        -1,
        -1,
        rest,
        1,
        Infinity,
        NaN,
        0,
        0,
        NaN,
      ]);
      const [u, v] = [7, -7].map((n) => fw.tensor([n, 5], { device, requiresGrad: true }));
      const two = fw.tensor([2, -3], { device, requiresGrad: true });
      u.remainder(two).sum().add(v.floorDivide(2).sum()).backward();
      expect([u.grad!.tolist(), two.grad!.tolist(), v.grad]).to.deep.equal([[1, 1], [-3, 2], null]);
    });
  });
}
