// Elements of a file to elements of the library. Files are little-endian, and so are all machines that run this.
import { encode, readable, type DType, type TypedArray } from '../../core';
import { formatError } from '../failure';
import type { FileDType } from './header';

/** The library's dtype that holds a file's values without loss (64-bit and unsigned integers: if they fit). */
export function nativeDType(from: FileDType): DType {
  switch (from) {
    case 'F64':
      return 'float64';
    case 'F32':
    case 'F16':
      return 'float32';
    case 'BF16':
      return 'bfloat16';
    case 'BOOL':
      return 'bool';
    default:
      return 'int32';
  }
}

/** The file's name of a dtype. */
export function fileDType(dtype: DType): FileDType {
  return ({ float64: 'F64', float32: 'F32', bfloat16: 'BF16', int32: 'I32', bool: 'BOOL' } as const)[dtype];
}

/**
 * The elements in `bytes` in the storage format of `to`: any float to any float, integers to int32. Where nothing
 * changes the result is a view of `bytes`.
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
    case 'BOOL':
      return Uint8Array.from(new Uint8Array(bytes), (b) => (b === 0 ? 0 : 1));
  }
}

function cast(from: DType, source: TypedArray, to: DType): TypedArray {
  if (from === to) return source;
  const values = readable(from, source);
  return to === 'float32' && values instanceof Float32Array ? values : encode(to, values);
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
