// Projections by weights in bfloat16 and 8 bits, against the naive product in double precision of the same rounded weights;
// rows alone and in company; how far the weights are off.
import { expect } from 'chai';
import * as fw from '../../lib';
import { fromBfloat16, toBfloat16 } from '../../lib/core';
import { type PackedWeight, packing, quantizedLinear } from '../../lib/ops';
import { expectError } from '../support/errors';
import { targets } from '../support/golden';
import { Draw } from '../support/ruleInputs';
import { expectClose, toleranceOf } from '../support/tolerance';

type Format = 'bfloat16' | 'int8';
const FORMATS: Format[] = ['bfloat16', 'int8'];

/** The rows of a float32 weight as they are kept: integers and what they are multiplied by, or rounded numbers. */
function keptRows(
  weight: Float32Array,
  n: number,
  k: number,
  format: Format,
): { numbers: Float64Array; scale: number }[] {
  return Array.from({ length: n }, (_, row) => {
    const values = Float64Array.from(weight.subarray(row * k, (row + 1) * k));
    if (format === 'bfloat16') return { numbers: values.map((value) => fromBfloat16(toBfloat16(value))), scale: 1 };
    const scale = Math.fround(Math.max(...values.map(Math.abs)) / 127);
    return { numbers: values.map((value) => (scale === 0 ? 0 : Math.round(value / scale))), scale };
  });
}

function packed(weight: fw.Tensor, format: Format): PackedWeight {
  const steps = packing('test', weight, format);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

const silu = (x: number): number => x / (1 + Math.exp(-x));

const SIZES: [n: number, k: number][] = [
  [1, 1],
  [5, 17],
  [63, 1],
  [64, 17],
  [65, 33],
  [130, 1025],
  [200, 2100],
];
const ROWS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100];

for (const where of targets()) {
  const small = where.device === 'cuda-emulation';
  const sizes = small ? SIZES.slice(0, 5) : SIZES;
  const counts = small ? [1, 5, 9] : ROWS;

  describe(`quantizedLinear on ${where.device}, ${where.dtype}`, () => {
    const draw = new Draw(18);
    for (const format of FORMATS) {
      for (const [n, k] of sizes) {
        it(`${format}, ${n} x ${k}: equals the naive product, whatever stands beside a row`, () =>
          fw.scope(() => {
            const kept = Float32Array.from(draw.uniform([n, k], -1, 1).data);
            const rows = keptRows(kept, n, k, format);
            const weight = packed(fw.tensor(kept, { shape: [n, k], device: where.device }), format);
            const most = Math.max(...counts);
            const host = { x: draw.uniform([most, k], -2, 2), bias: draw.uniform([n], -1, 1) };
            const residual = draw.uniform([most, n], -1, 1);
            const [x, b, r] = [host.x, host.bias, residual].map(({ data, shape }) =>
              fw.tensor(data, { shape, ...where }),
            );
            const [xs, bs, rs] = [host.x, host.bias, residual].map(({ data }) =>
              where.dtype === 'float32' ? Float64Array.from(Float32Array.from(data)) : data,
            );
            const plain: number[] = [];
            const full: number[] = [];
            for (let i = 0; i < most; i++) {
              for (let j = 0; j < n; j++) {
                let sum = 0;
                for (let p = 0; p < k; p++) sum += xs[i * k + p] * rows[j].numbers[p];
                plain.push(sum * rows[j].scale);
                full.push(silu(sum * rows[j].scale + bs[j]) + rs[i * n + j]);
              }
            }
            const all = quantizedLinear(x, weight).dataSync();
            const tolerance = toleranceOf(where.dtype).forward;
            expectClose('product', all, plain, tolerance);
            const finished = quantizedLinear(x, weight, b, { activation: 'silu', residual: r }).dataSync();
            expectClose('with what may follow', finished, full, tolerance);
            for (const count of counts) {
              const part = x.slice(0, most - count, most).contiguous();
              const own = all.slice((most - count) * n);
              expect(quantizedLinear(part, weight).dataSync(), `the last ${count}`).to.deep.equal(own);
              const beside = r.slice(0, most - count, most).contiguous();
              const y = quantizedLinear(part, weight, b, { activation: 'silu', residual: beside }).dataSync();
              expect(y, `the last ${count}, finished`).to.deep.equal(finished.slice((most - count) * n));
            }
          }));
      }

      it(`${format}: no rows, no terms, infinite inputs`, () =>
        fw.scope(() => {
          const weight = packed(fw.ones([70, 3], { device: where.device }), format);
          expect(quantizedLinear(fw.zeros([0, 3], where), weight).shape).to.deep.equal([0, 70]);
          const none = packed(fw.zeros([70, 0], { device: where.device }), format);
          const bias = fw.full([70], 0.5, where);
          const y = quantizedLinear(fw.zeros([2, 0], where), none, bias).dataSync();
          expect([...y].every((value) => value === 0.5)).to.equal(true);
          const infinite = quantizedLinear(fw.full([1, 3], Infinity, where), weight).dataSync();
          expect([...infinite].every((value) => value === Infinity)).to.equal(true);
        }));
    }
  });
}

