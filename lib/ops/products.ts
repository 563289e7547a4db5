// Products of vectors and matrices under the names of their shapes.
import { argumentError, formatShape, scoped, type Tensor } from '../core';
import { checkFloat, checkTensor } from './kernel';
import { mul } from './elementwise';
import { matmul } from './matmul';

/** A matrix product whose operands have so many dimensions, and batches that do not broadcast. */
function product(name: string, left: number, right: number): (a: Tensor, b: Tensor) => Tensor {
  return scoped((a: Tensor, b: Tensor): Tensor => {
    checkFloat(name, 'a', a);
    checkFloat(name, 'b', b);
    for (const [argument, t, rank] of [
      ['a', a, left],
      ['b', b, right],
    ] as const) {
      if (t.ndim === rank) continue;
      throw argumentError(
        'SHAPE',
        name,
        argument,
        `of ${rank} dimension${rank === 1 ? '' : 's'}`,
        formatShape(t.shape),
      );
    }
    if (left === 3 && a.shape[0] !== b.shape[0]) {
      throw argumentError('SHAPE', name, 'b', `of ${a.shape[0]} matrices like a`, formatShape(b.shape));
    }
    return matmul(a, b);
  });
}

/** The product of two matrices [m, k] and [k, n]. */
export const mm = product('mm', 2, 2);
/** The products of two batches of matrices [b, m, k] and [b, k, n]. */
export const bmm = product('bmm', 3, 3);
/** The product of a matrix [m, k] and a vector [k]. */
export const mv = product('mv', 2, 1);
/** The sum of the products of two vectors' elements. */
export const dot = product('dot', 1, 1);

/** The products [m, n] of each element of one vector with each of another. */
export const outer = scoped((a: Tensor, b: Tensor): Tensor => {
  checkTensor('outer', 'a', a);
  checkTensor('outer', 'b', b);
  for (const [argument, t] of [
    ['a', a],
    ['b', b],
  ] as const) {
    if (t.ndim !== 1) throw argumentError('SHAPE', 'outer', argument, 'of one dimension', formatShape(t.shape));
  }
  return mul(a.unsqueeze(1), b);
});
