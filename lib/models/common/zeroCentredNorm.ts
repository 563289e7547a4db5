// RMS norm whose weight is stored as what it differs from 1 by (Qwen3-Next).
import { checkInteger, checkNumber, checkOptions, type OptionNames, type Tensor } from '../../core';
import { Module, type NormOptions, parameter } from '../../nn';
import { rmsNorm, TENSOR_OPTIONS, toFloat32, zeros } from '../../ops';

const OPTIONS: OptionNames<NormOptions> = { ...TENSOR_OPTIONS, eps: true };

/** x / sqrt(mean x^2 + eps) * (1 + weight); eps is 1e-6 by default. Weight decay then pulls the scale to 1, not to 0. */
export class ZeroCentredRMSNorm extends Module {
  /** [dim], zeros at first. */
  weight: Tensor;
  /** What is added to the mean of squares under the root. */
  readonly eps: number;

  constructor(dim: number, options: NormOptions = {}) {
    super();
    const where = 'ZeroCentredRMSNorm';
    checkOptions(where, options, OPTIONS);
    checkInteger(where, 'dim', dim, 1);
    const { eps = 1e-6, ...place } = options;
    this.eps = checkNumber(where, 'eps', eps, 0);
    this.weight = parameter(zeros([dim], place));
  }

  /** x [..., dim]; 1 + weight is never rounded to bfloat16, which has no numbers between 1 and 1.0078. */
  forward(x: Tensor): Tensor {
    const scale = toFloat32(this.weight).add(1);
    return rmsNorm(toFloat32(x), scale, { eps: this.eps }).to(x.dtype);
  }
}
