// A small network of DeltaProduct layers, for experiments: several delta steps per token, strengths up to 1 or 2.
import type { Tensor } from '../core';
import { Embedding, Linear, Module, RMSNorm, SwiGLU } from '../nn';
import type { TensorOptions } from '../ops';
import { deltaProduct } from '../rules';

/** Sizes of a `DeltaProductNet`. */
export interface DeltaProductSizes extends TensorOptions {
  vocabSize: number;
  layers: number;
  hiddenSize: number;
  heads: number;
  /** n, delta steps per token. */
  householders: number;
  /** Strengths up to 2, so that eigenvalues reach down to -1. */
  negative: boolean;
}

/** x + DeltaProduct(norm x), then x + SwiGLU(norm x). */
class DeltaProductBlock extends Module {
  norm: RMSNorm;
  q: Linear;
  k: Linear;
  v: Linear;
  b: Linear;
  outputNorm: RMSNorm;
  output: Linear;
  mlpNorm: RMSNorm;
  mlp: SwiGLU;

  constructor(private readonly sizes: DeltaProductSizes) {
    super();
    const { hiddenSize: D, heads, householders: n, device } = sizes;
    const linear = (outputs: number): Linear => new Linear(D, outputs, { bias: false, device });
    this.norm = new RMSNorm(D, { device });
    this.q = linear(D);
    this.k = linear(n * D);
    this.v = linear(n * D);
    this.b = linear(n * heads);
    this.outputNorm = new RMSNorm(D / heads, { device });
    this.output = linear(D);
    this.mlpNorm = new RMSNorm(D, { device });
    this.mlp = new SwiGLU(D, 2 * D, { device });
  }

  forward(x: Tensor): Tensor {
    const { heads: H, householders: n, hiddenSize: D, negative } = this.sizes;
    const [B, T] = x.shape;
    const h = this.norm.forward(x);
    const strengths = this.b
      .forward(h)
      .sigmoid()
      .reshape(B, T * n, H);
    const { output } = deltaProduct(
      this.q
        .forward(h)
        .silu()
        .reshape(B, T, H, D / H),
      this.k
        .forward(h)
        .silu()
        .reshape(B, T * n, H, D / H),
      this.v
        .forward(h)
        .silu()
        .reshape(B, T * n, H, D / H),
      { numHouseholder: n, beta: negative ? strengths.mul(2) : strengths, qkL2Norm: true },
    );
    const mixed = x.add(this.output.forward(this.outputNorm.forward(output).reshape(B, T, D)));
    return this.mlp.forward(this.mlpNorm.forward(mixed), mixed);
  }
}

/** Embedding, blocks, norm, logits. */
export class DeltaProductNet extends Module {
  embedding: Embedding;
  blocks: DeltaProductBlock[];
  norm: RMSNorm;
  head: Linear;

  constructor(sizes: DeltaProductSizes) {
    super();
    const { vocabSize, layers, hiddenSize, device } = sizes;
    this.embedding = new Embedding(vocabSize, hiddenSize, { device });
    this.blocks = Array.from({ length: layers }, () => new DeltaProductBlock(sizes));
    this.norm = new RMSNorm(hiddenSize, { device });
    this.head = new Linear(hiddenSize, vocabSize, { bias: false, device });
  }

  /** ids int32 [B, T] -> logits [B, T, vocabSize] */
  forward(ids: Tensor): { logits: Tensor } {
    const x = this.blocks.reduce((h, block) => block.forward(h), this.embedding.forward(ids));
    return { logits: this.head.forward(this.norm.forward(x)) };
  }
}
