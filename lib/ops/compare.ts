// Comparisons, which give bool, logical operators on it, and the choice between two tensors.
import { broadcastShapes, bytesPerElement, isFloat, scoped, Tensor } from '../core';
import type { CompareOp } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import { compareInto, scalarLike, walk } from './broadcast';
import {
  checkAlike,
  checkDType,
  checkSameDevice,
  checkTensor,
  computesInFloat32,
  emptyLike,
  kernelsOf,
  takesBfloat16,
} from './kernel';
import { full } from './create';
import { to } from './cast';
import { sumTo } from './view';

/** A number takes the tensor's dtype, or float32 where that would round it to bfloat16. */
const compareWithNumber = computesInFloat32((op: CompareOp, a: Tensor, b: number): Tensor => {
  using number = scalarLike(op, a, b);
  return compareInto(op, a, number);
});

function comparison(op: CompareOp): (a: Tensor, b: Tensor | number) => Tensor {
  const compareTensors = takesBfloat16((a: Tensor, b: Tensor): Tensor => {
    checkAlike(op, 'b', b, a);
    return compareInto(op, a, b);
  });
  return (a, b) => {
    checkTensor(op, 'a', a);
    if (typeof b === 'number' || typeof b === 'boolean') return compareWithNumber(op, a, b);
    checkTensor(op, 'b', b);
    return compareTensors(a, b);
  };
}

/** Whether a equals b, as bool; of NaN nothing holds but `ne`. Shapes broadcast; a number takes a's dtype. */
export const eq = comparison('eq');
/** Whether a differs from b, as bool. */
export const ne = comparison('ne');
/** Whether a is less than b, as bool. */
export const lt = comparison('lt');
/** Whether a is at most b, as bool. */
export const le = comparison('le');
/** Whether a is greater than b, as bool. */
export const gt = comparison('gt');
/** Whether a is at least b, as bool. */
export const ge = comparison('ge');

/** As bool: what is not 0. */
function truth(where: string, argument: string, x: Tensor): Tensor {
  checkTensor(where, argument, x);
  return to(x, 'bool');
}

/** Whether x is 0, as bool. */
export const logicalNot = scoped((x: Tensor): Tensor => eq(truth('logicalNot', 'x', x), 0));
/** Whether neither is 0, as bool; shapes broadcast. */
export const logicalAnd = scoped((a: Tensor, b: Tensor): Tensor => {
  return where(truth('logicalAnd', 'a', a), truth('logicalAnd', 'b', b), false);
});
/** Whether one is not 0, as bool. */
export const logicalOr = scoped((a: Tensor, b: Tensor): Tensor => {
  return where(truth('logicalOr', 'a', a), true, truth('logicalOr', 'b', b));
});
/** Whether exactly one is not 0, as bool. */
export const logicalXor = scoped((a: Tensor, b: Tensor): Tensor => {
  return ne(truth('logicalXor', 'a', a), truth('logicalXor', 'b', b));
});

/** Whether x is NaN, as bool; whole numbers never are. */
export const isnan = (x: Tensor): Tensor => ne(x, x);
/** Whether x is infinite, as bool. */
export const isinf = scoped((x: Tensor): Tensor => {
  checkTensor('isinf', 'x', x);
  return isFloat(x.dtype) ? logicalOr(eq(x, Infinity), eq(x, -Infinity)) : ne(x, x);
});
/** Whether x is neither infinite nor NaN, as bool. */
export const isfinite = scoped((x: Tensor): Tensor => {
  checkTensor('isfinite', 'x', x);
  return isFloat(x.dtype) ? logicalAnd(lt(x, Infinity), gt(x, -Infinity)) : eq(x, x);
});

/**
 * a where the condition holds, else b; all three broadcast. The condition is bool; a number takes the dtype of the other
 * side, and beside another number float32.
 */
export const where = scoped((condition: Tensor, a: Tensor | number | boolean, b: Tensor | number | boolean): Tensor => {
  checkTensor('where', 'condition', condition);
  checkDType('where', 'condition', condition, 'bool');
  const like = a instanceof Tensor ? a : b instanceof Tensor ? b : null;
  const sideOf = (argument: string, x: Tensor | number | boolean): Tensor => {
    if (typeof x !== 'number' && typeof x !== 'boolean') {
      checkTensor('where', argument, x);
      return x;
    }
    return like ? scalarLike('where', like, x) : full([], Number(x), { device: condition.device });
  };
  return choose(condition, sideOf('a', a), sideOf('b', b));
});

function choose(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  checkAlike('where', 'b', b, a, 'a');
  checkSameDevice('where', 'condition', condition, a);
  const target = broadcastShapes('where', broadcastShapes('where', condition.shape, a.shape), b.shape);
  const y = emptyLike(a, target);
  if (y.size > 0) {
    const { shape, strides } = walk('where', target, [condition, a, b, y]);
    const [conditionStrides, aStrides, bStrides] = strides;
    const bytes = bytesPerElement(a.dtype);
    kernelsOf(a).where({ condition, a, b, y, shape, conditionStrides, aStrides, bStrides, bytes });
  }
  const aShape = a.shape;
  const bShape = b.shape;
  const back: BackwardFunction = ([g], [sc], needs) => {
    if (!g) return [];
    return [needs[0] ? sumTo(where(sc, g, 0), aShape) : null, needs[1] ? sumTo(where(sc, 0, g), bShape) : null];
  };
  record('where', [a, b], [y], [condition], back, 'composed');
  return y;
}

/** x with `value`, in its dtype, where the mask (bool, broadcasting to x) holds; the gradient is 0 there. */
export const maskedFill = scoped((x: Tensor, mask: Tensor, value: number | boolean): Tensor => {
  checkTensor('maskedFill', 'x', x);
  checkTensor('maskedFill', 'mask', mask);
  checkDType('maskedFill', 'mask', mask, 'bool');
  return where(mask, value, x);
});
