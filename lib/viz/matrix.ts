// Matrices as the pictures take them: a flat row-major array, its common scale, and the colour of a value.
import { argumentError, checkInteger, checkNumbers, describe } from '../core';

/** Row-major [rows, columns]; of a fast weight matrix [K, V] rows are keys and columns values. */
export interface Matrix {
  /** Number of rows, for example K. */
  rows: number;
  /** Number of columns, for example V. */
  columns: number;
  /**
   * Entry (i, j) at i `columns` + j, `rows` times `columns` of them; NaN is shown grey, infinite ones in full colour.
   */
  data: ArrayLike<number>;
}

export function checkMatrix(where: string, matrix: Matrix): Matrix {
  if (typeof matrix !== 'object' || matrix === null) {
    throw argumentError('INVALID_ARGUMENT', where, 'matrix', '{ rows, columns, data }', describe(matrix));
  }
  checkInteger(where, 'matrix.rows', matrix.rows);
  checkInteger(where, 'matrix.columns', matrix.columns);
  checkNumbers(where, 'matrix.data', matrix.data);
  if (matrix.data.length !== matrix.rows * matrix.columns) {
    const expected = `${matrix.rows} x ${matrix.columns} numbers`;
    throw argumentError('SHAPE', where, 'matrix.data', expected, `${matrix.data.length}`);
  }
  return matrix;
}

/** Smallest and largest finite value; NaN twice if there is none. */
export function extent(values: ArrayLike<number>): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return low <= high ? [low, high] : [NaN, NaN];
}

/**
 * The magnitude at which colours saturate: the 99.5 % quantile of all finite magnitudes, since a handful of large
 * entries would otherwise leave everything else pale. 1 if all are zero.
 */
export function commonLimit(matrices: readonly Matrix[]): number {
  const sizes = matrices
    .flatMap(({ data }) => Array.from(data, Math.abs).filter(Number.isFinite))
    .sort((a, b) => a - b);
  const quantile = sizes[Math.ceil(0.995 * sizes.length) - 1] ?? 0;
  return quantile || sizes[sizes.length - 1] || 1;
}

export const NEGATIVE = [45, 128, 232] as const;
export const POSITIVE = [232, 86, 44] as const;

/** A value over its limit as the hue of its sign and a strength in [0, 1]; undefined for NaN. */
export function colourOf(
  value: number,
  limit: number,
): { hue: readonly [number, number, number]; strength: number } | undefined {
  if (Number.isNaN(value)) return undefined;
  return { hue: value < 0 ? NEGATIVE : POSITIVE, strength: Math.min(1, Math.abs(value) / limit) };
}
