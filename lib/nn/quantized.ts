// The weight of a linear layer in bfloat16 or 8 bits, for inference.
import { checkChoice, checkInstance, checkInteger, checkList, checkObject, Tensor } from '../core';
import { WEIGHT_FORMATS, type WeightFormat } from '../backends';
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
    const where = 'QuantizedWeight';
    checkObject(where, 'packed', packed);
    this.format = checkChoice(where, 'format', packed.format, WEIGHT_FORMATS);
    checkList(where, 'shape', packed.shape, 'the sizes [out, in]');
    this.shape = [0, 1].map((i) => checkInteger(where, `shape[${i}]`, packed.shape[i])) as [number, number];
    checkInstance(where, 'words', packed.words, Tensor);
    if (packed.scale !== null) checkInstance(where, 'scale', packed.scale, Tensor);
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