describe('quantised weights', () => {
  it('are off by half a scale, or by 2^-8 of themselves', () => {
    const [n, k] = [130, 77];
    const draw = new Draw(3);
    const device = 'js';
    const host = Float32Array.from(draw.uniform([n, k], -1, 1).data, (value, i) => value * 10 ** ((i % 7) - 3));
    fw.scope(() => {
      const weight = fw.tensor(host, { shape: [n, k], device });
      const identity = fw.tensor(
        Float64Array.from({ length: k * k }, (_, i) => Number(i % (k + 1) === 0)),
        {
          ...{ shape: [k, k], dtype: 'float64', device },
        },
      );
      for (const format of FORMATS) {
        const back = quantizedLinear(identity, packed(weight, format)).dataSync();
        for (let j = 0; j < n; j++) {
          const largest = Math.max(...host.subarray(j * k, (j + 1) * k).map(Math.abs));
          for (let p = 0; p < k; p++) {
            const value = host[j * k + p];
            const bound = format === 'int8' ? (largest / 254) * (1 + 1e-6) : Math.abs(value) * 2 ** -8;
            expect(Math.abs(back[p * n + j] - value)).to.be.at.most(bound);
          }
        }
      }
    });
  });

  it('keep rows of zeros, of tiny and of huge numbers', () =>
    fw.scope(() => {
      const rows = [0, 1e-44, 3e38, 1e-35];
      const weight = fw.tensor(
        rows.flatMap((value) => [value, -value]),
        { shape: [4, 2], device: 'js' },
      );
      const y = quantizedLinear(fw.tensor([[1, 0]], { dtype: 'float64', device: 'js' }), packed(weight, 'int8'));
      const [zero, tiny, huge, small] = y.dataSync();
      expect([zero, tiny]).to.deep.equal([0, 0]);
      expect(huge / 3e38).to.be.closeTo(1, 1e-6);
      expect(small / 1e-35).to.be.closeTo(1, 1e-6);
    }));

  it('refuse gradients, other dtypes and shapes, and what is not finite', () => {
    const device = 'js';
    const weight = packed(fw.ones([3, 2], { device }), 'int8');
    const x = fw.ones([1, 2], { device });
    const trained = fw.ones([1, 2], { device, requiresGrad: true });
    expectError('GRAPH', /weights in int8 have no gradients; compute inside noGrad/, () =>
      quantizedLinear(trained, weight),
    );
    fw.noGrad(() => quantizedLinear(trained, weight));
    expectError('SHAPE', /x must be \[\.\.\., 2\] for weight \[3, 2\], got \[1, 3\]/, () =>
      quantizedLinear(fw.ones([1, 3], { device }), weight),
    );
    expectError('SHAPE', /bias must be \[3\]/, () => quantizedLinear(x, weight, fw.ones([2], { device })));
    expectError('SHAPE', /residual/, () => quantizedLinear(x, weight, null, { residual: x }));
    expectError('INVALID_ARGUMENT', /weight must be finite numbers, got NaN or infinity/, () =>
      packed(fw.tensor([[NaN, 1]], { device }), 'int8'),
    );
    for (const value of [NaN, Infinity, -Infinity, 3.4e38]) {
      expectError('INVALID_ARGUMENT', /weight must be finite numbers, got NaN, infinity or what rounds to it/, () =>
        packed(
          fw.tensor(
            [
              [1, 1],
              [value, 1],
            ],
            { device },
          ),
          'bfloat16',
        ),
      );
    }
    // A NaN whose bits rounding would carry away, and the largest number that there is.
    const bits = new Float32Array(new Uint32Array([0xffffffff, 0x7f7f0000]).buffer);
    expectError('INVALID_ARGUMENT', /finite numbers/, () =>
      packed(fw.tensor(bits, { shape: [1, 2], device }), 'bfloat16'),
    );
    packed(fw.tensor(bits.subarray(1), { shape: [1, 1], device }), 'bfloat16');
    expectError('DTYPE', /weight must be float32, got float64/, () =>
      packed(fw.ones([1, 2], { device, dtype: 'float64' }), 'bfloat16'),
    );
    expectError('INVALID_ARGUMENT', /weights must be/, () => packed(fw.ones([1, 2], { device }), 'int4' as 'int8'));
  });
});
