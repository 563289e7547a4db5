// Attention to keys and values of all heads that come from one narrow vector per token (DeepSeek-V2, 2024), whatever makes
// queries and these vectors.
import { checkFunction, checkObject, FastWeightsError, type Tensor } from '../../core';
import type { Pace } from '../../inference';
import type { Linear } from '../../nn';
import { cat, matmul, softmaxAttention, split, zeros } from '../../ops';
import {
  checkForward,
  checkState,
  checkStep,
  mergeHeads,
  Recurrent,
  type SequenceOptions,
  type SequenceResult,
  splitHeads,
  stateDType,
} from './mixer';
import { append, paceOf, seen } from './recent';
import type { Place } from './rotation';
import { checkShapeOf, optional, type ShapeChecks, size } from './shapeChecks';

/** Sizes of a layer of latent attention. */
export interface LatentAttentionShape {
  /** Width of what goes into the layer and of what comes out. */
  hiddenSize: number;
  /** Heads of queries, keys and values. */
  numHeads: number;
  /** Width of what keys and values are made of. */
  rank: number;
  /** Width of what queries are made of; null, the default, where x itself gives them. */
  queryRank?: number | null;
  /** Width of the part of a key that each head has for itself. */
  ownDim: number;
  /** Width of the part of a key that all heads share. */
  sharedDim: number;
  /** Width of a head's values. */
  valueDim: number;
  /** A token sees itself and the window - 1 before it; all before it when null, as by default. */
  window?: number | null;
}

const SHAPE: ShapeChecks<LatentAttentionShape> = {
  hiddenSize: size,
  numHeads: size,
  rank: size,
  queryRank: optional(size),
  ownDim: size,
  sharedDim: size,
  valueDim: size,
  window: optional(size),
};

/**
 * What keys and values are made of, [B, capacity, 1, rank + sharedDim], of which positions `start` to `end` count: the normed
 * latent vector, and the part of the key that all heads share.
 */
export type LatentCache = {
  latent: Tensor;
  start: number;
  end: number;
  position: number;
};

/**
 * Causal softmax attention whose state holds, per token, one vector for all heads. Whole sequences expand it to keys and values;
 * a single token instead takes its queries down to the latent vectors, so that no past key is ever made again.
 */
export abstract class LatentMixer extends Recurrent<LatentCache> {
  /** From the heads, one after the other, to the output: weight [hiddenSize, numHeads * valueDim]. */
  abstract o_proj: Linear;

  constructor(
    /** What the layer was made with. */
    readonly shape: LatentAttentionShape,
    /** Checks of what else a subclass is made of: throw where the value is wrong. Without them it has nothing else. */
    more: ShapeChecks<object> = {},
  ) {
    super();
    checkObject(new.target.name, 'more', more);
    for (const check of Object.values(more)) checkFunction(new.target.name, 'more', check, 'an object of functions');
    checkShapeOf(new.target.name, 'shape', shape, { ...SHAPE, ...more });
  }

  /** x [B, T, hidden] to the queries [B, T, H, ownDim + sharedDim]. */
  protected abstract queries(x: Tensor, at: Place): Tensor;

  /** x [B, T, hidden] to what is kept of it: the normed latent vectors [B, T, rank] and the shared part of the keys. */
  protected abstract latents(x: Tensor, at: Place): [latent: Tensor, shared: Tensor];

  /** From the latent vector to each head's own part of its key, and its value: weight [H (ownDim + valueDim), rank]. */
  protected abstract get expansion(): Linear;

