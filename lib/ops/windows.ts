// Convolution and pooling: the elements under each place of a window side by side, then a product or a reduction.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkOptions,
  describe,
  formatShape,
  type OptionNames,
  type Tensor,
} from '../core';
import { full, tensor } from './create';
import { gather, indexSelect } from './indexing';
import { checkAlike, checkFloat, checkShape, takesBfloat16, zerosBeside } from './kernel';
import { matmul } from './matmul';
import { cat } from './join';

/** One number for height and width, or both. */
export type Pair = number | readonly [height: number, width: number];

/** Options of `conv2d`. */
export interface Conv2dOptions {
  /** [out] */
  bias?: Tensor | null;
  /** Steps between windows, 1 by default. */
  stride?: Pair;
  /** Zeros on each side, 0 by default; 'same' keeps the size at stride 1, with one more on the right or below. */
  padding?: Pair | 'same' | 'valid';
  /** Steps inside a window, 1 by default. */
  dilation?: Pair;
  /** Parts of the channels that are convolved apart, 1 by default. */
  groups?: number;
}

const CONV: OptionNames<Conv2dOptions> = { bias: true, stride: true, padding: true, dilation: true, groups: true };

/** Options of `conv1d`; see `Conv2dOptions`. */
export interface Conv1dOptions {
  /** [out] */
  bias?: Tensor | null;
  /** Steps between windows, 1 by default. */
  stride?: number;
  /** Zeros on each side, 0 by default, or 'same'. */
  padding?: number | 'same' | 'valid';
  /** Steps inside a window, 1 by default. */
  dilation?: number;
  /** Parts of the channels that are convolved apart, 1 by default. */
  groups?: number;
}

/** Options of poolings. */
export interface PoolOptions {
  /** Steps between windows, by default as large as they are. */
  stride?: Pair;
  /** On each side, at most half of the window; 0 by default. What is there is never the largest. */
  padding?: Pair;
}

const POOL: OptionNames<PoolOptions> = { stride: true, padding: true };

/** Options of `avgPool2d`. */
export interface AvgPoolOptions extends PoolOptions {
  /** Whether the zeros outside count in a mean, true by default. */
  countIncludePad?: boolean;
}

const AVG: OptionNames<AvgPoolOptions> = { ...POOL, countIncludePad: 'flag' };

type Two = readonly [number, number];

/** Requires a whole number, or two of them. */
export function checkPair(where: string, argument: string, value: unknown, min: number): Two {
  if (!Array.isArray(value)) {
    const n = checkInteger(where, argument, value, min);
    return [n, n];
  }
  if (value.length !== 2)
    throw argumentError('INVALID_ARGUMENT', where, argument, 'one or two numbers', describe(value));
  return [checkInteger(where, argument, value[0], min), checkInteger(where, argument, value[1], min)];
}

/** Where windows of a padded image stand. */
interface Windows {
  kernel: Two;
  stride: Two;
  dilation: Two;
  /** Padding above and below, left and right. */
  before: Two;
  after: Two;
}

/** How many windows fit in each direction. */
function placesOf(where: string, x: Tensor, { kernel, stride, dilation, before, after }: Windows): Two {
  const [height, width] = [0, 1].map((i) => {
    const size = x.shape[2 + i] + before[i] + after[i];
    const extent = dilation[i] * (kernel[i] - 1) + 1;
    if (size < extent) {
      const expected = `[B, C, H, W], with padding at least ${extent} ${i === 0 ? 'high' : 'wide'}`;
      throw argumentError('SHAPE', where, 'x', expected, formatShape(x.shape));
    }
    return Math.floor((size - extent) / stride[i]) + 1;
  });
  return [height, width];
}

/** `value` around an image [B, C, H, W]. */
function padded(x: Tensor, { before, after }: Windows, value: number): Tensor {
  return [3, 2].reduce((y, d) => {
    const side = (width: number): Tensor[] => {
      const shape = y.shape.map((size, i) => (i === d ? width : size));
      return width === 0 ? [] : [full(shape, value, { dtype: y.dtype, device: y.device })];
    };
    const parts = [...side(before[d - 2]), y, ...side(after[d - 2])];
    return parts.length === 1 ? y : cat(parts, d);
  }, x);
}

