// Arguments of kernels as the doubles that the addon reads.
import { expect } from 'chai';
import { compileEncoder } from '../../../lib/backends/encode';
import { MAX_LIST } from '../../../lib/backends/table';
import { type DeviceMemory, type DType, type FastWeightsError, Storage, Tensor } from '../../../lib/core';

/** Memory that holds nothing: every block is number 7. */
const memory: DeviceMemory = {
  device: 'cpu',
  allocate: () => 7,
  free: () => undefined,
  write: () => undefined,
  read: () => undefined,
  readAsync: () => Promise.resolve(),
};

function blank(shape: number[], dtype: DType = 'float32', strides?: number[], offset = 0): Tensor {
  return new Tensor(new Storage(memory, dtype, 1000), shape, strides, offset);
}

function encoded(
  kernel: Parameters<typeof compileEncoder>[0],
  args: Record<string, unknown>,
  length: number,
): number[] {
  const command = new Float64Array(512).fill(NaN);
  compileEncoder(kernel, command)(args);
  expect([...command.slice(length)].every(Number.isNaN), 'nothing beyond the end').to.equal(true);
  return [...command.slice(0, length)];
}

describe('encoded arguments', () => {
  it('buffers are a block, an offset in bytes and a dtype, numbers themselves', () => {
    const args = { y: blank([4], 'bfloat16', [1], 5), n: 4, value: 0.5, dtype: 1 };
    expect(encoded('fill', args, 6)).to.deep.equal([7, 10, 1, 4, 0.5, 1]);
  });

  it('absent buffers are zeros', () => {
    const x = blank([2, 3]);
    const args = { x, weight: null, bias: null, y: x, stats: x, rows: 2, n: 3, groups: 1, kind: 0, eps: 1e-5 };
    expect(encoded('norm', args, 20)).to.deep.equal([7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 7, 0, 0, 2, 3, 1, 0, 1e-5]);
  });

  it('dims are a rank and eight numbers', () => {
    const x = blank([2, 3]);
    const args = { x, y: x, shape: [2, 3], xStrides: [3, 1], yStrides: [1, 2], bytes: 4 };
    const row = (...sizes: number[]): number[] => [
      sizes.length,
      ...sizes,
      ...new Array<number>(8 - sizes.length).fill(0),
    ];
    expect(encoded('copy', args, 34)).to.deep.equal([7, 0, 0, 7, 0, 0, ...row(2, 3), ...row(3, 1), ...row(1, 2), 4]);
  });

  it('heads carry the strides of tokens and heads, in a sequence and in a step', () => {
    const conv = { weight: blank([8, 4]), bias: null, initialState: null, offsets: null, y: blank([6, 8]) };
    const numbers = { finalState: null, sequences: 2, tokens: 3, d: 8, width: 4, activation: 0 };
    const x = blank([2, 3, 2, 4], 'float32', [60, 20, 5, 1], 3);
    expect(encoded('shortConv', { x, ...conv, ...numbers }, 29).slice(0, 6)).to.deep.equal([7, 12, 0, 20, 5, 2]);

    const token = blank([2, 2, 4], 'float32', [20, 5, 1]);
    const none = { gate: null, beta: null, eraseKey: null, writeKey: null, bonus: null };
    const kind = { gateWidth: 0, betaWidth: 0, eraseFrom: 0, secondWrite: 0, readBefore: 0, exchanged: 0 };
    const sizes = { sequences: 2, heads: 2, keyDim: 4, valueDim: 4, scale: 1 };
    const args = { q: token, k: token, v: token, ...none, state: x, output: x, ...sizes, ...kind };
    expect(encoded('recurrenceStep', args, 62).slice(0, 6)).to.deep.equal([7, 0, 0, 20, 5, 2]);
  });

  it('lists are a count and every buffer with its number of elements, and move what follows', () => {
    const [a, b] = [blank([2, 3]), blank([4], 'float32', [1], 2)];
    expect(encoded('sumSquares', { x: [a, b], y: a }, 12)).to.deep.equal([2, 7, 0, 0, 6, 7, 8, 0, 4, 7, 0, 0]);
    expect(encoded('sumSquares', { x: [], y: a }, 4)).to.deep.equal([0, 7, 0, 0]);
  });

  it('refuses what a kernel cannot take', () => {
    const refusal = (kernel: 'fill' | 'sumSquares' | 'shortConv', args: Record<string, unknown>): FastWeightsError => {
      try {
        compileEncoder(kernel, new Float64Array(512))(args);
      } catch (error) {
        return error as FastWeightsError;
      }
      throw new Error('nothing was thrown');
    };
    expect(refusal('fill', { y: blank([4]), n: '4', value: 0, dtype: 0 }).message).to.match(/a number is needed/);
    expect(refusal('sumSquares', { x: [blank([4], 'bfloat16')], y: blank([1]) }).code).to.equal('DTYPE');
    const many = new Array<Tensor>(MAX_LIST + 1).fill(blank([4]));
    expect(refusal('sumSquares', { x: many, y: blank([1]) }).message).to.match(/at most 512 tensors, got 513/);
    expect(refusal('shortConv', { x: blank([2, 3, 2, 4], 'float32', [60, 10, 5, 1]) }).message).to.match(
      /one row of tokens/,
    );
    const gone = blank([4]);
    gone.dispose();
    expect(refusal('fill', { y: gone, n: 4, value: 0, dtype: 0 }).code).to.equal('DISPOSED');
  });
});
