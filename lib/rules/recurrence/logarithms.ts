// Logarithms of decays and weights that may be -Infinity: differences of two, and 0 times one, would be NaN.
import type { Tensor } from '../../core';
import { where } from '../../ops';

/** Below any logarithm that weighs anything, and finite, as sums of it over any text are. */
const LEAST = -1e30;

/** x with a finite number for -Infinity, which weighs as little. */
export function finiteLogarithm(x: Tensor): Tensor {
  return x.maximum(LEAST);
}

/** exp(x - total), total the logarithm of a sum with x in it; 0 where x is -Infinity, whatever the total is. */
export function shareOf(x: Tensor, total: Tensor): Tensor {
  return where(x.eq(-Infinity), 0, finiteLogarithm(x).sub(total).exp());
}
