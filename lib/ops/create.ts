// Making tensors: from data, filled, counted.
import {
  argumentError,
  checkChoice,
  checkInteger,
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
  type OptionNames,
  type Shape,
  sizeOf,
  type Tensor,
} from '../core';
import { type Backend, defaultDevice, getBackend } from '../backends';
import { checksEnabled } from './checks';
import { checkScalar, checkTensor, emptyOn, fill } from './kernel';

/** Where and how a new tensor lives. dtype float32 and the default device unless given. */
export interface TensorOptions {
  /**
   * float32 by default, bool where the data are true or false, int32 of `randint` and `randperm`, that of x in `zerosLike`
   * and its kin. float64 exists on `js` only.
   */
  dtype?: DType;
  /** The default device unless given, that of x in `zerosLike` and its kin; a DEVICE error where it is not available. */
  device?: Device;
  /** Whether `backward` brings a gradient to it; false by default, a DTYPE error for int32 and bool. */
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

export function finish(t: Tensor, options: TensorOptions): Tensor {
  if (options.requiresGrad) t.requiresGrad = true;
  return t;
}

/** A new tensor with whatever its memory held. */
export function empty(where: string, shape: Shape, options: TensorOptions): Tensor {
  const dtype = checkChoice(where, 'dtype', options.dtype ?? 'float32', DTYPES);
  return emptyOn(backendFor(options), checkSizes(where, 'shape', shape), dtype);
}

const DATA_OPTIONS: OptionNames<TensorOptions & { shape?: Shape }> = { ...TENSOR_OPTIONS, shape: true };

/** What `tensor` takes: numbers, true and false, or nested lists of them. */
export type NestedData = number | boolean | readonly NestedData[];

/**
 * A tensor from numbers: a number, nested lists, or a typed array with `shape` (default: one dimension). The dtype is
 * float32 whatever the array, unless given, and bool where all of the data are true or false; beside numbers those are 1
 * and 0.
 */
export function tensor(data: NestedData | ArrayLike<number>, options: TensorOptions & { shape?: Shape } = {}): Tensor {
  checkOptions('tensor', options, DATA_OPTIONS);
  const { values, shape: own, truths } = flatten(data);
  const dtype = checkChoice('tensor', 'dtype', options.dtype ?? (truths ? 'bool' : 'float32'), DTYPES);
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

/** Data in row-major order; whether all of it, and some, is true or false. */
interface Flat {
  values: ArrayLike<number>;
  shape: number[];
  truths: boolean;
}

function flatten(data: NestedData | ArrayLike<number>): Flat {
  const refuse = (expected: string, found: unknown): never => {
    throw argumentError('INVALID_ARGUMENT', 'tensor', 'data', expected, describe(found));
  };
  if (typeof data === 'number') return { values: [data], shape: [], truths: false };
  if (typeof data === 'boolean') return { values: [Number(data)], shape: [], truths: true };
  if (ArrayBuffer.isView(data)) {
    const values = data as Float32Array;
    if (values.length === undefined || typeof values[0] === 'bigint') refuse('an array of numbers', data);
    return { values, shape: [values.length], truths: false };
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
  let truths = 0;
  for (const value of values) {
    if (typeof value === 'boolean') truths++;
    else if (typeof value !== 'number') refuse('numbers', value);
  }
  if (truths === 0) return { values: values as number[], shape, truths: false };
  return { values: values.map(Number), shape, truths: truths === values.length };
}

/** A tensor of one value. */
export function full(shape: Shape, value: number | boolean, options: TensorOptions = {}): Tensor {
  return filled('full', shape, value, options);
}

function filled(where: string, shape: Shape, value: number | boolean, options: TensorOptions): Tensor {
  checkTensorOptions(where, options);
  const dtype = options.dtype ?? (typeof value === 'boolean' ? 'bool' : 'float32');
  const number = checkScalar(where, 'value', value, dtype);
  const t = empty(where, shape, { ...options, dtype });
  fill(t, number);
  return finish(t, options);
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  return filled('zeros', shape, 0, options);
}

/** A tensor of ones. */
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

/** `steps` numbers from `start` to `end`, both among them, at equal distances. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  checkTensorOptions('linspace', options);
  checkNumber('linspace', 'start', start);
  checkNumber('linspace', 'end', end);
  checkInteger('linspace', 'steps', steps);
  const t = empty('linspace', [steps], options);
  const step = steps > 1 ? (end - start) / (steps - 1) : 0;
  // From the nearer end, so that both are exact.
  const at = (i: number): number => (i < steps / 2 ? start + i * step : end - (steps - 1 - i) * step);
  const values = Float64Array.from({ length: steps }, (_, i) => (steps === 1 ? start : at(i)));
  getBackend(t.device).write(t.storage.handle, 0, encode(t.dtype, values));
  return finish(t, options);
}

/** The unit matrix [n, m], m = n by default: 1 on the diagonal, else 0. */
export function eye(n: number, m: number | TensorOptions = n, options: TensorOptions = {}): Tensor {
  const [columns, rest] = typeof m === 'number' ? [m, options] : [n, m];
  checkTensorOptions('eye', rest);
  checkInteger('eye', 'n', n);
  checkInteger('eye', 'm', columns);
  const t = empty('eye', [n, columns], rest);
  const values = new Uint8Array(t.size);
  for (let i = 0; i < Math.min(n, columns); i++) values[i * columns + i] = 1;
  getBackend(t.device).write(t.storage.handle, 0, encode(t.dtype, values));
  return finish(t, rest);
}

/** Options of a tensor like another: where and how that one lives unless they say it. */
export function optionsLike<O extends TensorOptions>(where: string, x: Tensor, options: O, known: OptionNames<O>): O {
  checkTensor(where, 'x', x);
  checkOptions(where, options, known);
  return { ...options, dtype: options.dtype ?? x.dtype, device: options.device ?? x.device };
}

/** Zeros in the shape of x, with its dtype and on its device unless others are given. */
export function zerosLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const like = optionsLike('zerosLike', x, options, TENSOR_OPTIONS);
  return filled('zerosLike', x.shape, 0, like);
}

/** Ones in the shape of x; see `zerosLike`. */
export function onesLike(x: Tensor, options: TensorOptions = {}): Tensor {
  const like = optionsLike('onesLike', x, options, TENSOR_OPTIONS);
  return filled('onesLike', x.shape, 1, like);
}

/** One value in the shape of x; see `zerosLike`. */
export function fullLike(x: Tensor, value: number | boolean, options: TensorOptions = {}): Tensor {
  const like = optionsLike('fullLike', x, options, TENSOR_OPTIONS);
  return filled('fullLike', x.shape, value, like);
}
