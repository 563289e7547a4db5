// Counts, log-sums, variances and norms along dimensions: compositions of reductions.
import {
  argumentError,
  checkNumber,
  checkOptions,
  describe,
  type Dims,
  type OptionNames,
  scoped,
  type Tensor,
  type VarianceOptions,
} from '../core';
import { type BackwardFunction, record } from '../autograd';
import { checkFloat, checkTensor, computesInFloat32 } from './kernel';
import { eq, logicalNot, ne, where } from './compare';
import { abs, add, affine, clamp, div, exp, log, mul, pow, sign, sqrt, square, sub } from './elementwise';
import { max, min } from './extremes';
import { dropDims, mean, resolveDims, sum } from './reduce';
import { to } from './cast';
import { reshape } from './view';

/** How many elements are not 0, in int32. */
export const countNonzero = scoped((x: Tensor, dim?: Dims): Tensor => {
  checkTensor('countNonzero', 'x', x);
  return sum(to(x.detach(), 'bool'), dim);
});

/** Whether one is not 0, as bool; of nothing false. */
export const any = scoped((x: Tensor, dim?: Dims, keepdim: boolean = false): Tensor => {
  checkTensor('any', 'x', x);
  return ne(sum(to(x.detach(), 'bool'), dim, keepdim), 0);
});

/** Whether none is 0, as bool; of nothing true. */
export const all = scoped((x: Tensor, dim?: Dims, keepdim: boolean = false): Tensor => {
  checkTensor('all', 'x', x);
  return logicalNot(any(logicalNot(x.detach()), dim, keepdim));
});

/** log of the sum of e^x over dimensions (all by default), without overflow; the gradient is 0 where all are -Infinity. */
export const logsumexp = computesInFloat32((x: Tensor, dim?: Dims, keepdim: boolean = false): Tensor => {
  checkFloat('logsumexp', 'x', x);
  const dims = resolveDims('logsumexp', x, dim);
  const rows = x.detach();
  const most = max(rows, dims, true);
  const from = where(eq(abs(most), Infinity), 0, most);
  const y = add(log(sum(exp(sub(rows, from)), dims, true)), from);
  const kept = y.shape;
  const out = dropDims(y, dims, keepdim);
  const back: BackwardFunction = ([g], [sx, so]) => {
    if (!g) return [null];
    const sy = reshape(so, kept);
    return [mul(exp(sub(sx, where(eq(sy, -Infinity), 0, sy))), reshape(g, kept))];
  };
  record('logsumexp', [x], [out], [x, out], back, 'composed');
  return out;
});

/** The square root whose slope at 0 is 0. */
function rootOf(x: Tensor): Tensor {
  const none = eq(x.detach(), 0);
  return where(none, 0, sqrt(where(none, 1, x)));
}

const VARIANCE: OptionNames<VarianceOptions> = { correction: true, keepdim: 'flag' };

const spread = computesInFloat32(
  (where: string, x: Tensor, dim: Dims | undefined, options: VarianceOptions): Tensor => {
    checkFloat(where, 'x', x);
    checkOptions(where, options, VARIANCE);
    const correction = checkNumber(where, 'correction', options.correction ?? 1);
    const dims = resolveDims(where, x, dim);
    const count = dims.reduce((n, d) => n * x.shape[d], 1);
    const y = affine(sum(square(sub(x, mean(x, dims, true))), dims, true), 1 / Math.max(0, count - correction), -0);
    return dropDims(where === 'std' ? rootOf(y) : y, dims, options.keepdim ?? false);
  },
);

/**
 * The variance over dimensions (all by default): squares of the distances to the mean, summed and divided by their number
 * less the correction, 1 by default. NaN of a single element.
 */
export function variance(x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor {
  return spread('var', x, dim, options);
}

/** The standard deviation, the root of the variance; see `var`. Its gradient is 0 where it is 0. */
export function std(x: Tensor, dim?: Dims, options: VarianceOptions = {}): Tensor {
  return spread('std', x, dim, options);
}

/**
 * The p-norm over dimensions (all by default), (sum |x|^p)^(1/p) with p = 2 by default: of p = 0 how many are not 0, of
 * Infinity the largest magnitude, of -Infinity the smallest. The gradient is 0 at a vector of zeros.
 */
export const norm = computesInFloat32((x: Tensor, p: number = 2, dim?: Dims, keepdim: boolean = false): Tensor => {
  checkFloat('norm', 'x', x);
  if (typeof p !== 'number' || Number.isNaN(p)) {
    throw argumentError('INVALID_ARGUMENT', 'norm', 'p', 'a number', describe(p));
  }
  const dims = resolveDims('norm', x, dim);
  if (p === 0) return to(dropDims(sum(ne(x.detach(), 0), dims, true), dims, keepdim), x.dtype);
  if (p === Infinity) return max(abs(x), dims, keepdim);
  if (p === -Infinity) return min(abs(x), dims, keepdim);
  if (p === 1) return sum(abs(x), dims, keepdim);
  const y = powerNorm(x.detach(), p, dims);
  const kept = y.shape;
  const out = dropDims(y, dims, keepdim);
  const back: BackwardFunction = ([g], [sx, so]) => {
    if (!g) return [null];
    const sy = reshape(so, kept);
    const part = div(sx, where(eq(sy, 0), 1, sy));
    const slope = p === 2 ? part : mul(sign(sx), pow(where(eq(sx, 0), 1, abs(part)), p - 1));
    return [mul(slope, reshape(g, kept))];
  };
  record('norm', [x], [out], [x, out], back, 'composed');
  return out;
});

function powerNorm(x: Tensor, p: number, dims: readonly number[]): Tensor {
  return p === 2 ? sqrt(sum(square(x), dims, true)) : pow(sum(pow(abs(x), p), dims, true), 1 / p);
}

/** Options of `normalize`. */
export interface NormalizeOptions {
  /** Which norm; 2 by default. */
  p?: number;
  /** The dimensions of the vectors; the second one by default, as in PyTorch. */
  dim?: Dims;
  /** Least length that a vector is divided by, 1e-12 by default. */
  eps?: number;
}

const NORMALIZE: OptionNames<NormalizeOptions> = { p: true, dim: true, eps: true };

/** Vectors divided by their length, or by `eps` where that is larger. */
export const normalize = computesInFloat32((x: Tensor, options: NormalizeOptions = {}): Tensor => {
  checkFloat('normalize', 'x', x);
  checkOptions('normalize', options, NORMALIZE);
  const { p = 2, dim = 1 } = options;
  const eps = checkNumber('normalize', 'eps', options.eps ?? 1e-12, 0);
  return div(x, clamp(norm(x, p, dim, true), eps));
});
