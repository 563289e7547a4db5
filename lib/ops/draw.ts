// Random tensors, from the seeded generator: the same call draws the same numbers on every device.
import {
  argumentError,
  checkChoice,
  checkInteger,
  checkNumber,
  checkOptions,
  DTYPES,
  formatShape,
  isFloat,
  type MultinomialOptions,
  nextStream,
  type OptionNames,
  philox,
  type Shape,
  type Tensor,
  scoped,
} from '../core';
import { getBackend } from '../backends';
import { requireValues, checksValues } from './checks';
import { lt } from './compare';
import { empty, finish, optionsLike, TENSOR_OPTIONS, type TensorOptions } from './create';
import { affine, clamp, div, log, neg } from './elementwise';
import { checkFloat, computesInFloat32 } from './kernel';
import { argmax } from './extremes';
import { topk } from './sort';
import { to } from './cast';
import { contiguous, expand } from './view';

const draw = scoped(
  (where: string, shape: Shape, kind: 0 | 1, a: number, b: number, options: TensorOptions): Tensor => {
    const dtype = checkChoice(where, 'dtype', options.dtype ?? 'float32', DTYPES);
    if (!isFloat(dtype)) throw argumentError('DTYPE', where, 'dtype', 'a floating-point dtype', dtype);
    const drawn = dtype === 'bfloat16' ? 'float32' : dtype;
    const y = empty(where, shape, { device: options.device, dtype: drawn });
    getBackend(y.device).kernels.random({ y, n: y.size, kind, ...nextStream(), a, b });
    return finish(dtype === drawn ? y : y.to(dtype), options);
  },
);

/** Bounds of `rand`. */
export interface UniformOptions extends TensorOptions {
  /** 0 by default. */
  low?: number;
  /** 1 by default; not below `low`. */
  high?: number;
}

const UNIFORM: OptionNames<UniformOptions> = { ...TENSOR_OPTIONS, low: true, high: true };

/** Uniform in [low, high), from the seeded generator. */
export function rand(shape: Shape, options: UniformOptions = {}): Tensor {
  checkOptions('rand', options, UNIFORM);
  const low = checkNumber('rand', 'low', options.low ?? 0);
  const high = checkNumber('rand', 'high', options.high ?? 1);
  if (low > high) throw argumentError('INVALID_ARGUMENT', 'rand', 'high', `at least low, ${low}`, String(high));
  return draw('rand', shape, 0, low, high, options);
}

/** Moments of `randn`. */
export interface NormalOptions extends TensorOptions {
  /** 0 by default. */
  mean?: number;
  /** 1 by default; not negative. */
  std?: number;
}

const NORMAL: OptionNames<NormalOptions> = { ...TENSOR_OPTIONS, mean: true, std: true };

/** Normal, from the seeded generator. */
export function randn(shape: Shape, options: NormalOptions = {}): Tensor {
  checkOptions('randn', options, NORMAL);
  const mean = checkNumber('randn', 'mean', options.mean ?? 0);
  const std = checkNumber('randn', 'std', options.std ?? 1, 0);
  return draw('randn', shape, 1, mean, std, options);
}

/** Uniform in [low, high) in the shape of x, with its dtype and on its device unless others are given. */
export function randLike(x: Tensor, options: UniformOptions = {}): Tensor {
  const like = optionsLike('randLike', x, options, UNIFORM);
  return rand([...x.shape], like);
}

/** Normal in the shape of x; see `randLike`. */
export function randnLike(x: Tensor, options: NormalOptions = {}): Tensor {
  const like = optionsLike('randnLike', x, options, NORMAL);
  return randn([...x.shape], like);
}

/** Whole numbers from `low` (0) to `high` - 1, int32 unless another dtype is given: `randint(high, shape)` or `randint(low, high, shape)`. */
export function randint(high: number, shape: Shape, options?: TensorOptions): Tensor;
export function randint(low: number, high: number, shape: Shape, options?: TensorOptions): Tensor;
export function randint(...args: [number, Shape, TensorOptions?] | [number, number, Shape, TensorOptions?]): Tensor {
  const [low, high, shape, options = {}] =
    typeof args[1] === 'number'
      ? (args as [number, number, Shape, TensorOptions?])
      : ([0, ...args] as [number, number, Shape, TensorOptions?]);
  checkOptions('randint', options, TENSOR_OPTIONS);
  checkInteger('randint', 'low', low, -(2 ** 31), 2 ** 31 - 1);
  checkInteger('randint', 'high', high, low + 1, 2 ** 31);
  return wholeNumbers(shape, low, high, options);
}

