// Latent attention without rotary positions: the attention layers of Kimi Linear (Kimi Team 2025).
import type { Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { split, type TensorOptions } from '../../ops';
import { type LatentAttentionShape, LatentMixer } from './latentMixer';
import { splitHeads } from './mixer';
import { flag, optional } from './shapeChecks';

/** Whatever the configuration says of other norms. */
const LATENT_NORM_EPS = 1e-6;

/** Sizes of a layer of `LatentAttention`. */
export interface UnturnedLatentAttentionShape extends LatentAttentionShape {
  /** Whether the projections from x and to the output have biases, false by default; that of x to whole queries has none. */
  bias?: boolean;
}

/** `LatentMixer` whose queries and keys do not turn. */
export class LatentAttention extends LatentMixer {
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
    override readonly shape: UnturnedLatentAttentionShape,
    options: TensorOptions = {},
  ) {
    super(shape, { bias: optional(flag) });
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

  protected queries(x: Tensor): Tensor {
    const q = this.q_proj?.forward(x) ?? this.q_b_proj!.forward(this.q_a_layernorm!.forward(this.q_a_proj!.forward(x)));
    return splitHeads(q, this.shape.numHeads);
  }

  protected latents(x: Tensor): [Tensor, Tensor] {
    const { rank, sharedDim } = this.shape;
    const [latent, shared] = split(this.kv_a_proj_with_mqa.forward(x), [rank, sharedDim], -1);
    return [this.kv_a_layernorm.forward(latent), shared];
  }

  protected get expansion(): Linear {
    return this.kv_b_proj;
  }
}
