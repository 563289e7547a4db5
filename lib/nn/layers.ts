// The common layers, with PyTorch's initialisation.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  type Device,
  type DType,
  FastWeightsError,
  type OptionNames,
  scope,
  type Tensor,
} from '../core';
import {
  checkTensor,
  checkTensorOptions,
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
  TENSOR_OPTIONS,
  type TensorOptions,
  zeros,
} from '../ops';
import { newWeight } from './blank';
import { Module, parameter } from './module';
import type { QuantizedWeight } from './quantized';

/** Place, dtype, and whether there is a bias. */
export interface BiasOptions extends TensorOptions {
  /** Whether there is a bias; the default is that of the layer. */
  bias?: boolean;
}

/** @internal The names of `BiasOptions`. */
export const BIAS: OptionNames<BiasOptions> = { ...TENSOR_OPTIONS, bias: 'flag' };

/** What adds to the result x W^T + b of a linear layer, where it is active. */
export interface LinearAdapter extends Module {
  /** Whether it adds anything now. */
  readonly active: boolean;
  /** x [..., in] to what is added, [..., out]; null for nothing. */
  forward(x: Tensor): Tensor | null;
}

/** x W^T + b with W [out, in]; W and b uniform in +-1/sqrt(in). */
export class Linear extends Module {
  /** [out, in] */
  weight: Tensor;
  /** [out], or null. */
  bias: Tensor | null;
  /** Set by `addLora`, and by `loadAdapter` of a model, which are the ways to it. */
  adapter: LinearAdapter | null = null;
  /** What stands for `weight`, which is gone (UNSUPPORTED), once the model is quantised; else null. */
  quantized: QuantizedWeight | null = null;
  private whole = false;

  constructor(inFeatures: number, outFeatures: number, options: BiasOptions = {}) {
    super();
    checkOptions('Linear', options, BIAS);
    checkInteger('Linear', 'inFeatures', inFeatures, 1);
    checkInteger('Linear', 'outFeatures', outFeatures, 1);
    const { bias = true, ...where } = options;
    const bound = inFeatures ** -0.5;
    const shape = [outFeatures, inFeatures];
    this.weight = parameter(newWeight(shape, where, () => rand(shape, { ...where, low: -bound, high: bound })));
    this.bias = bias ? parameter(rand([outFeatures], { ...where, low: -bound, high: bound })) : null;
  }

  /** Width of what goes in. */
  get inFeatures(): number {
    return (this.quantized ?? this.weight).shape[1];
  }

  /** Width of the result. */
  get outFeatures(): number {
    return (this.quantized ?? this.weight).shape[0];
  }

  /** Of the weight. */
  override get device(): Device {
    return (this.quantized?.words ?? this.weight).device;
  }

  /** What it takes and gives: that of the weight, float32 where that is quantised. */
  get dtype(): DType {
    return this.quantized ? 'float32' : this.weight.dtype;
  }

  /**
   * Says that its weight is read by others, or computed with in another way than `forward` of this class: where the model is
   * quantised, it stays as it is.
   */
  keepWhole(): this {
    this.whole = true;
    return this;
  }

  /** @internal Whether quantising the model is to quantise this layer, too. */
  get mayQuantize(): boolean {
    return !this.whole;
  }

  /** @internal Takes a quantised weight in place of the one that there is, which is not freed. */
  quantize(weight: QuantizedWeight): void {
    this.quantized = weight;
    const get = (): never => {
      const message = `Linear: weight is in ${weight.format}, for forward alone; keepWhole() leaves a layer as it is`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'weight', found: 'a quantised weight' });
    };
    Object.defineProperty(this, 'weight', { get, enumerable: false });
  }

  /** @internal Whether `forward` is the product of x and the weight now, and nothing else. */
  get isPlain(): boolean {
    const { adapter, bias, quantized } = this;
    return this.forward === Linear.prototype.forward && !bias && !quantized && (adapter === null || !adapter.active);
  }

  private product(x: Tensor, options: LinearOptions): Tensor {
    const { quantized, bias } = this;
    return quantized ? quantized.forward(x, bias, options) : linear(x, this.weight, bias, options);
  }

  /** x [..., in] to [..., out]. */
  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    const { adapter } = this;
    if (adapter === null || !adapter.active) return this.product(x, options);
    return scope(() => {
      const { activation = null, residual = null } = options;
      const added = adapter.forward(x);
      if (activation === null)
        return this.product(x, { residual: residual ? (added?.add(residual) ?? residual) : added });
      const y = this.product(x, { residual: added }).silu();
      return residual ? y.add(residual) : y;
    });
  }
}

/** Rows of a table [count, D], N(0, 1), by int32 index. */
export class Embedding extends Module {
  /** [count, dim] */
  weight: Tensor;

  constructor(count: number, dim: number, options: TensorOptions = {}) {
    super();
    checkTensorOptions('Embedding', options);
    checkInteger('Embedding', 'count', count, 1);
    checkInteger('Embedding', 'dim', dim, 1);
    this.weight = parameter(newWeight([count, dim], options, () => randn([count, dim], options)));
  }

  /** int32 indices [...] to [..., dim]. */
  forward(indices: Tensor): Tensor {
    return embedding(this.weight, indices);
  }
}

