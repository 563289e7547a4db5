// What every operator needs: output tensors, argument checks, and the way to a kernel.
import {
  argumentError,
  checkInteger,
  countElements,
  describe,
  FastWeightsError,
  formatShape,
  isFloat,
  overlapsItself,
  sameShape,
  Storage,
  Tensor,
  scoped,
  type DType,
  type Shape,
} from '../core';
import { gradEnabled } from '../autograd';
import { type Backend, getBackend, type KernelTable } from '../backends';

/** The kernels of the device that holds `t`. */
export function kernelsOf(t: Tensor): KernelTable {
  return getBackend(t.device).kernels;
}

/** A new tensor beside `t`, with whatever its memory held. */
export function emptyLike(t: Tensor, shape: Shape = t.shape, dtype: DType = t.dtype): Tensor {
  const y = emptyOn(getBackend(t.device), shape, dtype);
  if (shape === t.shape && y.size !== t.size) refuseChanged(t);
  return y;
}

/** Freezing every shape would cost each of them more than this. */
function refuseChanged(t: Tensor): never {
  throw argumentError('SHAPE', 'tensor', 'shape', `left as it was, of ${t.size} elements`, formatShape(t.shape));
}

export function emptyOn(backend: Backend, shape: Shape, dtype: DType): Tensor {
  return new Tensor(new Storage(backend, dtype, countElements('tensor', shape)), shape);
}

/** A new tensor of zeros beside `t`. */
export function zerosBeside(t: Tensor, shape: Shape = t.shape, dtype: DType = t.dtype): Tensor {
  const y = emptyLike(t, shape, dtype);
  fill(y, 0);
  return y;
}

export function fill(y: Tensor, value: number): void {
  kernelsOf(y).fill({ y, n: y.size, value, dtype: dtypeCodes[y.dtype] });
}

const dtypeCodes: Record<DType, number> = { float32: 0, bfloat16: 1, int32: 2, float64: 3, bool: 4 };

export { dtypeCodes };

/** Requires a live tensor. */
export function checkTensor(where: string, argument: string, t: unknown): asserts t is Tensor {
  if (!(t instanceof Tensor)) throw argumentError('INVALID_ARGUMENT', where, argument, 'a Tensor', describe(t));
  t.checkAlive(where);
}

/** Requires a live tensor with a floating-point dtype. */
export function checkFloat(where: string, argument: string, t: unknown): asserts t is Tensor {
  checkTensor(where, argument, t);
  if (!isFloat(t.dtype)) throw argumentError('DTYPE', where, argument, 'a floating-point tensor', t.dtype);
}

/** Requires a live tensor of numbers: of bool there is no arithmetic. */
export function checkNumeric(where: string, argument: string, t: unknown): asserts t is Tensor {
  checkTensor(where, argument, t);
  if (t.dtype === 'bool') throw argumentError('DTYPE', where, argument, 'a tensor of numbers', 'bool');
}

/** Requires a dtype. */
export function checkDType(where: string, argument: string, t: Tensor, dtype: DType): void {
  if (t.dtype !== dtype) throw argumentError('DTYPE', where, argument, dtype, t.dtype);
}

/** Requires the device of another argument. */
export function checkSameDevice(where: string, argument: string, t: Tensor, other: Tensor): void {
  if (t.device === other.device) return;
  throw argumentError('DEVICE', where, argument, `on '${other.device}'`, `'${t.device}'`);
}

/** Requires the dtype and the device of another argument. */
export function checkAlike(
  where: string,
  argument: string,
  t: Tensor,
  other: Tensor,
  otherName = 'the first argument',
): void {
  if (t.device !== other.device) {
    throw argumentError('DEVICE', where, argument, `on '${other.device}' like ${otherName}`, `'${t.device}'`);
  }
  if (t.dtype !== other.dtype) {
    throw argumentError('DTYPE', where, argument, `${other.dtype} like ${otherName}`, t.dtype);
  }
}

/** Like checkAlike, but float32 may stand beside bfloat16: for gates and states, which lose more when they are rounded. */
export function checkAlikeOrWider(where: string, argument: string, t: Tensor, other: Tensor, otherName?: string): void {
  if (t.dtype === 'float32' && other.dtype === 'bfloat16' && t.device === other.device) return;
  checkAlike(where, argument, t, other, otherName);
}

/** Requires an int32 tensor on the device of another argument. */
export function checkIndices(where: string, argument: string, t: unknown, other: Tensor): asserts t is Tensor {
  checkTensor(where, argument, t);
  checkDType(where, argument, t, 'int32');
  checkSameDevice(where, argument, t, other);
}

/** Requires a shape; `meaning` names its dimensions. */
export function checkShape(where: string, argument: string, t: Tensor, shape: Shape, meaning = ''): void {
  if (!sameShape(t.shape, shape)) {
    throw argumentError(
      'SHAPE',
      where,
      argument,
      formatShape(shape) + (meaning && ` (${meaning})`),
      formatShape(t.shape),
    );
  }
}

