// Making tensors: from data, filled, counted, drawn.
import {
  argumentError,
  checkNumber,
  checkSizes,
  describe,
  type Device,
  type DType,
  DTYPES,
  checkChoice,
  encode,
  FastWeightsError,
  formatShape,
  MAX_RANK,
  nextStream,
  sizeOf,
  type NestedNumbers,
  type Shape,
  type Tensor,
} from '../core';
import { type Backend, defaultDevice, getBackend } from '../backends';
import { checkScalar, emptyOn, fill } from './kernel';

/** Where and how a new tensor lives. dtype float32 and the default device unless given. */
export interface TensorOptions {
  dtype?: DType;
  device?: Device;
  requiresGrad?: boolean;
}

function backendFor(options: TensorOptions): Backend {
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

/**
 * A tensor from numbers: a number, nested lists, or a typed array with `shape` (default: one dimension). The dtype is
 * float32 whatever the array, unless given.
 */
export function tensor(
  data: NestedNumbers | ArrayLike<number>,
  options: TensorOptions & { shape?: Shape } = {},
): Tensor {
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
  checkScalar('full', 'value', value, options.dtype ?? 'float32');
  const t = empty('full', shape, options);
  fill(t, value);
  return finish(t, options);
}

export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 0, options);
}

export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  return full(shape, 1, options);
}

/** start, start + step, ... below end; `arange(n)` counts from 0. */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
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

function draw(where: string, shape: Shape, kind: 0 | 1, a: number, b: number, options: TensorOptions): Tensor {
  const dtype = options.dtype ?? 'float32';
  if (dtype === 'int32') throw argumentError('DTYPE', where, 'dtype', 'a floating-point dtype', 'int32');
  const drawn = dtype === 'bfloat16' ? 'float32' : dtype;
  const y = empty(where, shape, { ...options, dtype: drawn });
  getBackend(y.device).kernels.random({ y, n: y.size, kind, ...nextStream(), a, b });
  return finish(dtype === drawn ? y : y.to(dtype), options);
}

/** Uniform in [low, high), from the seeded generator. */
export function rand(shape: Shape, options: TensorOptions & { low?: number; high?: number } = {}): Tensor {
  return draw('rand', shape, 0, options.low ?? 0, options.high ?? 1, options);
}

/** Normal, from the seeded generator. */
export function randn(shape: Shape, options: TensorOptions & { mean?: number; std?: number } = {}): Tensor {
  return draw('randn', shape, 1, options.mean ?? 0, options.std ?? 1, options);
}