/** [B, C, H, W] to [B, C, kernel height * kernel width, places]: what stands under each place of the window. */
function unfolded(x: Tensor, windows: Windows, places: Two, padding = 0): Tensor {
  const { kernel, stride, dilation } = windows;
  const image = padded(x, windows, padding);
  const [B, C, H, W] = image.shape;
  const index = new Int32Array(kernel[0] * kernel[1] * places[0] * places[1]);
  let n = 0;
  for (let i = 0; i < kernel[0]; i++) {
    for (let j = 0; j < kernel[1]; j++) {
      for (let y = 0; y < places[0]; y++) {
        const row = (y * stride[0] + i * dilation[0]) * W + j * dilation[1];
        for (let z = 0; z < places[1]; z++) index[n++] = row + z * stride[1];
      }
    }
  }
  const at = tensor(index, { dtype: 'int32', device: x.device });
  const columns = indexSelect(image.reshape(B * C, H * W), 1, at);
  return columns.reshape(B, C, kernel[0] * kernel[1], places[0] * places[1]);
}

function checkImage(where: string, x: Tensor): void {
  checkFloat(where, 'x', x);
  if (x.ndim !== 4) throw argumentError('SHAPE', where, 'x', '[B, C, H, W]', formatShape(x.shape));
}

/**
 * The convolution (correlation) of images x [B, C, H, W] with weight [out, C / groups, h, w]: [B, out, H', W'] with
 * H' = floor((H + 2 padding - dilation (h - 1) - 1) / stride) + 1. PyTorch's.
 */
export const conv2d = takesBfloat16((x: Tensor, weight: Tensor, options: Conv2dOptions = {}): Tensor => {
  const where = 'conv2d';
  checkOptions(where, options, CONV);
  checkImage(where, x);
  checkFloat(where, 'weight', weight);
  checkAlike(where, 'weight', weight, x, 'x');
  const { bias = null, padding = 0 } = options;
  const groups = checkInteger(where, 'groups', options.groups ?? 1, 1);
  const [B, C] = x.shape;
  const [out, inside, ...size] = weight.shape;
  if (size.length !== 2 || inside * groups !== C || out % groups !== 0 || size.includes(0)) {
    const expected = `[a multiple of ${groups}, ${C / groups}, h, w] for x ${formatShape(x.shape)}`;
    throw argumentError('SHAPE', where, 'weight', expected, formatShape(weight.shape));
  }
  const kernel = [size[0], size[1]] as const;
  const stride = checkPair(where, 'stride', options.stride ?? 1, 1);
  const dilation = checkPair(where, 'dilation', options.dilation ?? 1, 1);
  const windows = { kernel, stride, dilation, ...paddingOf(where, padding, kernel, dilation, stride) };
  const places = placesOf(where, x, windows);
  const count = places[0] * places[1];
  const columns = unfolded(x, windows, places).reshape(B, groups, inside * kernel[0] * kernel[1], count);
  const rows = weight.reshape(groups, out / groups, inside * kernel[0] * kernel[1]);
  const y = matmul(rows, columns).reshape(B, out, places[0], places[1]);
  if (!bias) return y;
  checkFloat(where, 'bias', bias);
  checkAlike(where, 'bias', bias, x, 'x');
  checkShape(where, 'bias', bias, [out], 'output channels');
  return y.add(bias.reshape(out, 1, 1));
});

function paddingOf(
  where: string,
  padding: unknown,
  kernel: Two,
  dilation: Two,
  stride: Two,
): Pick<Windows, 'before' | 'after'> {
  if (typeof padding !== 'string') {
    const both = checkPair(where, 'padding', padding, 0);
    return { before: both, after: both };
  }
  if (checkChoice(where, 'padding', padding, ['same', 'valid']) === 'valid') return { before: [0, 0], after: [0, 0] };
  if (stride[0] !== 1 || stride[1] !== 1) {
    throw argumentError('INVALID_ARGUMENT', where, 'padding', 'a number where the stride is not 1', "'same'");
  }
  const total = [dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)];
  const before = [Math.floor(total[0] / 2), Math.floor(total[1] / 2)] as const;
  return { before, after: [total[0] - before[0], total[1] - before[1]] };
}

