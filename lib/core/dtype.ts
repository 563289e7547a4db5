// Element types: their sizes and the typed arrays that carry them between JavaScript and a device.

/**
 * float32 is the default everywhere; float64 exists on the `js` device only; bfloat16 is computed in on graphics
 * cards and a storage format elsewhere; bool, a byte of 0 or 1, is what comparisons give.
 */
export type DType = 'float32' | 'bfloat16' | 'int32' | 'float64' | 'bool';

/** Position in this list is the code that kernels receive. */
export const DTYPES = ['float32', 'bfloat16', 'int32', 'float64', 'bool'] as const satisfies readonly DType[];

export type TypedArray = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;

/** What tensors read as: bfloat16 as Float32Array, bool as Uint8Array of 0 and 1. */
export type ReadArray = Float32Array | Float64Array | Int32Array | Uint8Array;

const BYTES: Record<DType, number> = { float32: 4, bfloat16: 2, int32: 4, float64: 8, bool: 1 };

export function bytesPerElement(dtype: DType): number {
  return BYTES[dtype];
}

export function dtypeCode(dtype: DType): number {
  return DTYPES.indexOf(dtype);
}

export function isFloat(dtype: DType): boolean {
  return dtype !== 'int32' && dtype !== 'bool';
}

/** A zeroed array in the storage format of a dtype (bfloat16: its upper 16 bits). */
export function newArray(dtype: DType, length: number): TypedArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(length);
    case 'bfloat16':
      return new Uint16Array(length);
    case 'int32':
      return new Int32Array(length);
    case 'float64':
      return new Float64Array(length);
    case 'bool':
      return new Uint8Array(length);
  }
}

/** Towards zero; what does not fit becomes the nearest that does, NaN 0: as kernels cast. */
export function toInt32(value: number): number {
  return Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, value)) | 0;
}

const floatBits = new Float32Array(1);
const wordBits = new Uint32Array(floatBits.buffer);

/** Rounds to nearest, ties to even; NaN stays NaN. */
export function toBfloat16(value: number): number {
  floatBits[0] = value;
  const word = wordBits[0];
  if ((word & 0x7fffffff) > 0x7f800000) return ((word >>> 16) | 0x40) & 0xffff;
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}

export function fromBfloat16(half: number): number {
  wordBits[0] = half << 16;
  return floatBits[0];
}

/** Storage format to what users read: bfloat16 to Float32Array, everything else is itself. */
export function readable(dtype: DType, data: TypedArray): ReadArray {
  if (dtype !== 'bfloat16') return data as ReadArray;
  const out = new Float32Array(data.length);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < data.length; i++) words[i] = data[i] << 16;
  return out;
}

/** Numbers to the storage format of a dtype. */
export function encode(dtype: DType, data: ArrayLike<number>): TypedArray {
  const out = newArray(dtype, data.length);
  if (dtype === 'bfloat16') for (let i = 0; i < out.length; i++) out[i] = toBfloat16(data[i]);
  else if (dtype === 'int32') for (let i = 0; i < out.length; i++) out[i] = toInt32(data[i]);
  else if (dtype === 'bool') for (let i = 0; i < out.length; i++) out[i] = Number(data[i] !== 0);
  else out.set(data);
  return out;
}
