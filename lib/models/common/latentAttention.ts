// Latent attention without rotary positions: keys and values of all heads come from one narrow vector per token, queries perhaps
// from another one (DeepSeek-V2, 2024; Kimi Team 2025).
import { checkObject, FastWeightsError, type Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { cat, matmul, softmaxAttention, split, type TensorOptions, zeros } from '../../ops';
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
import { append, seen } from './recent';

/** Sizes of a layer of `LatentAttention`. */
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
  /** Whether the projections from x and to the output have biases, false by default; that of x to whole queries has none. */
  bias?: boolean;
}

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

/** Whatever the configuration says of other norms. */
const LATENT_NORM_EPS = 1e-6;

/**
 * Causal softmax attention whose state holds, per token, one vector for all heads. Whole sequences expand it to keys and values;
 * a single token instead takes its queries down to the latent vectors, so that no past key is ever made again.
 */
export class LatentAttention extends Recurrent<LatentCache> {
  /** To the queries, weight [numHeads * (ownDim + sharedDim), hiddenSize]; null where they have a latent vector, as the next are without. */
  q_proj: Linear | null;
  /** To the latent vector of the queries, weight [queryRank, hiddenSize]. */
  q_a_proj: Linear | null;
  /** Of that vector, weight [queryRank]. */
  q_a_layernorm: RMSNorm | null;
  /** From it to the queries, weight [numHeads * (ownDim + sharedDim), queryRank]. */
  q_b_proj: Linear | null;
  /** To the latent vector and the shared part of the key, weight [rank + sharedDim, hiddenSize]. */
  kv_a_proj_with_mqa: Linear;
  /** Of the latent vector, weight [rank]. */
  kv_a_layernorm: RMSNorm;
  /** From the latent vector to each head's own part of its key, and its value: weight [numHeads * (ownDim + valueDim), rank]. */
  kv_b_proj: Linear;
  /** weight [hiddenSize, numHeads * valueDim] */
  o_proj: Linear;

