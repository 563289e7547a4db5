// Whether tensors agree but for rounding.
import { checkNumber, checkOptions, type CloseOptions, isFloat, type OptionNames, scoped, type Tensor } from '../core';
import { eq, isnan, le, logicalAnd, logicalOr, lt } from './compare';
import { abs, add, mul, sub } from './elementwise';
import { checkTensor, computesInFloat32 } from './kernel';
import { all } from './statistics';
import { to } from './view';

const CLOSE: OptionNames<CloseOptions> = { rtol: true, atol: true, equalNan: 'flag' };

const near = computesInFloat32((name: string, a: Tensor, b: Tensor, options: CloseOptions): Tensor => {
  checkTensor(name, 'a', a);
  checkTensor(name, 'b', b);
  checkOptions(name, options, CLOSE);
  const rtol = checkNumber(name, 'rtol', options.rtol ?? 1e-5, 0);
  const atol = checkNumber(name, 'atol', options.atol ?? 1e-8, 0);
  const [x, y] = [a.detach(), b.detach()];
  const same = eq(x, y);
  const alike = options.equalNan ? logicalOr(same, logicalAnd(isnan(x), isnan(y))) : same;
  const [p, q] = isFloat(x.dtype) ? [x, y] : [to(x, 'float32'), to(y, 'float32')];
  const apart = abs(sub(p, q));
  // Of an infinite b everything would be within its share.
  return logicalOr(alike, logicalAnd(lt(apart, Infinity), le(apart, add(mul(abs(q), rtol), atol))));
});

/**
 * Whether |a - b| is at most atol + rtol |b|, as bool; infinities are close to themselves alone, NaN to nothing unless
 * `equalNan`. Shapes broadcast; int32 and bool are compared as float32.
 */
export function isclose(a: Tensor, b: Tensor, options: CloseOptions = {}): Tensor {
  return near('isclose', a, b, options);
}

/** Whether all elements are close (see `isclose`): true or false. Reads the answer, which blocks. */
export const allclose = scoped((a: Tensor, b: Tensor, options: CloseOptions = {}): boolean => {
  return all(near('allclose', a, b, options)).item() === 1;
});
