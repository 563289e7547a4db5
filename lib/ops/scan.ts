// Running folds along a dimension: sums, products, log-sums, and the linear recurrence that has them as cases.
import { formatShape, argumentError, resolveDim, sameShape, sizeOf, type Tensor } from '../core';
import { SCAN_OPS, type ScanOp } from '../backends';
import { type BackwardFunction, record } from '../autograd';
import {
  checkAlike,
  checkFloat,
  checkTensor,
  computesInFloat32,
  emptyLike,
  kernelsOf,
  takesBfloat16,
  zerosBeside,
} from './kernel';
import { gt, lt, where } from './compare';
import { full } from './create';
import { abs, add, exp, log, mul, sub } from './elementwise';
import { to } from './cast';
import { cat } from './join';
import { contiguous, slice } from './view';

function around(x: Tensor, d: number): { outer: number; n: number; inner: number } {
  return { outer: sizeOf(x.shape.slice(0, d)), n: x.shape[d] ?? 1, inner: sizeOf(x.shape.slice(d + 1)) };
}

function runningSum(x: Tensor, d: number, reverse: boolean): Tensor {
  const y = emptyLike(x);
  kernelsOf(x).cumsum({ x: contiguous(x), y, ...around(x, d), reverse: Number(reverse) });
  record('cumsum', [x], [y], [], ([g]) => [g && runningSum(g, d, !reverse)], 'composed');
  return y;
}

/** Running sum along a dimension. Of int32 it wraps, of bool it counts in int32. */
export const cumsum = takesBfloat16((x: Tensor, dim: number): Tensor => {
  checkTensor('cumsum', 'x', x);
  return runningSum(x.dtype === 'bool' ? to(x, 'int32') : x, resolveDim('cumsum', dim, x.ndim), false);
});

function runKernel(op: ScanOp, x: Tensor, factor: Tensor | null, d: number, reverse: boolean): Tensor {
  const y = emptyLike(x);
  const operands = { x: contiguous(x), factor: factor && contiguous(factor), y };
  kernelsOf(x).scan({ ...operands, ...around(x, d), reverse: Number(reverse), op: SCAN_OPS.indexOf(op) });
  return y;
}

/** x moved one place along d, away from the start or, reversed, the end; 0 comes in. */
function shifted(x: Tensor, d: number, reverse: boolean): Tensor {
  const n = x.shape[d];
  const zero = zerosBeside(
    x,
    x.shape.map((size, i) => (i === d ? Math.min(1, size) : size)),
  );
  return reverse ? cat([slice(x, d, 1, n), zero], d) : cat([zero, slice(x, d, 0, n - 1)], d);
}

/** y_i = f_i y_{i-1} + x_i, or its transpose y_i = f_{i+1} y_{i+1} + x_i. */
function linear(x: Tensor, factor: Tensor, d: number, reverse: boolean): Tensor {
  const y = runKernel('linear', x, factor, d, reverse);
  const back: BackwardFunction = ([g], [sf, sy], needs) => {
    if (!g) return [];
    const dx = linear(g, sf, d, !reverse);
    // The factor f_i stands between y_{i-1} and what comes to y_i, in either direction.
    const df = !needs[1] ? null : reverse ? mul(shifted(dx, d, false), sy) : mul(dx, shifted(sy, d, false));
    return [dx, df];
  };
  record('linearScan', [x, factor], [y], [factor, y], back, 'composed');
  return y;
}

/**
 * y_t = factor_t y_{t-1} + x_t along a dimension, y before the first being 0; x and factor of one shape. The diagonal linear
 * recurrence of HGRN (Qin et al. 2023), minGRU and S4D.
 */
export const linearScan = takesBfloat16((x: Tensor, factor: Tensor, dim: number): Tensor => {
  checkFloat('linearScan', 'x', x);
  checkFloat('linearScan', 'factor', factor);
  checkAlike('linearScan', 'factor', factor, x, 'x');
  if (!sameShape(factor.shape, x.shape)) {
    throw argumentError('SHAPE', 'linearScan', 'factor', formatShape(x.shape), formatShape(factor.shape));
  }
  return linear(x, factor, resolveDim('linearScan', dim, x.ndim), false);
});

/** Running product of floats along a dimension; the gradient is right at zeros, too. */
export const cumprod = takesBfloat16((x: Tensor, dim: number): Tensor => {
  checkFloat('cumprod', 'x', x);
  const d = resolveDim('cumprod', dim, x.ndim);
  const n = x.shape[d] ?? 1;
  if (n <= 1) return x;
  const first = slice(x, d, 0, 1);
  const rest = zerosBeside(
    x,
    x.shape.map((size, i) => (i === d ? n - 1 : size)),
  );
  return linear(cat([first, rest], d), x, d, false);
});

/** At each place of a dimension the product of all others: of those before it times that of those behind it. */
export function exclusiveProducts(x: Tensor, d: number): Tensor {
  const n = x.shape[d] ?? 1;
  const size = (length: number): number[] => x.shape.map((s, i) => (i === d ? length : s));
  const one = full(size(Math.min(1, n)), 1, { dtype: x.dtype, device: x.device });
  if (n <= 1) return one;
  const zeros = zerosBeside(x, size(n - 1));
  return mul(linear(cat([one, zeros], d), shifted(x, d, false), d, false), linear(cat([zeros, one], d), x, d, true));
}

/** log of the running sum of e^x along a dimension, without overflow. */
export const logcumsumexp = computesInFloat32((x: Tensor, dim: number): Tensor => {
  checkFloat('logcumsumexp', 'x', x);
  return runningLogSum(x, resolveDim('logcumsumexp', dim, x.ndim), false);
});

function runningLogSum(x: Tensor, d: number, reverse: boolean): Tensor {
  const y = runKernel('logsumexp', x, null, d, reverse);
  const back: BackwardFunction = ([g], [sx, sy]) => {
    if (!g) return [null];
    // The sum over later j of g_j e^(x - y_j), its positive and its negative part in logarithms.
    const part = (sign: Tensor): Tensor => {
      const logs = where(sign, sub(log(abs(g)), sy), -Infinity);
      return exp(add(runningLogSum(logs, d, !reverse), sx));
    };
    return [sub(part(gt(g, 0)), part(lt(g, 0)))];
  };
  // The same sum as a linear recurrence, s_j = g_j + e^(y_j - y_i) s_i with i the next one: that has a slope at g = 0, too.
  const recorded: BackwardFunction = ([g], [sx, sy]) => {
    if (!g) return [null];
    const n = sy.shape[d] ?? 1;
    if (n <= 1) return [mul(g, exp(sub(sx, sy)))];
    const before = cat([slice(sy, d, 0, 1), slice(sy, d, 0, n - 1)], d);
    const factor = exp(reverse ? sub(sy, before) : sub(before, sy));
    return [mul(linear(g, factor, d, !reverse), exp(sub(sx, sy)))];
  };
  record('logcumsumexp', [x], [y], [x, y], back, recorded);
  return y;
}
