// 8-bit floats (Micikevicius et al. 2022, "FP8 formats for deep learning"): every bit pattern by its value.

/** The 256 values of a format with so many bits of exponent and of fraction; `bias` is taken from the exponent. */
function values(
  exponentBits: number,
  bias: number,
  special: (exponent: number, fraction: number) => number | null,
): Float32Array {
  const fractionBits = 7 - exponentBits;
  return Float32Array.from({ length: 256 }, (_, bits) => {
    const sign = bits & 0x80 ? -1 : 1;
    const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
    const fraction = bits & (2 ** fractionBits - 1);
    const found = special(exponent, fraction);
    if (found !== null) return sign * found;
    const significand = exponent === 0 ? fraction : 2 ** fractionBits + fraction;
    return sign * significand * 2 ** (Math.max(1, exponent) - bias - fractionBits);
  });
}

/** E4M3 has no infinity: only all ones is NaN, so that 448 is the largest. E5M2 is laid out as float16 is. */
export const FLOAT8 = {
  F8_E4M3: values(4, 7, (exponent, fraction) => (exponent === 15 && fraction === 7 ? NaN : null)),
  F8_E5M2: values(5, 15, (exponent, fraction) => (exponent < 31 ? null : fraction === 0 ? Infinity : NaN)),
} as const;

export function fromFloat8(table: Float32Array, source: Uint8Array): Float32Array {
  const out = new Float32Array(source.length);
  for (let i = 0; i < out.length; i++) out[i] = table[source[i]];
  return out;
}
