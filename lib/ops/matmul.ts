// Matrix products.
import {
  argumentError,
  broadcastShapes,
  broadcastStrides,
  callSynchronous,
  checkChoice,
  collapse,
  FastWeightsError,
  formatShape,
  type Shape,
  sizeOf,
  Tensor,
} from '../core';
import { type BackwardFunction, record } from '../autograd';
import { MATMUL_PRECISIONS, type MatmulPrecision } from '../backends';
import { checkAlike, checkFloat, emptyLike, kernelsOf, takesBfloat16 } from './kernel';
import { contiguous, expand, permute, reshape, sumTo } from './view';

/** How operators of this module multiply float32 numbers; MATMUL_PRECISIONS says what the words mean. */
let precision: MatmulPrecision = 'highest';

/**
 * 'medium' rounds the operands of matrix products to bfloat16 on graphics cards, and on processors that multiply those at
 * twice the rate (x86-64 with AVX512_BF16, in addons built by gcc); 'highest' everywhere by default. Sums, results, weights
 * and everything else stay float32. Other processors and the `js` device ignore it, and on `cpu` so do products of 96 rows
 * or fewer and those in batches: there the bits of a row may depend on how many rows are beside it. After
 * `torch.set_float32_matmul_precision`.
 */
export function setFloat32MatmulPrecision(value: MatmulPrecision): void {
  precision = checkChoice('setFloat32MatmulPrecision', 'precision', value, MATMUL_PRECISIONS);
}

/** Runs the synchronous function `fn` with another precision (see `setFloat32MatmulPrecision`). */
export function withPrecision<T>(value: MatmulPrecision, fn: () => T): T {
  checkChoice('withPrecision', 'precision', value, MATMUL_PRECISIONS);
  return callSynchronous('withPrecision', () => withKeptPrecision(value, fn), fn);
}

/** The same for a value that was checked, and any `fn`. */
export function withKeptPrecision<T>(value: MatmulPrecision, fn: () => T): T {
  const before = precision;
  precision = value;
  try {
    return fn();
  } finally {
    precision = before;
  }
}

/** What `setFloat32MatmulPrecision` or an enclosing `withPrecision` set: 'highest' at first. */
export function float32MatmulPrecision(): MatmulPrecision {
  return precision;
}

/** The kernels' number for it. */
export const precisionCode = (): number => MATMUL_PRECISIONS.indexOf(precision);

/** c (a view of a fresh or existing tensor) = (accumulate ? c : 0) + a b for [..., m, k] and [..., k, n], leading shapes equal. */
function multiplyInto(a: Tensor, b: Tensor, c: Tensor, lead: Shape, accumulate = false): void {
  const parts = [a, b, c].map((t) => t.strides.slice(0, lead.length));
  const batch = collapse(lead, parts);
  if (batch.shape.length > 2)
    throw new FastWeightsError('UNSUPPORTED', 'matmul: more than two strided batch dimensions');
  const [batch1, batch2] = [...new Array<number>(2 - batch.shape.length).fill(1), ...batch.shape];
  const strides = (t: Tensor, i: number): number[] => [
    ...new Array<number>(2 - batch.shape.length).fill(0),
    ...batch.strides[i],
    ...t.strides.slice(-2),
  ];
  kernelsOf(a).matmul({
    a,
    b,
    c,
    batch1,
    batch2,
    m: c.shape[c.ndim - 2],
    n: c.shape[c.ndim - 1],
    k: a.shape[a.ndim - 1],
    aStrides: strides(a, 0),
    bStrides: strides(b, 1),
    cStrides: strides(c, 2),
    alpha: 1,
    accumulate: Number(accumulate),
    precision: precisionCode(),
  });
}

/** Batched product off the tape, or that added to `sum`; leading dimensions broadcast. */
function multiply(a: Tensor, b: Tensor, sum: Tensor | null = null): Tensor {
  const lead = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  const c = sum ?? emptyLike(a, [...lead, a.shape[a.ndim - 2], b.shape[b.ndim - 1]]);
  const whole = (t: Tensor): Tensor => {
    const target = [...lead, ...t.shape.slice(-2)];
    return new Tensor(t.storage, target, broadcastStrides(t.shape, t.strides, target), t.offset);
  };
  let [wa, wb] = [whole(a), whole(b)];
  if (
    collapse(
      lead,
      [wa, wb, c].map((t) => t.strides.slice(0, lead.length)),
    ).shape.length > 2
  ) {
    [wa, wb] = [contiguous(expand(a, wa.shape)), contiguous(expand(b, wb.shape))];
  }
  multiplyInto(wa, wb, c, lead, sum !== null);
  return c;
}

/** Leading dimensions folded into rows: [..., m, k] -> [rows, k]. */
export function fold(t: Tensor): Tensor {
  return t.ndim === 2 ? t : reshape(t, [sizeOf(t.shape.slice(0, -1)), t.shape[t.ndim - 1]]);
}

