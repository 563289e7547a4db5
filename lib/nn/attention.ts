// Attention with several heads between two sequences (Vaswani et al. 2017).
import {
  argumentError,
  checkInteger,
  checkNumber,
  checkOptions,
  formatShape,
  type OptionNames,
  scope,
  type Tensor,
} from '../core';
import { checkTensor, linear, rand, scaledDotProductAttention, split, where as choose, zeros } from '../ops';
import { xavierUniform_, zeros_ } from './init';
import { BIAS, type BiasOptions, Linear } from './layers';
import { Module, parameter } from './module';

/** Options of `MultiheadAttention`. */
export interface MultiheadOptions extends BiasOptions {
  /** Probability of leaving an attention weight out while training, 0 by default. */
  dropout?: number;
}

const OPTIONS: OptionNames<MultiheadOptions> = { ...BIAS, dropout: true };

/** What a query may see. */
export interface MultiheadForward {
  /** true where a query sees a key, or floats that are added; broadcasts to [B, H, T, S]. */
  mask?: Tensor | null;
  /** bool [B, S], true for keys that take part: not for padding. */
  keyMask?: Tensor | null;
  /** Query t sees the keys 0 to t only. */
  causal?: boolean;
}

const FORWARD: OptionNames<MultiheadForward> = { mask: true, keyMask: true, causal: 'flag' };

/**
 * Attention with several heads, batch first, with the parameters of PyTorch's module: in_proj_weight [3 E, E] and
 * in_proj_bias [3 E], the rows of queries, keys and values, and out_proj. Its masks mean the opposite of that module's,
 * and have other names therefore: true takes part, as in `scaledDotProductAttention`. A query that sees nothing gets the
 * bias of out_proj. The weights of the attention are not returned.
 */
export class MultiheadAttention extends Module {
  /** [3 E, E]: queries, keys, values. */
  in_proj_weight: Tensor;
  /** [3 E], or null. */
  in_proj_bias: Tensor | null;
  /** From the heads side by side to the result, [E, E]. */
  out_proj: Linear;
  /** Of attention weights while training. */
  readonly dropout: number;

  constructor(
    /** E */
    readonly embedDim: number,
    /** A divisor of E. */
    readonly numHeads: number,
    options: MultiheadOptions = {},
  ) {
    super();
    const where = 'MultiheadAttention';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'embedDim', embedDim, 1);
    checkInteger(where, 'numHeads', numHeads, 1);
    if (embedDim % numHeads !== 0) {
      throw argumentError('INVALID_ARGUMENT', where, 'numHeads', `a divisor of ${embedDim}`, String(numHeads));
    }
    const { bias = true, dropout = 0, ...place } = options;
    this.dropout = checkNumber(where, 'dropout', dropout, 0, 1);
    this.in_proj_weight = xavierUniform_(parameter(rand([3 * embedDim, embedDim], place)));
    this.in_proj_bias = bias ? parameter(zeros([3 * embedDim], place)) : null;
    this.out_proj = new Linear(embedDim, embedDim, { bias, ...place });
    if (this.out_proj.bias) zeros_(this.out_proj.bias);
  }

  /** query [B, T, E], key and value [B, S, E], by default the query itself; result [B, T, E]. */
  forward(query: Tensor, key: Tensor = query, value: Tensor = key, options: MultiheadForward = {}): Tensor {
    const where = 'MultiheadAttention';
    checkOptions(where, options, FORWARD);
    const { embedDim: E, numHeads, in_proj_weight, in_proj_bias } = this;
    for (const [name, t] of Object.entries({ query, key, value })) {
      checkTensor(where, name, t);
      if (t.ndim !== 3 || t.shape[2] !== E)
        throw argumentError('SHAPE', where, name, `[B, T, ${E}]`, formatShape(t.shape));
    }
    const { mask = null, keyMask = null, causal = false } = options;
    for (const [name, t] of Object.entries({ mask, keyMask })) if (t) checkTensor(where, name, t);
    const [B, S] = key.shape;
    if (
      keyMask &&
      (keyMask.dtype !== 'bool' || keyMask.ndim !== 2 || keyMask.shape[0] !== B || keyMask.shape[1] !== S)
    ) {
      throw argumentError(
        'SHAPE',
        where,
        'keyMask',
        `bool [${B}, ${S}]`,
        `${keyMask.dtype} ${formatShape(keyMask.shape)}`,
      );
    }
    return scope(() => {
      const weights = split(in_proj_weight, [E, E, E], 0);
      const biases = in_proj_bias ? split(in_proj_bias, [E, E, E], 0) : null;
      const [q, k, v] = [query, key, value].map((t, i) =>
        linear(t, weights[i], biases?.[i] ?? null).reshape(t.shape[0], t.shape[1], numHeads, E / numHeads),
      );
      const keys = keyMask?.reshape(B, 1, 1, S) ?? null;
      const both = mask && keys ? together(mask, keys) : (mask ?? keys);
      const dropout = this.training ? this.dropout : 0;
      const heads = scaledDotProductAttention(q, k, v, { mask: both, causal, dropout });
      return this.out_proj.forward(heads.reshape(query.shape));
    });
  }
}

/** A mask of either kind, and bool keys. */
function together(mask: Tensor, keys: Tensor): Tensor {
  return choose(keys, mask, mask.dtype === 'bool' ? false : -Infinity);
}
