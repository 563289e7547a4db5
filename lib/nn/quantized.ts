// The weight of a linear layer in bfloat16 or 8 bits, for inference.
import type { Tensor } from '../core';
import type { WeightFormat } from '../backends';
import { type LinearOptions, type PackedWeight, quantizedLinear } from '../ops';
import { Module } from './module';

/** What a quantised `Linear` has instead of its weight: [out, in] in fewer bits. */
export class QuantizedWeight extends Module {
  /** int32, in the order in which the kernel reads them. */
  words: Tensor;
  /** [out] float32: what the integers of a row are multiplied by; null in bfloat16. */
  scale: Tensor | null;
  /** What a number is stored as. */
  readonly format: WeightFormat;
  /** [out, in] */
  readonly shape: readonly [number, number];

  constructor(packed: PackedWeight) {
    super();
    this.format = packed.format;
    this.shape = packed.shape;
    this.words = this.registerBuffer('words', packed.words);
    this.scale = this.registerBuffer('scale', packed.scale);
  }

  protected override get quantizedCount(): number {
    return this.shape[0] * this.shape[1];
  }

  /** activation(x W^T + bias) + residual */
  forward(x: Tensor, bias: Tensor | null, options: LinearOptions): Tensor {
    return quantizedLinear(x, this, bias, options);
  }
}
