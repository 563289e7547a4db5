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
  reportExternal: () => undefined,
  overhead: () => ({ cachedBytes: 0, scratchBytes: 0 }),
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
  compileEncoder(kernel, command, memory)(args);
  expect([...command.slice(length)].every(Number.isNaN), 'nothing beyond the end').to.equal(true);
  return [...command.slice(0, length)];
}

describe('encoded arguments', () => {
  it('buffers are a block, an offset in bytes, a dtype and their elements, numbers themselves', () => {
    const args = { y: blank([4], 'bfloat16', [1], 5), n: 3, value: 0.5, dtype: 1 };
    expect(encoded('fill', args, 7)).to.deep.equal([7, 10, 1, 4, 3, 0.5, 1]);
  });

  it('absent buffers are zeros', () => {
    const x = blank([2, 3]);
    const args = { x, weight: null, bias: null, y: x, stats: x, rows: 2, n: 3, groups: 1, kind: 0, eps: 1e-5 };
    const [none, six] = [
      [0, 0, 0, 0],
      [7, 0, 0, 6],
    ];
    expect(encoded('norm', args, 25)).to.deep.equal([...six, ...none, ...none, ...six, ...six, 2, 3, 1, 0, 1e-5]);
  });

  it('dims are a rank and eight numbers', () => {
    const x = blank([2, 3]);
    const y = blank([2, 3], 'float32', [1, 4]);
    const args = { x, y, shape: [2, 3], xStrides: [3, 1], yStrides: [1, 4], bytes: 4 };
    const row = (...sizes: number[]): number[] => [
      sizes.length,
      ...sizes,
      ...new Array<number>(8 - sizes.length).fill(0),
    ];
    const numbers = [...row(2, 3), ...row(3, 1), ...row(1, 4), 4];
    expect(encoded('copy', args, 36), 'y reaches over gaps').to.deep.equal([7, 0, 0, 6, 7, 0, 0, 10, ...numbers]);
  });

  it('heads carry the strides of tokens and heads, in a sequence and in a step', () => {
    const conv = { weight: blank([8, 4]), bias: null, initialState: null, offsets: null, y: blank([6, 8]) };
    const numbers = { finalState: null, sequences: 2, tokens: 3, d: 8, width: 4, activation: 0 };
    const x = blank([2, 3, 2, 4], 'float32', [60, 20, 5, 1], 3);
    expect(encoded('shortConv', { x, ...conv, ...numbers }, 36).slice(0, 7)).to.deep.equal([7, 12, 0, 109, 20, 5, 2]);

    const token = blank([2, 2, 4], 'float32', [20, 5, 1]);
    const none = { gate: null, beta: null, eraseKey: null, writeKey: null, bonus: null };
    const kind = { gateWidth: 0, betaWidth: 0, eraseFrom: 0, secondWrite: 0, readBefore: 0, exchanged: 0 };
    const sizes = { sequences: 2, heads: 2, keyDim: 4, valueDim: 4, scale: 1 };
    const [state, output] = [blank([2, 2, 4, 4]), blank([2, 2, 4])];
    const args = { q: token, k: token, v: token, ...none, state, output, ...sizes, ...kind };
    expect(encoded('recurrenceStep', args, 72).slice(0, 7)).to.deep.equal([7, 0, 0, 29, 20, 5, 2]);
  });

  it('lists are a count and every buffer, and move what follows', () => {
    const [a, b] = [blank([2, 3]), blank([4], 'float32', [1], 2)];
    expect(encoded('sumSquares', { x: [a, b], y: a }, 13)).to.deep.equal([2, 7, 0, 0, 6, 7, 8, 0, 4, 7, 0, 0, 6]);
    expect(encoded('sumSquares', { x: [], y: a }, 5)).to.deep.equal([0, 7, 0, 0, 6]);
  });

  it('refuses what a kernel cannot take', () => {
    const refusal = (kernel: 'fill' | 'sumSquares' | 'shortConv', args: Record<string, unknown>): FastWeightsError => {
      try {
        compileEncoder(kernel, new Float64Array(512), memory)(args);
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
    const strided = refusal('fill', { y: blank([2, 3], 'float32', [4, 1]), n: 6, value: 0, dtype: 0 });
    expect(strided.message).to.match(/not contiguous/);
    const foreign = new Tensor(new Storage({ ...memory, device: 'js' }, 'float32', 4), [4]);
    expect(refusal('fill', { y: foreign, n: 4, value: 0, dtype: 0 }).code).to.equal('DEVICE');
    const gone = blank([4]);
    gone.dispose();
    expect(refusal('fill', { y: gone, n: 4, value: 0, dtype: 0 }).code).to.equal('DISPOSED');
  });
});
