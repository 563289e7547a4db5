// Causal softmax attention, the baseline with unbounded memory.
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  type Tensor,
} from '../core';
import { record } from '../autograd';
import { checkAlike, checkFloat, emptyLike, kernelsOf, statisticsDtype, takesBfloat16 } from './kernel';
import { contiguous } from './view';
import { type CuSeqlens, sequencesOf } from './sequences';

/** Options of `softmaxAttention`. */
export interface AttentionOptions {
  /** K ** -0.5 by default. */
  scale?: number;
  /** A position sees itself and the window - 1 before it; all before it by default. */
  window?: number | null;
  /** Packed sequences in a batch of 1: tokens see their own only; needs S = T. None by default. */
  cuSeqlens?: CuSeqlens | null;
}

const OPTIONS: OptionNames<AttentionOptions> = { scale: true, window: true, cuSeqlens: true };

/**
 * softmax(scale q k^T) v, causal: q [B, T, H, K], k [B, S, Hk, K], v [B, S, Hk, V] with H a multiple of Hk (query head h
 * reads key head floor(h Hk / H)); S >= T, the queries being the last T positions. Result [B, T, H, V].
 */
export const softmaxAttention = takesBfloat16(
  (q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor => {
    const where = 'softmaxAttention';
    checkOptions(where, options, OPTIONS);
    for (const [name, t] of [
      ['q', q],
      ['k', k],
      ['v', v],
    ] as const) {
      checkFloat(where, name, t);
      checkAlike(where, name, t, q, 'q');
      if (t.ndim !== 4) throw argumentError('SHAPE', where, name, '[B, T, H, D]', formatShape(t.shape));
    }
    const [batch, tokens, heads, keyDim] = q.shape;
    const [, keys, keyHeads, valueDim] = v.shape;
    const fits =
      k.shape[0] === batch && k.shape[3] === keyDim && keys >= tokens && keyHeads > 0 && heads % keyHeads === 0;
    if (!fits)
      throw argumentError(
        'SHAPE',
        where,
        'k',
        `[${batch}, S >= ${tokens}, a divisor of ${heads}, ${keyDim}]`,
        formatShape(k.shape),
      );
    if (v.shape.slice(0, 3).some((d, i) => d !== k.shape[i])) {
      throw argumentError('SHAPE', where, 'v', `[${k.shape.slice(0, 3).join(', ')}, V] like k`, formatShape(v.shape));
    }
    if (options.cuSeqlens && keys !== tokens)
      throw argumentError('SHAPE', where, 'k', `of ${tokens} tokens with cuSeqlens`, formatShape(k.shape));
    const window = options.window == null ? 0 : checkInteger(where, 'window', options.window, 1);
    const scale = checkNumber(where, 'scale', options.scale ?? Math.max(keyDim, 1) ** -0.5);
    const { count: sequences, offsets } = sequencesOf(where, q, options.cuSeqlens);
    const numbers = { sequences, tokens, keys, heads, keyHeads, keyDim, valueDim, scale, window };
    const inputs = { q: contiguous(q), k: contiguous(k), v: contiguous(v) };
    const y = emptyLike(q, [batch, tokens, heads, valueDim]);
    const lse = emptyLike(q, [batch * tokens, heads], statisticsDtype(q));
    kernelsOf(q).attention({ ...inputs, offsets, y, lse, ...numbers });
    const saved = [inputs.q, inputs.k, inputs.v, y, lse];
    record(where, [q, k, v], [y], offsets ? [...saved, offsets] : saved, ([g], [sq, sk, sv, sy, slse, soffsets]) => {
      if (!g) return [];
      const [dq, dk, dv] = [emptyLike(sq), emptyLike(sk), emptyLike(sv)];
      kernelsOf(sq).attentionBackward({
        q: sq,
        k: sk,
        v: sv,
        offsets: soffsets ?? null,
        y: sy,
        lse: slse,
        dy: contiguous(g),
        dq,
        dk,
        dv,
        ...numbers,
      });
      return [dq, dk, dv];
    });
    return y;
  },
);
