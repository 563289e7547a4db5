// Small parts of RWKV's layers, and how their weights are drawn.
import { noGrad } from '../../autograd';
import { scope, type Tensor } from '../../core';
import { GroupNorm, Linear, Module } from '../../nn';
import { groupNorm, rand, randn, tensor, type TensorOptions } from '../../ops';

/** What a low-rank projection puts between its two matrices. */
type Between = 'tanh' | 'sigmoid' | null;

/** W2 f(W1 x) + b under the names that LoRA has in flash-linear-attention: `lora.0` and `lora.2`. */
export class LowRank extends Module {
  /** The parts by their places in the published list: 0 [rank, in] has no bias, 2 is [out, rank]. */
  lora: { '0': Linear; '2': Linear };

  constructor(
    inFeatures: number,
    outFeatures: number,
    rank: number,
    /** f; null for none. */
    readonly between: Between,
    { bias = true, ...options }: TensorOptions & { bias?: boolean } = {},
  ) {
    super();
    this.lora = {
      '0': new Linear(inFeatures, rank, { bias: false, ...options }),
      '2': new Linear(rank, outFeatures, { bias, ...options }),
    };
  }

  /** x [..., in] to [..., out]. */
  forward(x: Tensor): Tensor {
    const { lora, between } = this;
    const inner = lora['0'].forward(x);
    return lora['2'].forward(between === 'tanh' ? inner.tanh() : between === 'sigmoid' ? inner.sigmoid() : inner);
  }

  /** As published: the first matrix 0, the second small, the bias what is given. */
  initialize(bias: number | readonly number[] = 0): void {
    const { weight, bias: b } = this.lora['2'];
    const [out, rank] = weight.shape;
    noGrad(() => this.lora['0'].weight.fill_(0));
    likeOrthogonal(weight, 0.1 * (rank > out ? Math.sqrt(rank / out) : 1));
    if (b) assign(b, typeof bias === 'number' ? new Array<number>(out).fill(bias) : bias);
  }
}

/** Norm of every head of x [..., heads * V]; weight and bias [heads * V]. */
export class HeadNorm extends GroupNorm {
  override forward(x: Tensor): Tensor {
    return groupNorm(x, this.numGroups, this.weight, this.bias, { eps: this.eps });
  }
}

/** Gives a parameter these values. */
export function assign(t: Tensor, values: readonly number[]): void {
  const { shape, device } = t;
  noGrad(() => scope(() => t.copy_(tensor([...values], { shape: [...shape], device }).to(t.dtype))));
}

/**
 * Normal with the deviation that the elements of an orthogonal matrix times `gain` have. The published programs draw orthogonal
 * ones, which for large matrices takes longer than to read a model.
 */
export function likeOrthogonal(weight: Tensor, gain = 1): void {
  const { shape, device } = weight;
  const std = gain * Math.max(...shape) ** -0.5;
  noGrad(() => scope(() => weight.copy_(randn(shape, { device, std }).to(weight.dtype))));
}

/** Uniform in +-bound. */
export function uniform(weight: Tensor, bound: number): void {
  const { shape, device } = weight;
  noGrad(() => scope(() => weight.copy_(rand(shape, { device, low: -bound, high: bound }).to(weight.dtype))));
}

/** Of channel n of D, for new weights: how far along it stands. */
export const along = (D: number, f: (share: number, n: number) => number): number[] =>
  Array.from({ length: D }, (_, n) => f(n / Math.max(1, D - 1), n));
