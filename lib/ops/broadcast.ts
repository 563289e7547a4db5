// Operators of two operands over their common shape, off the tape, and numbers beside tensors.
import { broadcastShapes, broadcastStrides, collapse, FastWeightsError, type Shape, type Tensor } from '../core';
import { BINARY_OPS, type BinaryOp, COMPARE_OPS, type CompareOp, MAX_DIMS } from '../backends';
import { checkScalar, dtypeCodes, emptyLike, fill, kernelsOf } from './kernel';

/** Shape and strides of operands that broadcast to `target`, as few dimensions as they allow. */
export function walk(where: string, target: Shape, operands: readonly Tensor[]): { shape: Shape; strides: Shape[] } {
  const found = collapse(
    target,
    operands.map((t) => broadcastStrides(t.shape, t.strides, target)),
  );
  if (found.shape.length <= MAX_DIMS) return found;
  const most = `at most ${MAX_DIMS} strided dimensions`;
  throw new FastWeightsError('UNSUPPORTED', `${where}: ${most}, got ${found.shape.length}`);
}

/** y = a op b; `y` is contiguous where it is given. */
export function binaryInto(op: BinaryOp, a: Tensor, b: Tensor, given?: Tensor): Tensor {
  const target = broadcastShapes(op, a.shape, b.shape);
  const y = given ?? emptyLike(a, target);
  if (y.size === 0) return y;
  const { shape, strides } = walk(op, target, [a, b, y]);
  const [aStrides, bStrides] = strides;
  kernelsOf(a).binary({ a, b, y, shape, aStrides, bStrides, op: BINARY_OPS.indexOf(op), dtype: dtypeCodes[a.dtype] });
  return y;
}

/** Whether a op b, as bool. */
export function compareInto(op: CompareOp, a: Tensor, b: Tensor): Tensor {
  const target = broadcastShapes(op, a.shape, b.shape);
  const y = emptyLike(a, target, 'bool');
  if (y.size === 0) return y;
  const { shape, strides } = walk(op, target, [a, b, y]);
  const [aStrides, bStrides] = strides;
  kernelsOf(a).compare({ a, b, y, shape, aStrides, bStrides, op: COMPARE_OPS.indexOf(op), dtype: dtypeCodes[a.dtype] });
  return y;
}

/** A number beside a tensor, in its dtype. */
export function scalarLike(where: string, t: Tensor, value: number | boolean): Tensor {
  const number = checkScalar(where, 'number', value, t.dtype);
  const s = emptyLike(t, []);
  fill(s, number);
  return s;
}
