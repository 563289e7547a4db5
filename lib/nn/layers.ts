// The common layers, with PyTorch's initialisation.
import type { Tensor } from '../core';
import {
  dropout,
  embedding,
  full,
  layerNorm,
  linear,
  type LinearOptions,
  ones,
  rand,
  randn,
  rmsNorm,
  rmsNormGated,
  type TensorOptions,
  zeros,
} from '../ops';
import { Module, parameter } from './module';

/** x W^T + b with W [out, in]; W and b uniform in +-1/sqrt(in). */
export class Linear extends Module {
  weight: Tensor;
  bias: Tensor | null;

  constructor(inFeatures: number, outFeatures: number, options: { bias?: boolean } & TensorOptions = {}) {
    super();
    const { bias = true, ...where } = options;
    const bound = inFeatures ** -0.5;
    this.weight = parameter(rand([outFeatures, inFeatures], { ...where, low: -bound, high: bound }));
    this.bias = bias ? parameter(rand([outFeatures], { ...where, low: -bound, high: bound })) : null;
  }

  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    return linear(x, this.weight, this.bias, options);
  }
}

/** Rows of a table [count, D], N(0, 1), by int32 index. */
export class Embedding extends Module {
  weight: Tensor;

  constructor(count: number, dim: number, options: TensorOptions = {}) {
    super();
    this.weight = parameter(randn([count, dim], options));
  }

  forward(indices: Tensor): Tensor {
    return embedding(this.weight, indices);
  }
}

/** x / sqrt(mean x^2 + eps) * weight. */
export class RMSNorm extends Module {
  weight: Tensor;

  constructor(
    dim: number,
    readonly eps = 1e-6,
    options: TensorOptions = {},
  ) {
    super();
    this.weight = parameter(ones([dim], options));
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps });
  }
}

/** RMS norm times an activated gate, norm(x) * act(z). */
export class GatedRMSNorm extends Module {
  weight: Tensor;

  constructor(
    dim: number,
    readonly eps = 1e-5,
    readonly activation: 'silu' | 'sigmoid' = 'silu',
    options: TensorOptions = {},
  ) {
    super();
    this.weight = parameter(ones([dim], options));
  }

  forward(x: Tensor, gate: Tensor): Tensor {
    return rmsNormGated(x, gate, this.weight, { eps: this.eps, activation: this.activation });
  }
}

/** (x - mean) / sqrt(variance + eps) * weight + bias. */
export class LayerNorm extends Module {
  weight: Tensor;
  bias: Tensor | null;

  constructor(
    dim: number,
    readonly eps = 1e-5,
    options: { bias?: boolean } & TensorOptions = {},
  ) {
    super();
    const { bias = true, ...where } = options;
    this.weight = parameter(full([dim], 1, where));
    this.bias = bias ? parameter(zeros([dim], where)) : null;
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, this.eps);
  }
}

/** Dropout while training, nothing else. */
export class Dropout extends Module {
  constructor(readonly p: number) {
    super();
  }

  forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? dropout(x, this.p) : x;
  }
}