/** Place, dtype, and what is added under the root. */
export interface NormOptions extends TensorOptions {
  /** Under the root, at least 0; by default 1e-6 in `RMSNorm`, 1e-5 in `GatedRMSNorm` and `LayerNorm`. */
  eps?: number;
}

const NORM: OptionNames<NormOptions> = { ...TENSOR_OPTIONS, eps: true };

/** Options of a norm, of which the eps may also stand alone before the others, as in PyTorch's positional calls. */
function normOptions<O extends NormOptions>(where: string, known: OptionNames<O>, options: O | number, others: O): O {
  checkOptions(where, others, known);
  if (typeof options !== 'object') return { ...others, eps: options };
  checkOptions(where, options, known);
  return { ...others, ...options };
}

function checkNorm(where: string, dim: number, eps: number): number {
  checkInteger(where, 'dim', dim, 1);
  return checkNumber(where, 'eps', eps, 0);
}

/** x / sqrt(mean x^2 + eps) * weight; eps is 1e-6 by default. */
export class RMSNorm extends Module {
  /** [dim], ones at first. */
  weight: Tensor;
  /** What is added to the mean of squares under the root. */
  readonly eps: number;

  constructor(dim: number, options: NormOptions | number = {}, others: NormOptions = {}) {
    super();
    const { eps = 1e-6, ...where } = normOptions('RMSNorm', NORM, options, others);
    this.eps = checkNorm('RMSNorm', dim, eps);
    this.weight = parameter(ones([dim], where));
  }

  /** x [..., dim]. */
  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps });
  }
}

/** Options of `GatedRMSNorm`. */
export interface GatedRMSNormOptions extends NormOptions {
  /** 'silu' by default. */
  activation?: 'silu' | 'sigmoid';
  /** Whether the gate multiplies the norm, norm(x) * act(z) (true, the default), or what is normed: norm(x * act(z)). */
  normBeforeGate?: boolean;
  /** Channels that are normed together, a divisor of dim; all of them by default. */
  groupSize?: number;
}

const GATED: OptionNames<GatedRMSNormOptions> = { ...NORM, activation: true, normBeforeGate: 'flag', groupSize: true };

/** RMS norm with an activated gate; eps is 1e-5 by default. */
export class GatedRMSNorm extends Module {
  /** [dim], ones at first. */
  weight: Tensor;
  /** What is added to the mean of squares under the root. */
  readonly eps: number;
  /** What the gate goes through before it multiplies. */
  readonly activation: 'silu' | 'sigmoid';
  /** Whether it multiplies the norm, or what is normed. */
  readonly normBeforeGate: boolean;
  /** Channels that are normed together. */
  readonly groupSize: number;

  constructor(
    dim: number,
    options: GatedRMSNormOptions | number = {},
    activated?: GatedRMSNormOptions['activation'],
    others: GatedRMSNormOptions = {},
  ) {
    super();
    const given = normOptions('GatedRMSNorm', GATED, options, others);
    const { eps = 1e-5, activation = activated ?? 'silu', normBeforeGate = true, groupSize = dim, ...where } = given;
    this.eps = checkNorm('GatedRMSNorm', dim, eps);
    this.activation = checkChoice('GatedRMSNorm', 'activation', activation, ['silu', 'sigmoid']);
    this.normBeforeGate = normBeforeGate;
    this.groupSize = checkInteger('GatedRMSNorm', 'groupSize', groupSize, 1, dim);
    if (dim % groupSize !== 0) {
      throw argumentError('INVALID_ARGUMENT', 'GatedRMSNorm', 'groupSize', `a divisor of ${dim}`, String(groupSize));
    }
    this.weight = parameter(ones([dim], where));
  }

  /** x and gate [..., dim]. */
  forward(x: Tensor, gate: Tensor): Tensor {
    checkTensor('GatedRMSNorm', 'gate', gate);
    const { weight, eps, activation, normBeforeGate, groupSize } = this;
    return rmsNormGated(x, gate, weight, { eps, activation, normBeforeGate, groupSize });
  }
}

/** Options of `LayerNorm`. */
export interface LayerNormOptions extends NormOptions {
  /** true by default. */
  bias?: boolean;
}

const LAYER: OptionNames<LayerNormOptions> = { ...NORM, bias: 'flag' };

/** (x - mean) / sqrt(variance + eps) * weight + bias; eps is 1e-5 by default. */
export class LayerNorm extends Module {
  /** [dim], ones at first. */
  weight: Tensor;
  /** [dim], zeros at first, or null. */
  bias: Tensor | null;
  /** What is added to the variance under the root. */
  readonly eps: number;

  constructor(dim: number, options: LayerNormOptions | number = {}, others: LayerNormOptions = {}) {
    super();
    const { eps = 1e-5, bias = true, ...where } = normOptions('LayerNorm', LAYER, options, others);
    this.eps = checkNorm('LayerNorm', dim, eps);
    this.weight = parameter(full([dim], 1, where));
    this.bias = bias ? parameter(zeros([dim], where)) : null;
  }

  /** x [..., dim]. */
  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight, this.bias, { eps: this.eps });
  }
}
