// Elements of a file to elements of the library. Files are little-endian, and so are all machines that run this.
import { argumentError, encode, isFloat, readable, type DType, type TypedArray } from '../../core';
import { formatError } from '../failure';
import { FLOAT8, fromFloat8 } from './float8';
import type { FileDType } from './header';

/** The library's dtype that holds a file's values without loss (64-bit and unsigned integers: if they fit). */
export function nativeDType(from: FileDType): DType {
  switch (from) {
    case 'F64':
      return 'float64';
    case 'F32':
    case 'F16':
    case 'F8_E4M3':
    case 'F8_E5M2':
      return 'float32';
    case 'BF16':
      return 'bfloat16';
    case 'BOOL':
      return 'bool';
    default:
      return 'int32';
  }
}

/** What floats may be stored as, whatever they are in memory. */
export const STORED_FLOATS = ['float32', 'bfloat16', 'float16'] as const;

/** A dtype of floats in a file. */
export type StoredFloat = (typeof STORED_FLOATS)[number];

/** The file's name of a dtype; floats are stored as another one where it is given. */
export function fileDType(dtype: DType, stored?: StoredFloat): FileDType {
  const names = {
    float64: 'F64',
    float32: 'F32',
    bfloat16: 'BF16',
    float16: 'F16',
    int32: 'I32',
    bool: 'BOOL',
  } as const;
  return names[stored !== undefined && isFloat(dtype) ? stored : dtype];
}

/** Elements in the storage format of `from` as bytes of a file; what is finite and beyond the range of F16 is refused. */
export function toFile(where: string, from: DType, data: TypedArray, to: FileDType): Uint8Array {
  const stored =
    to === fileDType(from)
      ? data
      : to === 'F16'
        ? toFloat16s(where, readable(from, data))
        : cast(from, data, nativeDType(to));
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}

/**
 * The elements in `bytes` in the storage format of `to`: any float to any float, integers to int32, bool to either. Where
 * nothing changes the result is a view of `bytes`.
 */
export function convert(where: string, from: FileDType, bytes: ArrayBuffer, to: DType): TypedArray {
  switch (from) {
    case 'F64':
      return cast('float64', new Float64Array(bytes), to);
    case 'F32':
      return cast('float32', new Float32Array(bytes), to);
    case 'F16':
      return cast('float32', fromFloat16(new Uint16Array(bytes)), to);
    case 'BF16':
      return cast('bfloat16', new Uint16Array(bytes), to);
    case 'F8_E4M3':
    case 'F8_E5M2':
      return cast('float32', fromFloat8(FLOAT8[from], new Uint8Array(bytes)), to);
    case 'I64':
      return wide(where, new BigInt64Array(bytes));
    case 'U64':
      return wide(where, new BigUint64Array(bytes));
    case 'I32':
      return new Int32Array(bytes);
    case 'U32':
      return unsigned(where, new Uint32Array(bytes));
    case 'I16':
      return Int32Array.from(new Int16Array(bytes));
    case 'U16':
      return Int32Array.from(new Uint16Array(bytes));
    case 'I8':
      return Int32Array.from(new Int8Array(bytes));
    case 'U8':
      return Int32Array.from(new Uint8Array(bytes));
    case 'BOOL': {
      const truths = new Uint8Array(bytes).map((b) => Number(b !== 0));
      return to === 'int32' ? Int32Array.from(truths) : truths;
    }
  }
}

function cast(from: DType, source: TypedArray, to: DType): TypedArray {
  if (from === to) return source;
  const values = readable(from, source);
  return to === 'float32' && values instanceof Float32Array ? values : encode(to, values);
}

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);

function toFloat16s(where: string, source: ArrayLike<number>): Uint16Array {
  const out = new Uint16Array(source.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = toFloat16(source[i]);
    if ((out[i] & 0x7fff) !== 0x7c00 || !Number.isFinite(source[i])) continue;
    throw argumentError(
      'INVALID_ARGUMENT',
      where,
      'a value',
      'within float16, at most 65504 in magnitude',
      String(source[i]),
    );
  }
  return out;
}

/** Rounds to nearest, ties to even, in one step; beyond the range infinity. */
function toFloat16(value: number): number {
  double[0] = value;
  const sign = (words[1] >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return sign | 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundEven(magnitude * 2 ** 24);
  const exponent = ((words[1] >>> 20) & 0x7ff) - 1023;
  // A fraction that rounds up to 2 carries into the exponent.
  return sign | (((exponent + 14) << 10) + roundEven(magnitude * 2 ** (10 - exponent)));
}

function roundEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

function fromFloat16(source: Uint16Array): Float32Array {
  const out = new Float32Array(source.length);
  for (let i = 0; i < out.length; i++) {
    const sign = source[i] & 0x8000 ? -1 : 1;
    const exponent = (source[i] >>> 10) & 31;
    const fraction = source[i] & 0x3ff;
    if (exponent === 31) out[i] = fraction === 0 ? sign * Infinity : NaN;
    else out[i] = exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return out;
}

function wide(where: string, source: BigInt64Array | BigUint64Array): Int32Array {
  const out = new Int32Array(source.length);
  for (let i = 0; i < out.length; i++) {
    out[i] = Number(source[i]);
    if (BigInt(out[i]) !== source[i]) throw outside(where, source[i]);
  }
  return out;
}

function unsigned(where: string, source: Uint32Array): Int32Array {
  const above = source.find((v) => v > 0x7fffffff);
  if (above !== undefined) throw outside(where, above);
  return new Int32Array(source.buffer);
}

function outside(where: string, value: number | bigint): Error {
  return formatError(`${where}: a value`, 'within int32', String(value));
}
