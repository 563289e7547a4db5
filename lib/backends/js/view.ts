// Tensors as the typed arrays that JavaScript kernels work on.
import { FastWeightsError, type Tensor } from '../../core';

/** float32 or float64; kernels compute in double precision and round once, when they store. */
export type Floats = Float32Array | Float64Array;

/** The elements from the tensor's first one on. */
export function floats(t: Tensor): Floats {
  const data = t.storage.handle as Floats;
  return t.offset === 0 ? data : (data.subarray(t.offset) as Floats);
}

export function ints(t: Tensor): Int32Array {
  const data = t.storage.handle as Int32Array;
  return t.offset === 0 ? data : data.subarray(t.offset);
}

export function maybe(t: Tensor | null): Floats | null {
  return t && floats(t);
}

/** A new array of the same kind. */
export function like(x: Floats, length: number): Floats {
  return x instanceof Float32Array ? new Float32Array(length) : new Float64Array(length);
}

/** A strided operand [tokens, heads, width], seen from JavaScript. */
export interface Heads {
  data: Floats;
  token: number;
  head: number;
  count: number;
}

/** Reads [B, T, H, D], [B, T, H], and for one step [B, H, D], [B, H]; `step` tells the two apart. */
export function headsOf(t: Tensor, step = false): Heads {
  const [token, head] = step ? [0, 1] : [1, 2];
  return { data: floats(t), token: t.strides[token], head: t.strides[head], count: t.shape[head] };
}

export function unsupported(what: string): never {
  throw new FastWeightsError('UNSUPPORTED', what);
}
