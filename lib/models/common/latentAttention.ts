// Latent attention without rotary positions: the attention layers of Kimi Linear (Kimi Team 2025).
import type { Tensor } from '../../core';
import { Linear, RMSNorm } from '../../nn';
import { split, type TensorOptions } from '../../ops';
import { type LatentAttentionShape, LatentMixer } from './latentMixer';
import { splitHeads } from './mixer';

/** Whatever the configuration says of other norms. */
const LATENT_NORM_EPS = 1e-6;

/** `LatentMixer` whose queries and keys do not turn. */
export class LatentAttention extends LatentMixer {
  /** To the queries, weight [numHeads * (ownDim + sharedDim), hiddenSize]. */
  q_proj: Linear;
  /** To the latent vector and the shared part of the key, weight [rank + sharedDim, hiddenSize]. */
  kv_a_proj_with_mqa: Linear;
  /** Of the latent vector, weight [rank]. */
  kv_a_layernorm: RMSNorm;
  /** From the latent vector to each head's own part of its key, and its value: weight [numHeads * (ownDim + valueDim), rank]. */
  kv_b_proj: Linear;
  /** weight [hiddenSize, numHeads * valueDim] */
  o_proj: Linear;

  constructor(shape: LatentAttentionShape, options: TensorOptions = {}) {
    super(shape);
    const { hiddenSize, numHeads, rank, ownDim, sharedDim, valueDim } = shape;
    const bare = { bias: false, ...options };
    this.q_proj = new Linear(hiddenSize, numHeads * (ownDim + sharedDim), bare);
    this.kv_a_proj_with_mqa = new Linear(hiddenSize, rank + sharedDim, bare);
    this.kv_a_layernorm = new RMSNorm(rank, { eps: LATENT_NORM_EPS, ...options });
    this.kv_b_proj = new Linear(rank, numHeads * (ownDim + valueDim), bare).keepWhole();
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, bare);
  }

  protected queries(x: Tensor): Tensor {
    return splitHeads(this.q_proj.forward(x), this.shape.numHeads);
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
