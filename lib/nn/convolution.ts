// Convolutions over time and images, with PyTorch's initialisation.
import { argumentError, checkInteger, checkOptions, type OptionNames, type Tensor } from '../core';
import { checkPair, conv1d, type Conv1dOptions, conv2d, type Conv2dOptions, type Pair, rand } from '../ops';
import { BIAS, type BiasOptions } from './layers';
import { Module, parameter } from './module';

const SHAPE = { stride: true, padding: true, dilation: true, groups: true } as const;

/** Options of `Conv1d`: bias true, stride 1, padding 0, dilation 1 and groups 1 by default. */
export type Conv1dLayerOptions = BiasOptions & Omit<Conv1dOptions, 'bias'>;
const CONV1D: OptionNames<Conv1dLayerOptions> = { ...BIAS, ...SHAPE };

/** Options of `Conv2d`: bias true, stride 1, padding 0, dilation 1 and groups 1 by default. */
export type Conv2dLayerOptions = BiasOptions & Omit<Conv2dOptions, 'bias'>;
const CONV2D: OptionNames<Conv2dLayerOptions> = { ...BIAS, ...SHAPE };

/** Weight [out, in / groups, ...kernel] and bias [out], uniform in +-1/sqrt(in / groups * kernel). */
function drawn(
  where: string,
  [inChannels, outChannels]: readonly [number, number],
  kernel: readonly number[],
  { bias = true, ...place }: BiasOptions,
  groups: number,
): { weight: Tensor; bias: Tensor | null } {
  checkInteger(where, 'inChannels', inChannels, 1);
  checkInteger(where, 'outChannels', outChannels, 1);
  checkInteger(where, 'groups', groups, 1);
  for (const [name, channels] of Object.entries({ inChannels, outChannels })) {
    if (channels % groups !== 0) {
      throw argumentError('INVALID_ARGUMENT', where, name, `a multiple of ${groups}`, String(channels));
    }
  }
  const shape = [outChannels, inChannels / groups, ...kernel];
  const bound = shape.slice(1).reduce((a, b) => a * b, 1) ** -0.5;
  const draw = (size: number[]): Tensor => parameter(rand(size, { ...place, low: -bound, high: bound }));
  return { weight: draw(shape), bias: bias ? draw([outChannels]) : null };
}

/** x [B, in, T] to [B, out, T']; see `conv1d`. */
export class Conv1d extends Module {
  /** [out, in / groups, kernelSize] */
  weight: Tensor;
  /** [out], or null. */
  bias: Tensor | null;
  private readonly over: Omit<Conv1dOptions, 'bias'>;

  constructor(
    /** Channels of x. */
    readonly inChannels: number,
    /** Channels of the result. */
    readonly outChannels: number,
    /** Width of the window. */
    readonly kernelSize: number,
    options: Conv1dLayerOptions = {},
  ) {
    super();
    checkOptions('Conv1d', options, CONV1D);
    checkInteger('Conv1d', 'kernelSize', kernelSize, 1);
    const { stride = 1, padding = 0, dilation = 1, groups = 1, ...rest } = options;
    this.over = { stride, padding, dilation, groups };
    ({ weight: this.weight, bias: this.bias } = drawn('Conv1d', [inChannels, outChannels], [kernelSize], rest, groups));
  }

  /** x [B, in, T] to [B, out, T']. */
  forward(x: Tensor): Tensor {
    return conv1d(x, this.weight, { ...this.over, bias: this.bias });
  }
}

/** x [B, in, H, W] to [B, out, H', W']; see `conv2d`. */
export class Conv2d extends Module {
  /** [out, in / groups, height, width] */
  weight: Tensor;
  /** [out], or null. */
  bias: Tensor | null;
  private readonly over: Omit<Conv2dOptions, 'bias'>;

  constructor(
    /** Channels of x. */
    readonly inChannels: number,
    /** Channels of the result. */
    readonly outChannels: number,
    /** Height and width of the window. */
    readonly kernelSize: Pair,
    options: Conv2dLayerOptions = {},
  ) {
    super();
    checkOptions('Conv2d', options, CONV2D);
    const kernel = checkPair('Conv2d', 'kernelSize', kernelSize, 1);
    const { stride = 1, padding = 0, dilation = 1, groups = 1, ...rest } = options;
    this.over = { stride, padding, dilation, groups };
    ({ weight: this.weight, bias: this.bias } = drawn('Conv2d', [inChannels, outChannels], kernel, rest, groups));
  }

  /** x [B, in, H, W] to [B, out, H', W']. */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, { ...this.over, bias: this.bias });
  }
}