/** The same over time: x [B, C, T] with weight [out, C / groups, width]: [B, out, T']. */
export const conv1d = takesBfloat16((x: Tensor, weight: Tensor, options: Conv1dOptions = {}): Tensor => {
  const where = 'conv1d';
  checkOptions<object>(where, options, CONV);
  checkFloat(where, 'x', x);
  checkFloat(where, 'weight', weight);
  if (x.ndim !== 3) throw argumentError('SHAPE', where, 'x', '[B, C, T]', formatShape(x.shape));
  if (weight.ndim !== 3)
    throw argumentError('SHAPE', where, 'weight', '[out, C / groups, width]', formatShape(weight.shape));
  const { bias, stride = 1, padding = 0, dilation = 1, groups } = options;
  const along = (argument: string, n: number, min: number, across: number): Two => [
    across,
    checkInteger(where, argument, n, min),
  ];
  const y = conv2d(x.unsqueeze(2), weight.unsqueeze(2), {
    bias,
    groups,
    stride: along('stride', stride, 1, 1),
    dilation: along('dilation', dilation, 1, 1),
    padding: typeof padding === 'string' ? padding : along('padding', padding, 0, 0),
  });
  return y.squeeze(2);
});

function poolWindows(where: string, x: Tensor, size: Pair, options: PoolOptions): { windows: Windows; places: Two } {
  checkImage(where, x);
  const kernel = checkPair(where, 'kernelSize', size, 1);
  const stride = checkPair(where, 'stride', options.stride ?? size, 1);
  const padding = checkPair(where, 'padding', options.padding ?? 0, 0);
  if (padding.some((p, i) => 2 * p > kernel[i])) {
    throw argumentError('INVALID_ARGUMENT', where, 'padding', `at most half of ${describe(kernel)}`, describe(padding));
  }
  const windows: Windows = { kernel, stride, dilation: [1, 1], before: padding, after: padding };
  return { windows, places: placesOf(where, x, windows) };
}

/** The largest element under each window of images [B, C, H, W], of equal ones the first, which gets the gradient. */
export const maxPool2d = takesBfloat16((x: Tensor, kernelSize: Pair, options: PoolOptions = {}): Tensor => {
  checkOptions('maxPool2d', options, POOL);
  const { windows, places } = poolWindows('maxPool2d', x, kernelSize, options);
  const columns = unfolded(x, windows, places, -Infinity);
  const largest = columns.detach().argmax(2).unsqueeze(2);
  return gather(columns, 2, largest).reshape([...x.shape.slice(0, 2), ...places]);
});

/** The mean under each window of images [B, C, H, W]. */
export const avgPool2d = takesBfloat16((x: Tensor, kernelSize: Pair, options: AvgPoolOptions = {}): Tensor => {
  checkOptions('avgPool2d', options, AVG);
  const { windows, places } = poolWindows('avgPool2d', x, kernelSize, options);
  const shape = [...x.shape.slice(0, 2), ...places];
  const sums = unfolded(x, windows, places).sum(2);
  if (options.countIncludePad ?? true) return sums.div(windows.kernel[0] * windows.kernel[1]).reshape(shape);
  const inside = zerosBeside(x, [1, 1, x.shape[2], x.shape[3]]).add(1);
  return sums.div(unfolded(inside, windows, places).sum(2)).reshape(shape);
});

/** The mean of each channel, [B, C, H, W] to [B, C, 1, 1]; of PyTorch's output sizes only 1. */
export const adaptiveAvgPool2d = takesBfloat16((x: Tensor, outputSize: 1 = 1): Tensor => {
  checkImage('adaptiveAvgPool2d', x);
  if (outputSize !== 1)
    throw argumentError('UNSUPPORTED', 'adaptiveAvgPool2d', 'outputSize', '1', describe(outputSize));
  return x.mean([2, 3], true);
});