  forward(x: Tensor, options: SequenceOptions<LatentCache> = {}): SequenceResult<LatentCache> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    if (cuSeqlens && (state || outputState)) {
      const message = `${this.constructor.name}: packed sequences have no state`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
    }
    const offset = state?.position ?? 0;
    const q = this.queries(x, { offset, cuSeqlens });
    const own = this.compress(x, { offset, cuSeqlens });
    const latent = state ? cat([seen(state.latent, state).to(own.dtype), own], 1) : own;
    const [k, v] = this.expand(latent);
    const { window = null } = this.shape;
    const output = this.o_proj.forward(mergeHeads(softmaxAttention(q, k, v, { window, cuSeqlens })));
    if (!outputState) return { output };
    const start = Math.max(0, latent.shape[1] - (window ?? Infinity));
    const kept = latent.slice(1, start).to(stateDType(this.o_proj)).clone();
    return { output, state: { latent: kept, start: 0, end: kept.shape[1], position: offset + x.shape[1] } };
  }

  step(x: Tensor, state: LatentCache): Tensor {
    checkStep(this, x, state);
    const token = x.unsqueeze(1);
    const at = { offset: state.position };
    return this.readout(this.attend(this.queries(token, at), this.compress(token, at), state), x);
  }

  /** All at once but for what looks at the caches. */
  override stepRows(x: Tensor, rows: LatentCache[]): Tensor {
    rows.forEach((state) => checkState(`${this.constructor.name}.step`, this, state, 1));
    const token = x.unsqueeze(1);
    const at = { offset: rows.map(({ position }) => position) };
    const [q, latent] = [this.queries(token, at), this.compress(token, at)];
    const outputs = rows.map((state, i) => this.attend(q.slice(0, i, i + 1), latent.slice(0, i, i + 1), state));
    return this.readout(cat(outputs), x);
  }

  /** A token's queries over what came before it and itself, which is added. */
  private attend(q: Tensor, own: Tensor, state: LatentCache): Tensor {
    append(state, { latent: own }, this.shape.window ?? null);
    state.position++;
    const latent = seen(state.latent, state);
    return this.expansion.adapter?.active ? this.readExpanded(q, latent) : this.readLatent(q, latent);
  }

  private readout(output: Tensor, x: Tensor): Tensor {
    return this.o_proj.forward(mergeHeads(output.to(x.dtype)).squeeze(1));
  }

  initialState(batch: number): LatentCache {
    const { rank, sharedDim } = this.shape;
    const latent = zeros([batch, 0, 1, rank + sharedDim], {
      device: this.o_proj.device,
      dtype: stateDType(this.o_proj),
    });
    return { latent, start: 0, end: 0, position: 0 };
  }

  override pace(state: LatentCache): Pace {
    const { each, tokens } = paceOf(state, this.shape.window ?? null);
    return { each: { ...each, position: 1 }, tokens };
  }

  /** [B, T, hidden] to [B, T, 1, rank + sharedDim] */
  private compress(x: Tensor, at: Place): Tensor {
    return cat(this.latents(x, at), -1).unsqueeze(2);
  }

  /** Keys [B, S, H, ownDim + sharedDim] and values [B, S, H, valueDim]. */
  private expand(latents: Tensor): [Tensor, Tensor] {
    const { numHeads, rank, ownDim, sharedDim, valueDim } = this.shape;
    const [latent, shared] = split(latents, [rank, sharedDim], -1);
    const heads = splitHeads(this.expansion.forward(latent.squeeze(2)), numHeads);
    const [own, v] = split(heads, [ownDim, valueDim], -1);
    return [cat([own, shared.expand([...own.shape.slice(0, -1), sharedDim])], -1), v];
  }

  private readExpanded(q: Tensor, latents: Tensor): Tensor {
    const [k, v] = this.expand(latents.to(q.dtype));
    return softmaxAttention(q, k, v);
  }

  /**
   * q [B, 1, H, D] to [B, 1, H, valueDim]: q . (W c) is (W^T q) . c, and a sum of W c is W of their sum. The shared parts are summed,
   * too: to leave them out, all latent vectors would be copied.
   */
  private readLatent(q: Tensor, latents: Tensor): Tensor {
    const { numHeads, rank, ownDim, sharedDim, valueDim } = this.shape;
    const [own, shared] = split(q, [ownDim, sharedDim], -1);
    const weight = this.expansion.weight.reshape(numHeads, ownDim + valueDim, rank);
    const [keys, values] = split(weight, [ownDim, valueDim], 1);
    // [H, B, ownDim] x [H, ownDim, rank]
    const lowered = matmul(own.squeeze(1).transpose(0, 1), keys).transpose(0, 1).unsqueeze(1);
    const query = cat([lowered, shared], -1).to(latents.dtype);
    const scale = (ownDim + sharedDim) ** -0.5;
    const read = softmaxAttention(query, latents, latents, { scale }).slice(-1, 0, rank).to(q.dtype);
    // [H, B, rank] x [H, rank, valueDim]
    return matmul(read.squeeze(1).transpose(0, 1), values.transpose(1, 2)).transpose(0, 1).unsqueeze(1);
  }
}
