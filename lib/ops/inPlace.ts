// The operators that overwrite a tensor, inside noGrad.
import {
  argumentError,
  broadcastShapes,
  FastWeightsError,
  formatShape,
  isSameView,
  sameShape,
  scope,
  type Tensor,
} from '../core';
import { gradEnabled } from '../autograd';
import { binaryInto, scalarLike } from './broadcast';
import { maskedFill } from './compare';
import { add, div, mul, sub } from './elementwise';
import {
  checkAlike,
  checkFloat,
  checkNumeric,
  checkScalar,
  checkTensor,
  checkWritable,
  fill,
  needsFloat32,
} from './kernel';
import { apart, assign } from './view';

function checkInPlace(where: string, x: Tensor): void {
  checkTensor(where, 'x', x);
  checkWritable(where, 'x', x);
  if (gradEnabled()) throw new FastWeightsError('GRAPH', `${where}: operators in place are allowed only inside noGrad`);
}

const IN_PLACE = { add, sub, mul, div };

function inPlace(op: keyof typeof IN_PLACE, x: Tensor, y: Tensor | number): Tensor {
  const name = `${op}_`;
  checkInPlace(name, x);
  if (op === 'div') checkFloat(name, 'x', x);
  const other = typeof y === 'number' ? scalarLike(name, x, y) : y;
  checkNumeric(name, 'other', other);
  checkAlike(name, 'other', other, x);
  if (!sameShape(broadcastShapes(name, x.shape, other.shape), x.shape)) {
    throw argumentError(
      'SHAPE',
      name,
      'other',
      `one that broadcasts to ${formatShape(x.shape)}`,
      formatShape(other.shape),
    );
  }
  scope(() => {
    const rounds = typeof y === 'number' && x.dtype === 'bfloat16';
    if (x.isContiguous && !rounds && !needsFloat32(x))
      binaryInto(op, x, isSameView(other, x) ? other : apart(other, x), x);
    else assign(x, IN_PLACE[op](x, y));
  });
  if (other !== y) other.dispose();
  x.storage.version++;
  return x;
}

/** Adds to x; like all operators in place only under `noGrad`. */
export const addInPlace = (x: Tensor, y: Tensor | number): Tensor => inPlace('add', x, y);
/** Subtracts from x. */
export const subInPlace = (x: Tensor, y: Tensor | number): Tensor => inPlace('sub', x, y);
/** Multiplies x. */
export const mulInPlace = (x: Tensor, y: Tensor | number): Tensor => inPlace('mul', x, y);
/** Divides x, which is of floats. */
export const divInPlace = (x: Tensor, y: Tensor | number): Tensor => inPlace('div', x, y);

/** Overwrites x with y, which broadcasts. */
export function copyInPlace(x: Tensor, y: Tensor): Tensor {
  checkInPlace('copy_', x);
  checkTensor('copy_', 'other', y);
  checkAlike('copy_', 'other', y, x);
  assign(x, y);
  return x;
}

/** Overwrites x with one value. */
export function fillInPlace(x: Tensor, value: number | boolean): Tensor {
  checkInPlace('fill_', x);
  const number = checkScalar('fill_', 'value', value, x.dtype);
  if (x.isContiguous) {
    fill(x, number);
    x.storage.version++;
  } else {
    using filled = scalarLike('fill_', x, number);
    assign(x, filled);
  }
  return x;
}

/** Overwrites the elements of x where a mask (bool, broadcasting to x) holds. */
export function maskedFillInPlace(x: Tensor, mask: Tensor, value: number | boolean): Tensor {
  checkInPlace('maskedFill_', x);
  scope(() => assign(x, maskedFill(x, mask, value)));
  return x;
}
