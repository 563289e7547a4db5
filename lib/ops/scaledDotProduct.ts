// Softmax attention between any two sequences, with masks.
import {
  argumentError,
  broadcastShapes,
  checkNumber,
  checkOptions,
  FastWeightsError,
  formatShape,
  isFloat,
  type OptionNames,
  sameShape,
  type Tensor,
} from '../core';
import { softmaxAttention } from './attention';
import { le, logicalAnd, ne, where as choose } from './compare';
import { arange } from './create';
import { add, mul } from './elementwise';
import { checkAlike, checkFloat, checkSameDevice, checkTensor, computesInFloat32 } from './kernel';
import { matmul } from './matmul';
import { dropout as drop } from './random';
import { softmax } from './softmax';
import { expand, permute, reshape } from './view';

/** Options of `scaledDotProductAttention`. */
export interface ScaledDotProductOptions {
  /**
   * Broadcasts to [B, H, T, S]: bool, true where a query sees a key; or floats that are added to the products, -Infinity
   * where it does not.
   */
  mask?: Tensor | null;
  /** Query t sees the keys 0 to t only, and of those what the mask leaves; false by default. */
  causal?: boolean;
  /** K ** -0.5 by default. */
  scale?: number;
  /** Probability of leaving a weight out, also outside training; 0 by default. */
  dropout?: number;
}

const OPTIONS: OptionNames<ScaledDotProductOptions> = { mask: true, causal: 'flag', scale: true, dropout: true };

/** Far below every product, and finite: a row without any key has a softmax. */
const UNSEEN = -1e30;

function checkShapes(where: string, q: Tensor, k: Tensor, v: Tensor): void {
  for (const [name, t] of Object.entries({ q, k, v })) {
    checkFloat(where, name, t);
    checkAlike(where, name, t, q, 'q');
    if (t.ndim !== 4) throw argumentError('SHAPE', where, name, '[B, T, H, D]', formatShape(t.shape));
  }
  const [batch, , heads, width] = q.shape;
  const [, keys, keyHeads] = k.shape;
  if (k.shape[0] !== batch || k.shape[3] !== width || (keyHeads === 0 ? heads > 0 : heads % keyHeads !== 0)) {
    const expected = `[${batch}, S, a divisor of ${heads}, ${width}]`;
    throw argumentError('SHAPE', where, 'k', expected, formatShape(k.shape));
  }
  if (!sameShape(v.shape.slice(0, 3), [batch, keys, keyHeads])) {
    throw argumentError('SHAPE', where, 'v', `[${batch}, ${keys}, ${keyHeads}, V] like k`, formatShape(v.shape));
  }
}

function checkMask(where: string, mask: Tensor, q: Tensor, shape: readonly number[]): void {
  checkTensor(where, 'mask', mask);
  if (mask.dtype !== 'bool' && !isFloat(mask.dtype)) {
    throw argumentError('DTYPE', where, 'mask', 'bool, or floats that are added', mask.dtype);
  }
  if (mask.dtype === 'bool') checkSameDevice(where, 'mask', mask, q);
  else checkAlike(where, 'mask', mask, q, 'q');
  try {
    if (sameShape(broadcastShapes(where, mask.shape, shape), shape)) return;
  } catch (error) {
    if (!(error instanceof FastWeightsError)) throw error;
  }
  throw argumentError('SHAPE', where, 'mask', `one that broadcasts to ${formatShape(shape)}`, formatShape(mask.shape));
}

/** [B, S, Hk, D] to [B, H, S, D], each head for `groups` queries in a row. */
function byHead(t: Tensor, groups: number): Tensor {
  const [batch, length, heads, width] = t.shape;
  const x = permute(t, [0, 2, 1, 3]);
  if (groups === 1) return x;
  const repeated = expand(x.unsqueeze(2), [batch, heads, groups, length, width]);
  return reshape(repeated, [batch, heads * groups, length, width]);
}

/** Query t sees the keys up to t, [T, S]. */
function triangle(tokens: number, keys: number, { device }: Tensor): Tensor {
  const options = { dtype: 'int32', device } as const;
  return le(arange(0, keys, 1, options), arange(0, tokens, 1, options).unsqueeze(1));
}

/**
 * softmax(scale q k^T + mask) v for q [B, T, H, K], k [B, S, Hk, K], v [B, S, Hk, V], H a multiple of Hk; result [B, T, H, V].
 * PyTorch's function of this name, whose layout is [B, H, T, D]; `causal` counts from the first query and the first key, as
 * there (`softmaxAttention` from the last ones), and may stand beside a mask. A query that sees no key gets 0, and
 * gradients of 0. Weights [T, S] are held, but not where it is causal without a mask and T = S, the case of a kernel.
 */
export const scaledDotProductAttention = computesInFloat32(
  (q: Tensor, k: Tensor, v: Tensor, options: ScaledDotProductOptions = {}): Tensor => {
    const where = 'scaledDotProductAttention';
    checkOptions(where, options, OPTIONS);
    checkShapes(where, q, k, v);
    const { mask = null, causal = false, dropout = 0 } = options;
    const [batch, tokens, heads, width] = q.shape;
    const keys = k.shape[1];
    const scale = checkNumber(where, 'scale', options.scale ?? Math.max(width, 1) ** -0.5);
    checkNumber(where, 'dropout', dropout, 0, 1);
    if (mask) checkMask(where, mask, q, [batch, heads, tokens, keys]);
    if (causal && !mask && dropout === 0 && tokens === keys && k.shape[2] > 0)
      return softmaxAttention(q, k, v, { scale });
    const groups = k.shape[2] === 0 ? 1 : heads / k.shape[2];
    let scores = matmul(mul(permute(q, [0, 2, 1, 3]), scale), permute(byHead(k, groups), [0, 1, 3, 2]));
    let seen = causal ? triangle(tokens, keys, q) : null;
    if (mask) {
      const own = mask.dtype === 'bool' ? mask : ne(mask.detach(), -Infinity);
      if (own !== mask) scores = add(scores, mask);
      seen = seen ? logicalAnd(seen, own) : own;
    }
    // Of a row that sees nothing the softmax is finite, and then 0.
    let weights = softmax(seen ? choose(seen, scores, UNSEEN) : scores);
    if (seen) weights = choose(seen, weights, 0);
    if (dropout > 0) weights = drop(weights, dropout);
    return permute(matmul(weights, byHead(v, groups)), [0, 2, 1, 3]);
  },
);