export const swap = (t: Tensor): Tensor => permute(t, [...t.shape.keys()].slice(0, -2).concat(t.ndim - 1, t.ndim - 2));

/** c = a b for two matrices and a contiguous c of as many elements, or that added to it; c may be wider than they are. */
export function productInto(c: Tensor, a: Tensor, b: Tensor, accumulate = false): void {
  const [m, k] = a.shape;
  const n = b.shape[1];
  kernelsOf(a).matmul({
    a,
    b,
    c,
    batch1: 1,
    batch2: 1,
    m,
    n,
    k,
    aStrides: [0, 0, ...a.strides],
    bStrides: [0, 0, ...b.strides],
    cStrides: [0, 0, n, 1],
    alpha: 1,
    accumulate: Number(accumulate),
    precision: precisionCode(),
  });
}

/** a b for two matrices in `shape`, or null where it was added to `sum`. */
export function gradientProduct(sum: Tensor | null, a: Tensor, b: Tensor, shape: Shape): Tensor | null {
  const c = sum ?? emptyLike(a, shape);
  productInto(c, a, b, sum !== null);
  return sum ? null : c;
}

/** a^T g, of folded operands where all of `a` was multiplied by one matrix. On the tape. */
function weightGradient(a: Tensor, g: Tensor, shared: boolean): Tensor {
  return shared ? matmul(swap(fold(a)), fold(g)) : matmul(swap(a), g);
}

/**
 * Matrix product with PyTorch's rules: [..., m, k] x [..., k, n] with broadcasting leading dimensions; one-dimensional
 * operands are a row on the left, a column on the right.
 */
export const matmul = takesBfloat16((a: Tensor, b: Tensor): Tensor => {
  checkFloat('matmul', 'a', a);
  checkFloat('matmul', 'b', b);
  checkAlike('matmul', 'b', b, a, 'a');
  if (a.ndim === 0 || b.ndim === 0)
    throw argumentError('SHAPE', 'matmul', 'a, b', 'of at least one dimension', 'a scalar');
  if (a.ndim === 1) return matmul(a.unsqueeze(0), b).squeeze(b.ndim === 1 ? 0 : -2);
  if (b.ndim === 1) return matmul(a, b.unsqueeze(1)).squeeze(-1);
  const k = a.shape[a.ndim - 1];
  if (k !== b.shape[b.ndim - 2]) {
    throw argumentError('SHAPE', 'matmul', 'b', `[..., ${k}, n] for a ${formatShape(a.shape)}`, formatShape(b.shape));
  }
  const shared = b.ndim === 2;
  const left = shared ? fold(a.detach()) : a.detach();
  const product = multiply(left, b.detach());
  const c = shared && a.ndim > 2 ? reshape(product, [...a.shape.slice(0, -1), b.shape[1]]) : product;
  const [aShape, bShape] = [a.shape, b.shape];
  const saved = [b.requiresGrad ? a : null, a.requiresGrad ? b : null];
  const back: BackwardFunction = ([g], [sa, sb], needs, into) => {
    if (!g) return [];
    if (shared) {
      const da = needs[0] && gradientProduct(into(0), fold(g), swap(sb), aShape);
      return [da, needs[1] && gradientProduct(into(1), swap(fold(sa)), fold(g), bShape)].map((t) => t || null);
    }
    const da = needs[0] ? matmul(g, swap(sb)) : null;
    const db = needs[1] ? multiply(swap(sa), g) : null;
    return [da && sumTo(da, aShape), db && sumTo(db, bShape)];
  };
  const recorded: BackwardFunction = ([g], [sa, sb], needs) => {
    if (!g) return [];
    const [da, db] = [needs[0] ? matmul(g, swap(sb)) : null, needs[1] ? weightGradient(sa, g, shared) : null];
    return [da && sumTo(da, aShape), db && sumTo(db, bShape)];
  };
  record('matmul', [a, b], [c], saved, back, recorded);
  return c;
});

/** a1 b1 + a2 b2 + ... of a1, b1, a2, b2, ..., [..., m, k_i] and [..., k_i, n] with equal leading shapes, without their sums between. */
export const sumOfProducts = takesBfloat16((...operands: Tensor[]): Tensor => {
  const pairs = operands.flatMap((a, i) => (i % 2 === 0 ? [[a, operands[i + 1]]] : []));
  const c = pairs.reduce<Tensor | null>((sum, [a, b]) => multiply(a.detach(), b.detach(), sum), null)!;
  const back: BackwardFunction = ([g], saved, needs) =>
    saved.map((_, i) => {
      if (!g || !needs[i]) return null;
      const other = swap(saved[i ^ 1]);
      return i % 2 === 0 ? matmul(g, other) : matmul(other, g);
    });
  record('sumOfProducts', operands, [c], operands, back, 'composed');
  return c;
});
