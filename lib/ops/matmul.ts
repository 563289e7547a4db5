// Matrix products.
import {
  argumentError,
  broadcastShapes,
  broadcastStrides,
  collapse,
  FastWeightsError,
  formatShape,
  sameShape,
  type Shape,
  Tensor,
} from '../core';
import { record } from '../autograd';
import { checkAlike, checkFloat, emptyLike, kernelsOf, widening } from './kernel';
import { contiguous, expand, permute, reshape, sumTo } from './view';
import { add } from './elementwise';

/** c (a view of a fresh or existing tensor) = a b for [..., m, k] and [..., k, n] with equal leading shapes. */
function multiplyInto(a: Tensor, b: Tensor, c: Tensor, lead: Shape): void {
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
    accumulate: 0,
  });
}

/** Batched product off the tape; leading dimensions broadcast. */
function multiply(a: Tensor, b: Tensor): Tensor {
  const lead = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
  const c = emptyLike(a, [...lead, a.shape[a.ndim - 2], b.shape[b.ndim - 1]]);
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
  multiplyInto(wa, wb, c, lead);
  return c;
}

/** Leading dimensions folded into rows: [..., m, k] -> [rows, k]. */
function fold(t: Tensor): Tensor {
  return t.ndim === 2 ? t : reshape(t, [-1, t.shape[t.ndim - 1]]);
}

const swap = (t: Tensor): Tensor => permute(t, [...t.shape.keys()].slice(0, -2).concat(t.ndim - 1, t.ndim - 2));

/**
 * Matrix product with PyTorch's rules: [..., m, k] x [..., k, n] with broadcasting leading dimensions; one-dimensional
 * operands are a row on the left, a column on the right.
 */
export const matmul = widening((a: Tensor, b: Tensor): Tensor => {
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
  record('matmul', [a, b], [c], [a, b], ([g], [sa, sb], needs) => {
    if (!g) return [];
    const da = needs[0] ? matmul(g, swap(sb)) : null;
    const db = !needs[1] ? null : shared ? multiply(swap(fold(sa)), fold(g)) : multiply(swap(sa), g);
    return [da && sumTo(da, sa.shape), db && sumTo(db, sb.shape)];
  });
  return c;
});

/** x W^T + b over the last dimension: weight [out, in], bias [out] or null. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  checkFloat('linear', 'x', x);
  checkFloat('linear', 'weight', weight);
  if (weight.ndim !== 2 || x.shape[x.ndim - 1] !== weight.shape[1]) {
    throw argumentError(
      'SHAPE',
      'linear',
      'x',
      `[..., ${weight.shape[1]}] for weight ${formatShape(weight.shape)}`,
      formatShape(x.shape),
    );
  }
  if (bias && !sameShape(bias.shape, [weight.shape[0]])) {
    throw argumentError('SHAPE', 'linear', 'bias', `[${weight.shape[0]}]`, formatShape(bias.shape));
  }
  const y = matmul(x, permute(weight, [1, 0]));
  return bias ? add(y, bias) : y;
}
