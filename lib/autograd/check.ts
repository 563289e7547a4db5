// What a gradient must be like.
import { argumentError, describe, formatShape, sameShape, Tensor } from '../core';

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