  constructor(
    /** What the layer was made with. */
    readonly shape: LatentAttentionShape,
    options: TensorOptions = {},
  ) {
    super();
    checkObject(new.target.name, 'shape', shape);
    const { hiddenSize, numHeads, rank, queryRank = null, ownDim, sharedDim, valueDim, bias = false } = shape;
    const bare = { bias: false, ...options };
    const queries = numHeads * (ownDim + sharedDim);
    const direct = queryRank === null;
    this.q_proj = direct ? new Linear(hiddenSize, queries, bare) : null;
    this.q_a_proj = direct ? null : new Linear(hiddenSize, queryRank, { bias, ...options });
    this.q_a_layernorm = direct ? null : new RMSNorm(queryRank, { eps: LATENT_NORM_EPS, ...options });
    this.q_b_proj = direct ? null : new Linear(queryRank, queries, bare);
    this.kv_a_proj_with_mqa = new Linear(hiddenSize, rank + sharedDim, { bias, ...options });
    this.kv_a_layernorm = new RMSNorm(rank, { eps: LATENT_NORM_EPS, ...options });
    this.kv_b_proj = new Linear(rank, numHeads * (ownDim + valueDim), bare).keepWhole();
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, { bias, ...options });
  }

  forward(x: Tensor, options: SequenceOptions<LatentCache> = {}): SequenceResult<LatentCache> {
    checkForward(this, x, options);
    const { state = null, outputState = false, cuSeqlens = null } = options;
    if (cuSeqlens && (state || outputState)) {
      const message = 'LatentAttention: packed sequences have no state';
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'cuSeqlens' });
    }
    const q = this.queries(x);
    const own = this.compress(x);
    const latent = state ? cat([seen(state.latent, state).to(own.dtype), own], 1) : own;
    const [k, v] = this.expand(latent);
    const output = this.o_proj.forward(mergeHeads(softmaxAttention(q, k, v, { cuSeqlens })));
    if (!outputState) return { output };
    const kept = latent.to(stateDType(this.o_proj)).clone();
    const position = (state?.position ?? 0) + x.shape[1];
    return { output, state: { latent: kept, start: 0, end: latent.shape[1], position } };
  }

  step(x: Tensor, state: LatentCache): Tensor {
    checkStep(this, x, state);
    const token = x.unsqueeze(1);
    const q = this.queries(token);
    return this.readout(this.attend(q, this.compress(token), state), x);
  }

  /** All at once but for what looks at the caches. */
  override stepRows(x: Tensor, rows: LatentCache[]): Tensor {
    rows.forEach((state) => checkState(`${this.constructor.name}.step`, this, state, 1));
    const token = x.unsqueeze(1);
    const q = this.queries(token);
    const latent = this.compress(token);
    const outputs = rows.map((state, i) => this.attend(q.slice(0, i, i + 1), latent.slice(0, i, i + 1), state));
    return this.readout(cat(outputs), x);
  }

  /** A token's queries over what came before it and itself, which is added. */
  private attend(q: Tensor, own: Tensor, state: LatentCache): Tensor {
    append(state, { latent: own }, null);
    state.position++;
    const latent = seen(state.latent, state);
    return this.kv_b_proj.adapter?.active ? this.readExpanded(q, latent) : this.readLatent(q, latent);
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

  /** [B, T, hidden] to [B, T, H, ownDim + sharedDim] */
  private queries(x: Tensor): Tensor {
    const q = this.q_proj?.forward(x) ?? this.q_b_proj!.forward(this.q_a_layernorm!.forward(this.q_a_proj!.forward(x)));
    return splitHeads(q, this.shape.numHeads);
  }

  /** [B, T, hidden] to [B, T, 1, rank + sharedDim] */
  private compress(x: Tensor): Tensor {
    const { rank, sharedDim } = this.shape;
    const [latent, shared] = split(this.kv_a_proj_with_mqa.forward(x), [rank, sharedDim], -1);
    return cat([this.kv_a_layernorm.forward(latent), shared], -1).unsqueeze(2);
  }

  /** Keys [B, S, H, ownDim + sharedDim] and values [B, S, H, valueDim]. */
  private expand(latents: Tensor): [Tensor, Tensor] {
    const { numHeads, rank, ownDim, sharedDim, valueDim } = this.shape;
    const [latent, shared] = split(latents, [rank, sharedDim], -1);
    const heads = splitHeads(this.kv_b_proj.forward(latent.squeeze(2)), numHeads);
    const [own, v] = split(heads, [ownDim, valueDim], -1);
    return [cat([own, shared.expand([...own.shape.slice(0, -1), sharedDim])], -1), v];
  }

  private readExpanded(q: Tensor, latents: Tensor): Tensor {
    const [k, v] = this.expand(latents.to(q.dtype));
    return softmaxAttention(q, k, v);
  }

  /** q [B, 1, H, D] to [B, 1, H, valueDim]: q . (W c) is (W^T q) . c, and a sum of W c is W of their sum. */
  private readLatent(q: Tensor, latents: Tensor): Tensor {
    const { numHeads, rank, ownDim, sharedDim, valueDim } = this.shape;
    const [own, shared] = split(q, [ownDim, sharedDim], -1);
    const weight = this.kv_b_proj.weight.reshape(numHeads, ownDim + valueDim, rank);
    const [keys, values] = split(weight, [ownDim, valueDim], 1);
    // [H, B, ownDim] x [H, ownDim, rank]
    const lowered = matmul(own.squeeze(1).transpose(0, 1), keys).transpose(0, 1).unsqueeze(1);
    const query = cat([lowered, shared], -1).to(latents.dtype);
    const scale = (ownDim + sharedDim) ** -0.5;
    const read = softmaxAttention(query, latents, latents.slice(-1, 0, rank), { scale }).to(q.dtype);
    // [H, B, rank] x [H, rank, valueDim]
    return matmul(read.squeeze(1).transpose(0, 1), values.transpose(1, 2)).transpose(0, 1).unsqueeze(1);
  }
}