/** Requires of an object that it holds a tensor of its shape under every one of some names, and nothing else: `state.hidden`. */
export function checkShapesByName(
  where: string,
  argument: string,
  given: unknown,
  shapes: Readonly<Record<string, Shape>>,
): void {
  const spelled = (value: object): string => `{ ${Object.keys(value).sort().join(', ')} }`;
  const isRecord = typeof given === 'object' && given !== null && !(given instanceof Tensor) && !Array.isArray(given);
  const found = isRecord ? spelled(given) : describe(given);
  if (found !== spelled(shapes)) throw argumentError('INVALID_ARGUMENT', where, argument, spelled(shapes), found);
  for (const [name, shape] of Object.entries(shapes)) {
    const t: unknown = (given as Record<string, unknown>)[name];
    checkFloat(where, `${argument}.${name}`, t);
    checkShape(where, `${argument}.${name}`, t, shape);
  }
}

/** Requires of what is added to a result, where it is given, its shape, and x's dtype and device. */
export function checkResidual(where: string, residual: Tensor | null, x: Tensor, shape: Shape): void {
  if (residual === null) return;
  checkFloat(where, 'residual', residual);
  checkAlike(where, 'residual', residual, x, 'x');
  checkShape(where, 'residual', residual, shape, 'like the result');
}

/** Requires a tensor that may be written to: no element of it stands at two places. */
export function checkWritable(where: string, argument: string, t: Tensor): void {
  if (overlapsItself(t)) {
    throw argumentError('SHAPE', where, argument, 'without elements at two places', 'an expanded view');
  }
}

/** Requires a tensor for a result of this shape, beside `like`; it need not be contiguous. */
export function checkOut(where: string, out: unknown, shape: Shape, meaning: string, like: Tensor): void {
  checkTensor(where, 'out', out);
  checkShape(where, 'out', out, shape, meaning);
  checkAlike(where, 'out', out, like, 'q');
  checkWritable(where, 'out', out);
}

/** Requires a number; beside int32 a whole one in its range, beside bool true, false, 0 or 1. */
export function checkScalar(where: string, argument: string, value: unknown, dtype: DType): number {
  if (dtype === 'bool') {
    if (value === true || value === false || value === 0 || value === 1) return Number(value);
    throw argumentError('INVALID_ARGUMENT', where, argument, 'true or false', describe(value));
  }
  if (typeof value !== 'number') throw argumentError('INVALID_ARGUMENT', where, argument, 'a number', describe(value));
  return dtype === 'int32' ? checkInteger(where, argument, value, -(2 ** 31), 2 ** 31 - 1) : value;
}

/** Requires a state that a step may change in place: contiguous, of one shape, and recording off. */
export function checkState(where: string, state: unknown, shape: Shape, meaning: string): asserts state is Tensor {
  checkTensor(where, 'state', state);
  checkShape(where, 'state', state, shape, meaning);
  if (!state.isContiguous) throw argumentError('SHAPE', where, 'state', 'contiguous', 'a strided view');
  if (gradEnabled()) {
    throw new FastWeightsError('GRAPH', `${where}: steps change their state in place and run only inside noGrad`);
  }
}

/** Whether the kernels of its device cannot compute in this dtype, so that operands go through float32. */
export function needsFloat32(t: Tensor): boolean {
  return t.dtype === 'bfloat16' && !getBackend(t.device).computes.includes('bfloat16');
}

/** The dtype of what must not be rounded beside `t`: statistics, states, losses. float32, beside float64 float64. */
export function statisticsDtype(t: Tensor): DType {
  return t.dtype === 'bfloat16' ? 'float32' : t.dtype;
}

/** `t` itself, or in float32 when it is bfloat16. On the tape. */
export function toFloat32<T extends Tensor | null | undefined>(t: T): T {
  return (t?.dtype === 'bfloat16' ? t.to('float32') : t) as T;
}

type Arguments = readonly unknown[];

/**
 * Lets an operator take bfloat16 tensors on devices whose kernels compute in float32: tensor arguments (also those one
 * level down, in an options object) become float32, tensor results bfloat16 again, or only what `back` says. Both casts are
 * on the tape. What an operator makes on the way is freed. Where float32 stands beside bfloat16 the operator itself
 * refuses that, as it does on devices that compute in both.
 */
export function takesBfloat16<A extends Arguments, R>(
  operator: (...args: A) => R,
  back: (result: R) => R = backToBfloat16,
): (...args: A) => R {
  const rounds = (a: unknown): boolean => a instanceof Tensor && needsFloat32(a);
  const mixes = (a: unknown): boolean => a instanceof Tensor && a.dtype === 'float32';
  return scoped((...args: A) =>
    args.some(rounds) && !args.some(mixes) ? throughFloat32(operator, args, back) : operator(...args),
  );
}

/** The same on every device, for chains of operators between which nothing may be rounded. */
export function computesInFloat32<A extends Arguments, R>(
  operator: (...args: A) => R,
  back: (result: R) => R = backToBfloat16,
): (...args: A) => R {
  const rounds = (t: unknown): boolean => t instanceof Tensor && t.dtype === 'bfloat16';
  return scoped((...args: A) => (args.some(rounds) ? throughFloat32(operator, args, back) : operator(...args)));
}

function throughFloat32<A extends Arguments, R>(operator: (...args: A) => R, args: A, back: (result: R) => R): R {
  return back(operator(...(args.map((a) => mapTensors(a, toFloat32)) as unknown as A)));
}

function backToBfloat16<R>(result: R): R {
  return mapTensors(result, (t) => (t.dtype === 'float32' ? t.to('bfloat16') : t)) as R;
}

function mapTensors(value: unknown, f: (t: Tensor) => Tensor): unknown {
  if (value instanceof Tensor) return f(value);
  if (value === null || typeof value !== 'object' || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, v instanceof Tensor ? f(v) : v]));
}
