// Reductions and running sums along one dimension of [outer, n, inner], each accumulated in order.
import type { Tensor } from '../../core';
import { REDUCE_OPS, SCAN_OPS, type KernelArguments, type ReduceOp } from '../table';
import { floats, ints, maybe, type Floats } from './view';

/** Folds n elements of x from `at`, `step` apart. */
type Fold = (x: Floats, at: number, step: number, n: number) => number;

const sum: Fold = (x, at, step, n) => {
  let total = 0;
  for (let i = 0; i < n; i++) total += x[at + i * step];
  return total;
};

const FOLDS: Record<ReduceOp, Fold> = {
  sum,
  mean: (x, at, step, n) => sum(x, at, step, n) / n,
  max: (x, at, step, n) => {
    let most = -Infinity;
    for (let i = 0; i < n; i++) most = Math.max(most, x[at + i * step]);
    return most;
  },
  min: (x, at, step, n) => {
    let least = Infinity;
    for (let i = 0; i < n; i++) least = Math.min(least, x[at + i * step]);
    return least;
  },
  prod: (x, at, step, n) => {
    let product = 1;
    for (let i = 0; i < n; i++) product *= x[at + i * step];
    return product;
  },
};

/** Of int32: sums and products wrap, extrema are in its range. */
const WHOLE_FOLDS: Partial<Record<ReduceOp, Fold>> = {
  sum: (x, at, step, n) => {
    let total = 0;
    for (let i = 0; i < n; i++) total = (total + x[at + i * step]) | 0;
    return total;
  },
  prod: (x, at, step, n) => {
    let product = 1;
    for (let i = 0; i < n; i++) product = Math.imul(product, x[at + i * step]);
    return product;
  },
  max: (x, at, step, n) => Math.max(-(2 ** 31), FOLDS.max(x, at, step, n)),
  min: (x, at, step, n) => Math.min(2 ** 31 - 1, FOLDS.min(x, at, step, n)),
};

const isWhole = (t: Tensor): boolean => t.dtype === 'int32';

export function reduce({ x, y, outer, n, inner, op }: KernelArguments<'reduce'>): void {
  const fold = (isWhole(x) ? WHOLE_FOLDS : FOLDS)[REDUCE_OPS[op]]!;
  const source = floats(x);
  const target = floats(y);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) target[o * inner + i] = fold(source, o * n * inner + i, inner, n);
  }
}

/** A NaN counts as the largest. */
export function argmax({ x, y, outer, n, inner }: KernelArguments<'argmax'>): void {
  const source = floats(x);
  const target = ints(y);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const at = o * n * inner + i;
      let best = 0;
      for (let j = 1; j < n; j++) {
        const most = source[at + best * inner];
        const value = source[at + j * inner];
        if (value > most || (Number.isNaN(value) && !Number.isNaN(most))) best = j;
      }
      target[o * inner + i] = best;
    }
  }
}

export function cumsum({ x, y, outer, n, inner, reverse }: KernelArguments<'cumsum'>): void {
  const source = floats(x);
  const target = floats(y);
  const whole = isWhole(x);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let total = 0;
      for (let j = 0; j < n; j++) {
        const at = (o * n + (reverse ? n - 1 - j : j)) * inner + i;
        total += source[at];
        if (whole) total |= 0;
        target[at] = total;
      }
    }
  }
}

export function scan({ x, factor, y, outer, n, inner, reverse, op }: KernelArguments<'scan'>): void {
  const source = floats(x);
  const factors = maybe(factor);
  const target = floats(y);
  const name = SCAN_OPS[op];
  const step = reverse ? -inner : inner;
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      let at = (o * n + (reverse ? n - 1 : 0)) * inner + i;
      let value = -Infinity;
      for (let j = 0; j < n; j++, at += step) {
        const own = source[at];
        if (name === 'logsumexp') value = logAddExp(value, own);
        else value = j === 0 ? own : factors![reverse ? at - step : at] * value + own;
        target[at] = value;
      }
    }
  }
}

/** ln(e^a + e^b) */
function logAddExp(a: number, b: number): number {
  const most = Math.max(a, b);
  return Number.isFinite(most) ? most + Math.log1p(Math.exp(-Math.abs(a - b))) : most;
}

export function sumSquares({ x, y }: KernelArguments<'sumSquares'>): void {
  let total = 0;
  for (const t of x) {
    const source = floats(t);
    for (let i = 0; i < t.size; i++) total += source[i] * source[i];
  }
  floats(y)[0] = total;
}
