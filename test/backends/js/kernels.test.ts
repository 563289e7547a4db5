// Kernels of the js device that have no gradient test, against plain formulas.
import { expect } from 'chai';
import { erfc } from '../../../lib/backends/js/special';
import { dtypeCode, philox, uniformOf } from '../../../lib/core';
import { array, expectClose, int32, kernels, make, source } from './helpers';

describe('js kernels', () => {
  it('matmul: odd sizes, strided operands, accumulation, and k = 0', () => {
    const random = source(1);
    for (const [m, n, k] of [
      [1, 1, 1],
      [3, 5, 0],
      [65, 67, 33],
      [7, 130, 9],
    ]) {
      const [a, b, c] = [random([2, k, m]), random([n, k]), random([2, m, n])];
      const expected = Array.from(array(c), (value, at) => {
        const [i, row, column] = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n];
        let sum = 0;
        for (let l = 0; l < k; l++) sum += array(a)[(i * k + l) * m + row] * array(b)[column * k + l];
        return value + 0.5 * sum;
      });
      const strides = { aStrides: [k * m, 0, 1, m], bStrides: [0, 0, 1, k], cStrides: [m * n, 0, n, 1] };
      kernels.matmul({ a, b, c, batch1: 2, batch2: 1, m, n, k, ...strides, alpha: 0.5, accumulate: 1, precision: 0 });
      expectClose(array(c), expected, 1e-13, `${m} x ${n} x ${k}`);
    }
  });

  it('erfc agrees with the series of erf', () => {
    for (let x = -5; x <= 5; x += 0.125) {
      let term = (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * x;
      let erf = 0;
      for (let n = 1; n < 200; n++) {
        erf += term;
        term *= (2 * x * x) / (2 * n + 1);
      }
      expect(erfc(x)).to.be.closeTo(1 - erf, 4e-15);
    }
    expect([erfc(Infinity), erfc(-Infinity), erfc(NaN)]).to.deep.equal([0, 2, NaN]);
    expect(erfc(10) / 2.088487583762545e-45).to.be.closeTo(1, 1e-13);
  });

  it('random and dropout draw word i of the stream', () => {
    const words = new Uint32Array(4);
    philox(words, 7, 8, 1, 3);
    const y = make([6]);
    const key = { seedLow: 7, seedHigh: 8, stream: 3 };
    kernels.random({ y, n: 6, kind: 0, ...key, a: 2, b: 4 });
    expect(array(y)[5]).to.equal(2 + 2 * uniformOf(words[1]));
    const x = make([6], [1, 1, 1, 1, 1, 1]);
    kernels.dropout({ x, y, n: 6, p: 0.5, ...key });
    expect(array(y)[5]).to.equal(uniformOf(words[1]) >= 0.5 ? 2 : 0);
  });

  it('cast goes between all pairs', () => {
    const y = make([3], undefined, 'bfloat16');
    const x = make([3], [1.5, -2.75, 3.0000001]);
    kernels.cast({ x, y, n: 3, from: dtypeCode('float64'), to: dtypeCode('bfloat16') });
    const z = make([3], undefined, 'int32');
    kernels.cast({ x: y, y: z, n: 3, from: dtypeCode('bfloat16'), to: dtypeCode('int32') });
    expect([...array(z)]).to.deep.equal([1, -2, 3]);
  });

  it('copy and binary walk strides, also of empty and rank 0 shapes', () => {
    const x = int32([1, 2, 3, 4, 5, 6]);
    const y = int32([0, 0, 0, 0, 0, 0]);
    kernels.copy({ x, y, shape: [3, 2], xStrides: [1, 3], yStrides: [2, 1], bytes: 4 });
    expect([...array(y)]).to.deep.equal([1, 4, 2, 5, 3, 6]);
    const sum = { op: 0, dtype: dtypeCode('int32') };
    kernels.binary({ a: x, b: x, y, shape: [3, 2], aStrides: [2, 1], bStrides: [0, 1], ...sum });
    expect([...array(y)]).to.deep.equal([2, 4, 4, 6, 6, 8]);
    kernels.binary({ a: x, b: x, y, shape: [0, 2], aStrides: [2, 1], bStrides: [2, 1], ...sum });
    kernels.binary({ a: x, b: x, y, shape: [], aStrides: [], bStrides: [], ...sum });
    expect(array(y)[0]).to.equal(2);
  });

  it('rope inverts itself', () => {
    const x = source(5)([3, 2, 7]);
    const [y, z] = [make(x.shape), make(x.shape)];
    const frequencies = make([3], [1, 0.3, 0.1]);
    for (const interleaved of [0, 1]) {
      const shape = { positions: int32([0, 5, 9]), frequencies, tokens: 3, heads: 2, width: 7, pairs: 3, interleaved };
      kernels.rope({ x, y, ...shape, inverse: 0 });
      kernels.rope({ x: y, y: z, ...shape, inverse: 1 });
      expectClose(array(z), array(x), 1e-14);
    }
  });
});
