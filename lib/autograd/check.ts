// What functions are given, and what a gradient must be like.
import { argumentError, describe, formatShape, sameShape, Tensor } from '../core';

/** Requires a list of live tensors. */
export function checkTensors(where: string, argument: string, list: unknown): asserts list is readonly Tensor[] {
  if (!Array.isArray(list))
    throw argumentError('INVALID_ARGUMENT', where, argument, 'a list of tensors', describe(list));
  for (const [i, t] of list.entries()) {
    if (!(t instanceof Tensor)) {
      throw argumentError('INVALID_ARGUMENT', where, `${argument}[${i}]`, 'a Tensor', describe(t));
    }
    t.checkAlive(where);
  }
}

/** Requires a live tensor of the shape, dtype and device of `like`, whose gradient it is to be. */
export function checkGradientLike(
  where: string,
  argument: string,
  gradient: unknown,
  like: Pick<Tensor, 'shape' | 'dtype' | 'device'>,
): asserts gradient is Tensor {
  if (!(gradient instanceof Tensor)) {
    throw argumentError('INVALID_ARGUMENT', where, argument, 'a Tensor', describe(gradient));
  }
  gradient.checkAlive(where);
  if (!sameShape(gradient.shape, like.shape)) {
    throw argumentError('SHAPE', where, argument, formatShape(like.shape), formatShape(gradient.shape));
  }
  if (gradient.dtype !== like.dtype) throw argumentError('DTYPE', where, argument, like.dtype, gradient.dtype);
  if (gradient.device !== like.device) {
    throw argumentError('DEVICE', where, argument, `on '${like.device}'`, `'${gradient.device}'`);
  }
}
