// Whether tensors agree but for rounding.
import { checkNumber, checkOptions, type CloseOptions, isFloat, type OptionNames, scoped, type Tensor } from '../core';
import { eq, isnan, le, logicalAnd, logicalOr, lt } from './compare';
import { abs, add, mul, sub } from './elementwise';
import { checkAlike, checkTensor, computesInFloat32 } from './kernel';
import { all } from './statistics';
import { to } from './cast';

const CLOSE: OptionNames<CloseOptions> = { rtol: true, atol: true, equalNan: 'flag' };

const near = computesInFloat32((a: Tensor, b: Tensor, rtol: number, atol: number, equalNan: boolean): Tensor => {
  const same = eq(a, b);
  const alike = equalNan ? logicalOr(same, logicalAnd(isnan(a), isnan(b))) : same;
  const [p, q] = isFloat(a.dtype) ? [a, b] : [to(a, 'float32'), to(b, 'float32')];
  const apart = abs(sub(p, q));
  // Of an infinite b everything would be within its share.
  return logicalOr(alike, logicalAnd(lt(apart, Infinity), le(apart, add(mul(abs(q), rtol), atol))));
});

const compare = scoped((where: string, a: Tensor, b: Tensor, options: CloseOptions): Tensor => {
  checkTensor(where, 'a', a);
  checkTensor(where, 'b', b);
  checkAlike(where, 'b', b, a, 'a');
  checkOptions(where, options, CLOSE);
  const rtol = checkNumber(where, 'rtol', options.rtol ?? 1e-5, 0);
  const atol = checkNumber(where, 'atol', options.atol ?? 1e-8, 0);
  return near(a.detach(), b.detach(), rtol, atol, options.equalNan ?? false);
});

/**
 * Whether |a - b| is at most atol + rtol |b|, as bool; infinities are close to themselves alone, NaN to nothing unless
 * `equalNan`. Shapes broadcast; int32 and bool are compared as float32.
 */
export function isclose(a: Tensor, b: Tensor, options: CloseOptions = {}): Tensor {
  return compare('isclose', a, b, options);
}

/** Whether all elements are close (see `isclose`): true or false. Reads the answer, which blocks. */
export const allclose = scoped((a: Tensor, b: Tensor, options: CloseOptions = {}): boolean => {
  return all(compare('allclose', a, b, options)).item() === 1;
});
