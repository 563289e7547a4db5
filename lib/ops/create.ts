// Making tensors: from data, filled, counted, drawn.
import {
  argumentError,
  checkChoice,
  checkNumber,
  checkOptions,
  checkSizes,
  describe,
  type Device,
  type DType,
  DTYPES,
  encode,
  FastWeightsError,
  formatShape,
  MAX_RANK,
  type NestedNumbers,
  nextStream,
  type OptionNames,
  type Shape,
  sizeOf,
  type Tensor,
  scoped,
} from '../core';
import { type Backend, defaultDevice, getBackend } from '../backends';
import { checksEnabled } from './checks';
import { checkScalar, emptyOn, fill } from './kernel';

/** Where and how a new tensor lives. dtype float32 and the default device unless given. */
export interface TensorOptions {
  dtype?: DType;
  device?: Device;
  requiresGrad?: boolean;
}

export const TENSOR_OPTIONS: OptionNames<TensorOptions> = { dtype: true, device: true, requiresGrad: 'flag' };

/** Requires options that say where and how a tensor lives, and nothing else. */
export function checkTensorOptions(where: string, options: TensorOptions): void {
  checkOptions(where, options, TENSOR_OPTIONS);
}

function backendFor(options: TensorOptions): Backend {
  // With the checks on, the places where tensors are made are recorded from the first one on.
  checksEnabled();
  return getBackend(options.device ?? defaultDevice());
}

function finish(t: Tensor, options: TensorOptions): Tensor {
  if (options.requiresGrad) t.requiresGrad = true;
  return t;
}

function empty(where: string, shape: Shape, options: TensorOptions): Tensor {
  const dtype = checkChoice(where, 'dtype', options.dtype ?? 'float32', DTYPES);
  return emptyOn(backendFor(options), checkSizes(where, 'shape', shape), dtype);
}

const DATA_OPTIONS: OptionNames<TensorOptions & { shape?: Shape }> = { ...TENSOR_OPTIONS, shape: true };

/**
 * A tensor from numbers: a number, nested lists, or a typed array with `shape` (default: one dimension). The dtype is
 * float32 whatever the array, unless given.
 */
export function tensor(
  data: NestedNumbers | ArrayLike<number>,
  options: TensorOptions & { shape?: Shape } = {},
): Tensor {
  checkOptions('tensor', options, DATA_OPTIONS);
  const dtype = checkChoice('tensor', 'dtype', options.dtype ?? 'float32', DTYPES);
  const { values, shape: own } = flatten(data);
  const shape = options.shape ? checkSizes('tensor', 'shape', options.shape) : own;
  if (sizeOf(shape) !== values.length) {
    throw argumentError('SHAPE', 'tensor', 'shape', `of ${values.length} elements like the data`, formatShape(shape));
  }
  const backend = backendFor(options);
  const t = emptyOn(backend, shape, dtype);
  const direct =
    dtype !== 'bfloat16' && ArrayBuffer.isView(values) && values.constructor === encode(dtype, []).constructor;
  backend.write(t.storage.handle, 0, direct ? (values as Float32Array) : encode(dtype, values));
  return finish(t, options);
}

function flatten(data: NestedNumbers | ArrayLike<number>): { values: ArrayLike<number>; shape: number[] } {
  const refuse = (expected: string, found: unknown): never => {
    throw argumentError('INVALID_ARGUMENT', 'tensor', 'data', expected, describe(found));
  };
  if (typeof data === 'number') return { values: [data], shape: [] };
  if (ArrayBuffer.isView(data)) {
    const values = data as Float32Array;
    if (values.length === undefined || typeof values[0] === 'bigint') refuse('an array of numbers', data);
    return { values, shape: [values.length] };
  }
  if (!Array.isArray(data)) refuse('numbers, nested lists or a typed array', data);
  const shape: number[] = [];
  for (let level: unknown = data; Array.isArray(level); level = level[0]) {
    if (shape.push(level.length) > MAX_RANK) refuse(`lists nested at most ${MAX_RANK} deep`, data);
  }
  let values: unknown[] = [data];
  for (const length of shape) {
    const items: unknown[] = [];
    for (const list of values) {
      if (!Array.isArray(list) || list.length !== length) {
        throw new FastWeightsError('SHAPE', `tensor: data must be a full grid of shape ${formatShape(shape)}`, {
          argument: 'data',
          expected: formatShape(shape),
          found: 'lists of different lengths',
        });
      }
      for (const item of list) items.push(item);
    }
    values = items;
  }
  for (const value of values) if (typeof value !== 'number') refuse('numbers', value);
  return { values: values as number[], shape };
}

export function full(shape: Shape, value: number, options: TensorOptions = {}): Tensor {
  return filled('full', shape, value, options);
}

function filled(where: string, shape: Shape, value: number, options: TensorOptions): Tensor {
  checkTensorOptions(where, options);
  checkScalar(where, 'value', value, options.dtype ?? 'float32');
  const t = empty(where, shape, options);
  fill(t, value);
  return finish(t, options);
}

export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return filled('zeros', shape, 0, options);
}

export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return filled('ones', shape, 1, options);
}

/** start, start + step, ... below end; `arange(n)` counts from 0. */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
  checkTensorOptions('arange', options);
  const [from, to] = end === undefined ? [0, start] : [start, end];
  checkNumber('arange', 'start', from);
  checkNumber('arange', 'end', to);
  if (checkNumber('arange', 'step', step) === 0)
    throw argumentError('INVALID_ARGUMENT', 'arange', 'step', 'not 0', '0');
  const t = empty('arange', [Math.max(0, Math.ceil((to - from) / step))], options);
  const values = new Float64Array(t.size);
  for (let i = 0; i < values.length; i++) values[i] = from + i * step;
  getBackend(t.device).write(t.storage.handle, 0, encode(t.dtype, values));
  return finish(t, options);
}

const draw = scoped(
  (where: string, shape: Shape, kind: 0 | 1, a: number, b: number, options: TensorOptions): Tensor => {
    const dtype = options.dtype ?? 'float32';
    if (dtype === 'int32') throw argumentError('DTYPE', where, 'dtype', 'a floating-point dtype', 'int32');
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
