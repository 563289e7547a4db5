// A fast RNN whose weights are written as coefficients of their cosine transform (Irie and Schmidhuber 2021; spec 2.11).
import { argumentError, checkInteger, type Device, type DType } from '../../core';
import { cat, indexSelect, linear, tensor } from '../../ops';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import type { Sizes } from '../sequential/shapes';

/** Options of `dctRnn`. */
export interface DctRnnOptions {
  /** Coefficients of the weights of x stand on this diagonal and above it, counted from the top right: 0 by default. */
  inputDiagonal?: number;
  /** The same of the weights of h: 0 by default. */
  hiddenDiagonal?: number;
}

/** How many entries of a matrix stand on a diagonal and above. */
function entriesAbove(rows: number, columns: number, diagonal: number): number {
  let count = 0;
  for (let i = 0; i < rows; i++) count += Math.min(columns, Math.max(0, columns - i - diagonal));
  return count;
}

/** The orthonormal DCT-II as a matrix: row k is sqrt(2 / n) cos(pi k (2 j + 1) / 2 n), the first over sqrt 2. */
function cosines(n: number): Float64Array {
  const at = (k: number, j: number): number =>
    Math.sqrt((k === 0 ? 1 : 2) / n) * Math.cos((Math.PI * k * (2 * j + 1)) / (2 * n));
  return Float64Array.from({ length: n * n }, (_, i) => at(Math.floor(i / n), i % n));
}

/**
 * Where each entry of a matrix finds its coefficient, row by row: they fill its upper triangle in that order, then the
 * columns are flipped, so that low frequencies stand at the top left. `none` is the place of a zero.
 */
function placesOf(rows: number, columns: number, diagonal: number, first: number, none: number): number[][] {
  let next = first;
  return Array.from({ length: rows }, (_, i) => {
    const row = Array.from({ length: columns }, (_, j) => (j >= i + diagonal ? next++ : none));
    return row.reverse();
  });
}

type Settings = Required<DctRnnOptions>;

function checkSettings(where: string, { inputDiagonal = 0, hiddenDiagonal = 0 }: DctRnnOptions): Settings {
  checkInteger(where, 'inputDiagonal', inputDiagonal, -(2 ** 20), 2 ** 20);
  checkInteger(where, 'hiddenDiagonal', hiddenDiagonal, -(2 ** 20), 2 ** 20);
  return { inputDiagonal, hiddenDiagonal };
}

/** How many coefficients there are of W and of U. */
function counts(I: number, D: number, { inputDiagonal, hiddenDiagonal }: Settings): [number, number] {
  return [entriesAbove(D, I, inputDiagonal), entriesAbove(D, D, hiddenDiagonal)];
}

function settle(where: string, { I, D, C }: Sizes, settings: Settings): void {
  const [left, right] = counts(I, D, settings);
  const expected = left + right;
  if (C === expected) return;
  throw argumentError('SHAPE', where, 'coefficients', `[.., ${expected}] for these diagonals`, `[.., ${C}]`);
}

const rule = defineSequential({
  name: 'dctRnn',
  inputs: { x: 'B T I', coefficients: 'B T C', bias: 'D' },
  states: { hidden: 'B D' },
  options: { inputDiagonal: true, hiddenDiagonal: true },
  settings: (where, options: DctRnnOptions) => checkSettings(where, options),
  settle,
  run({ inputs: { x, coefficients, bias }, states, settings }) {
    const { inputDiagonal, hiddenDiagonal } = settings;
    const [I, C, D] = [x.shape[2], coefficients.shape[2], bias.shape[0]];
    const on: { device: Device; dtype: DType } = { device: x.device, dtype: x.dtype };
    const [own] = counts(I, D, settings);
    const [left, right] = [placesOf(D, I, inputDiagonal, 0, C), placesOf(D, D, hiddenDiagonal, own, C)];
    const places = tensor(Int32Array.from(left.flatMap((row, i) => [...row, ...right[i]])), {
      device: x.device,
      dtype: 'int32',
    });
    const transform = tensor(cosines(D), { shape: [D, D], ...on });
    const back = transform.t().contiguous();
    const none = tensor([0], on);
    const frequencies = linear(x, tensor(cosines(I), { shape: [I, I], ...on }));
    const weights = { transform, back, bias, none };
    // W x = D^T (P (D x)): the transforms go to the vectors, and the matrices stay in frequencies.
    return overTime({ tokens: { frequencies, coefficients }, states, weights }, (token, { hidden }, fixed) => {
      const B = hidden.shape[0];
      const all = cat([token.coefficients, fixed.none.expand(B, 1)], 1);
      const both = indexSelect(all, 1, places).reshape(B, D, I + D);
      const vector = cat([token.frequencies, linear(hidden, fixed.transform)], 1);
      const h = linear(both.matmul(vector.unsqueeze(2)).squeeze(2), fixed.back, fixed.bias).tanh();
      return { output: h, states: { hidden: h } };
    });
  },
});

/**
 * h_t = tanh(W_t x_t + U_t h_{t-1} + b), output [B, T, D] h, with W_t = IDCT2(P) [D, I] and U_t [D, D] from the
 * `coefficients` [B, T, C] of the token, those of W before those of U: each fills the upper triangle of a P that is then
 * flipped left to right. x [B, T, I], bias [D], state hidden [B, D].
 */
export const dctRnn = Object.assign(rule, {
  /** How many coefficients a token has in all, for the widths of x and h. */
  coefficientCount(inputSize: number, hiddenSize: number, options: DctRnnOptions = {}): number {
    const where = 'dctRnn.coefficientCount';
    checkInteger(where, 'inputSize', inputSize, 1);
    checkInteger(where, 'hiddenSize', hiddenSize, 1);
    const [left, right] = counts(inputSize, hiddenSize, checkSettings(where, options));
    return left + right;
  },
});
