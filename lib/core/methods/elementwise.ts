// What a tensor does element by element: arithmetic, comparisons, functions, and the operators in place.
import type { Tensor } from '../tensor';

/** How far apart values may be that count as close. */
export interface CloseOptions {
  /** Share of the magnitude of the other value; 1e-5 by default. */
  rtol?: number;
  /** Added to it; 1e-8 by default. */
  atol?: number;
  /** Whether NaN is close to NaN; false by default. */
  equalNan?: boolean;
}

/** Methods that work element by element. Shapes of two tensors broadcast; a number takes the tensor's dtype. */
export interface ElementwiseMethods {
  /** The sum; of int32 it wraps. */
  add(other: Tensor | number): Tensor;

  /** The difference; of int32 it wraps. */
  sub(other: Tensor | number): Tensor;

  /** The product; of int32 it wraps. */
  mul(other: Tensor | number): Tensor;

  /** The quotient, float32 also for int32. */
  div(other: Tensor | number): Tensor;

  /** The largest whole number not above the quotient; without a gradient. 0 where an int32 divisor is 0. */
  floorDivide(other: Tensor | number): Tensor;

  /** What `floorDivide` leaves, of the sign of the divisor. 0 where an int32 divisor is 0. */
  remainder(other: Tensor | number): Tensor;

  /** This to the power of the exponent; of int32 it wraps, and the exponent is at least 0. */
  pow(exponent: Tensor | number): Tensor;

  /** The larger one; where both are equal the gradient goes to this tensor. */
  maximum(other: Tensor | number): Tensor;

  /** The smaller one; where both are equal the gradient goes to this tensor. */
  minimum(other: Tensor | number): Tensor;

  /** The angle of the point (other, this), from -pi to pi; of floats. */
  atan2(other: Tensor | number): Tensor;

  /** Whether equal, as bool. Of NaN nothing holds but `ne`. */
  eq(other: Tensor | number): Tensor;

  /** Whether different, as bool. */
  ne(other: Tensor | number): Tensor;

  /** Whether less, as bool. */
  lt(other: Tensor | number): Tensor;

  /** Whether less or equal, as bool. */
  le(other: Tensor | number): Tensor;

  /** Whether greater, as bool. */
  gt(other: Tensor | number): Tensor;

  /** Whether greater or equal, as bool. */
  ge(other: Tensor | number): Tensor;

  /** Whether the distance is at most atol + rtol |other|, as bool; see the function `isclose`. */
  isclose(other: Tensor, options?: CloseOptions): Tensor;

  /** Whether all elements are close: true or false. Blocks, since it reads the answer. */
  allclose(other: Tensor, options?: CloseOptions): boolean;

  /** Whether neither is 0, as bool. */
  logicalAnd(other: Tensor): Tensor;

  /** Whether one is not 0, as bool. */
  logicalOr(other: Tensor): Tensor;

  /** Whether exactly one is not 0, as bool. */
  logicalXor(other: Tensor): Tensor;

  /** Whether 0, as bool. */
  logicalNot(): Tensor;

  /** Whether NaN, as bool. */
  isnan(): Tensor;

  /** Whether infinite, as bool. */
  isinf(): Tensor;

  /** Whether neither infinite nor NaN, as bool. */
  isfinite(): Tensor;

  /** This with `value` where the mask (bool, broadcasting to this) holds; the gradient is 0 there. */
  maskedFill(mask: Tensor, value: number | boolean): Tensor;

  /** The opposite number; of int32 it wraps. */
  neg(): Tensor;

  /** e^x. */
  exp(): Tensor;

  /** The natural logarithm. */
  log(): Tensor;

  /** The square root. */
  sqrt(): Tensor;

  /** 1 / sqrt(x). */
  rsqrt(): Tensor;

  /** 1 / x. */
  reciprocal(): Tensor;

  /** The magnitude; of int32 it wraps. */
  abs(): Tensor;

  /** x^2; of int32 it wraps. */
  square(): Tensor;

  /** The sine, of radians. */
  sin(): Tensor;

  /** The cosine, of radians. */
  cos(): Tensor;

  /** The hyperbolic tangent. */
  tanh(): Tensor;

  /** 1 / (1 + e^-x). */
  sigmoid(): Tensor;

  /** log(sigmoid(x)), accurate far from 0. */
  logSigmoid(): Tensor;

  /** x sigmoid(x). */
  silu(): Tensor;

  /** x times the normal distribution up to x, 'none' by default, or the approximation by tanh. */
  gelu(approximate?: 'none' | 'tanh'): Tensor;

  /** log(1 + e^x), accurate far from 0. */
  softplus(): Tensor;

  /** x where it is above 0, else 0. */
  relu(): Tensor;

  /** ELU + 1: x + 1 above 0, else e^x. */
  elu1(): Tensor;

  /** log(1 + x), accurate near 0. */
  log1p(): Tensor;

  /** e^x - 1, accurate near 0. */
  expm1(): Tensor;

  /** The error function. */
  erf(): Tensor;

  /** The largest whole number not above; gradient 0, like those of `ceil`, `round`, `trunc` and `sign`. */
  floor(): Tensor;

  /** The smallest whole number not below. */
  ceil(): Tensor;

  /** The nearest whole number, of two the even one. */
  round(): Tensor;

  /** The nearest whole number towards zero. */
  trunc(): Tensor;

  /** -1, 0 or 1; NaN stays. */
  sign(): Tensor;

  /** Limited to [min, max], max Infinity by default; the gradient is 0 outside. Where min > max, max everywhere. */
  clamp(min: number, max?: number): Tensor;

  /** 1 with the probability that stands in each element, else 0, in its dtype; see the function `bernoulli`. */
  bernoulli(): Tensor;

  /** Adds in place; only under `noGrad`, like all methods that end in an underscore. */
  add_(other: Tensor | number): Tensor;

  /** Subtracts in place. */
  sub_(other: Tensor | number): Tensor;

  /** Multiplies in place. */
  mul_(other: Tensor | number): Tensor;

  /** Divides in place; floats only, for the quotient of int32 is float32. */
  div_(other: Tensor | number): Tensor;

  /** Takes the values of another tensor, which broadcasts. */
  copy_(other: Tensor): Tensor;

  /** Sets every element. */
  fill_(value: number | boolean): Tensor;

  /** Sets every element to 0. */
  zero_(): Tensor;

  /** Sets the elements where the mask (bool, broadcasting to this) holds. */
  maskedFill_(mask: Tensor, value: number | boolean): Tensor;
}