const wholeNumbers = scoped((shape: Shape, low: number, high: number, options: TensorOptions): Tensor => {
  const y = empty('randint', shape, { device: options.device, dtype: 'int32' });
  getBackend(y.device).kernels.random({ y, n: y.size, kind: 2, ...nextStream(), a: low, b: high });
  return finish(to(y, checkChoice('randint', 'dtype', options.dtype ?? 'int32', DTYPES)), options);
});

/** The numbers 0 to n - 1 in random order, int32 unless another dtype is given. */
export function randperm(n: number, options: TensorOptions = {}): Tensor {
  checkOptions('randperm', options, TENSOR_OPTIONS);
  checkInteger('randperm', 'n', n, 0, 2 ** 31 - 1);
  return shuffled(n, options);
}

const shuffled = scoped((n: number, options: TensorOptions): Tensor => {
  const y = empty('randperm', [n], { device: options.device, dtype: 'int32' });
  const { seedLow, seedHigh, stream } = nextStream();
  const order = Int32Array.from({ length: n }, (_, i) => i);
  const words = new Uint32Array(4);
  // Fisher and Yates.
  for (let i = n - 1, drawn = 0; i > 0; i--, drawn++) {
    if (drawn % 4 === 0) philox(words, seedLow, seedHigh, drawn / 4, stream);
    const j = Math.floor((words[drawn % 4] * (i + 1)) / 2 ** 32);
    [order[i], order[j]] = [order[j], order[i]];
  }
  if (n > 0) y.storage.memory.write(y.storage.handle, 0, order);
  return finish(to(y, checkChoice('randperm', 'dtype', options.dtype ?? 'int32', DTYPES)), options);
});

/** 1 with the probability that stands in each element of x, from 0 to 1, else 0; in its shape and dtype, without a gradient. */
export const bernoulli = computesInFloat32((x: Tensor): Tensor => {
  checkFloat('bernoulli', 'x', x);
  if (readsAtOnce(x)) requireValues('bernoulli', 'x', x, 'from 0 to 1', (p) => p >= 0 && p <= 1);
  return to(lt(rand([...x.shape], { dtype: x.dtype, device: x.device }), x.detach()), x.dtype);
});

/**
 * Categories (int32 [..., numSamples]) drawn by the weights (not negative, of any sum) in the last dimension of x, each at
 * most once unless `replacement` is true. Without it there are no more samples than weights that are not 0.
 */
export const multinomial = scoped((x: Tensor, numSamples: number, options: MultinomialOptions = {}): Tensor => {
  checkFloat('multinomial', 'x', x);
  checkOptions('multinomial', options, MULTINOMIAL);
  if (x.ndim === 0) throw argumentError('SHAPE', 'multinomial', 'x', 'of at least one dimension', 'a scalar');
  const n = x.shape[x.ndim - 1];
  if (n === 0)
    throw argumentError('SHAPE', 'multinomial', 'x', 'with categories in its last dimension', formatShape(x.shape));
  checkInteger('multinomial', 'numSamples', numSamples, 1, options.replacement ? 2 ** 31 - 1 : n);
  const weights = to(x.detach(), x.dtype === 'bfloat16' ? 'float32' : x.dtype);
  if (readsAtOnce(x)) checkWeights(weights, options.replacement ? 1 : numSamples);
  if (!options.replacement) return contiguous(topk(race(weights), numSamples).indices);
  const shape = [...x.shape.slice(0, -1), numSamples, n];
  return argmax(race(expand(weights.unsqueeze(-2), shape)));
});

/** Whether values are looked at before they are drawn by: a card would have to be waited for, and checks only on demand. */
function readsAtOnce(x: Tensor): boolean {
  return x.device === 'cpu' || checksValues(x);
}

const MULTINOMIAL: OptionNames<MultinomialOptions> = { replacement: 'flag' };

/** Each weight over an exponential time: which is the largest, and the order of all, is drawn by the weights. */
function race(weights: Tensor): Tensor {
  const u = rand([...weights.shape], { dtype: weights.dtype, device: weights.device });
  // In the middles of the uniforms' steps, so that no time is 0 or infinite.
  const inside = clamp(affine(u, 1, 2 ** -25), 2 ** -25, 1 - 2 ** -24);
  return div(weights, neg(log(inside)));
}

function checkWeights(weights: Tensor, least: number): void {
  requireValues('multinomial', 'x', weights, 'finite and not negative', (w) => w >= 0 && w < Infinity);
  const n = weights.shape[weights.ndim - 1];
  const values = weights.dataSync();
  for (let row = 0; row < values.length; row += n) {
    let some = 0;
    for (let i = 0; i < n; i++) some += Number(values[row + i] > 0);
    if (some >= least) continue;
    const expected = `of at least ${least} weights above 0 in each row`;
    throw argumentError('INVALID_ARGUMENT', 'multinomial', 'x', expected, String(some));
  }
}
