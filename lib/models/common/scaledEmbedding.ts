// An embedding times a number that no weight holds.
import type { Tensor } from '../../core';
import { Embedding } from '../../nn';
import type { TensorOptions } from '../../ops';

export class ScaledEmbedding extends Embedding {
  constructor(
    count: number,
    dim: number,
    private readonly factor: number,
    options: TensorOptions,
  ) {
    super(count, dim, options);
  }

  override forward(indices: Tensor): Tensor {
    const vectors = super.forward(indices);
    return this.factor === 1 ? vectors : vectors.mul(this.factor);
  }
}
