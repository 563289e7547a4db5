// x^y on lanes, in double precision: a power that is a float comes out exactly, any other within 0.501 ulp. Polynomials
// are minimax fits.
#pragma once
#include "wide.h"

FW_NAMESPACE_BEGIN

// log2 x to 2^-44 for normal x > 0; -infinity at 0; infinity and NaN stay themselves. x = m 2^e with m in [sqrt(1/2),
// sqrt(2)), then the series of atanh in (m - 1) / (m + 1).
FW_INLINE Half wide_log2(Half x) {
  const HalfBits above = reinterpret_cast<HalfBits>(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  // A number below 2^52 as the lowest bits of a double: there is no conversion of 64 bits in AVX2.
  const HalfBits biased = (above >> 52) | 0x4330000000000000u;
  const Half e = reinterpret_cast<Half>(biased) - wide(4503599627370496.0 + 1023);
  const Half m = reinterpret_cast<Half>((above & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu);
  const Half f = (m - wide(1)) / (m + wide(1)), square = f * f;
  const Half square2 = square * square;
  const Half p0 = wide(0.96179669411344182) * square + wide(2.8853900817778499);
  const Half p1 = wide(0.41220925431877087) * square + wide(0.57707794233953635);
  const Half p2 = wide(0.28290055680066217) * square + wide(0.31990564466462557);
  const Half p = (p2 * square2 + p1) * square2 + p0;
  const Half y = x < wide(__builtin_inf()) ? f * p + e : x;
  return x == Half{} ? wide(-__builtin_inf()) : y;
}

// 2^x to 2^-34; 0 and infinity where |x| > 1000.
FW_INLINE Half wide_exp2(Half x) {
  const Half shift = wide(6755399441055744.0);  // 1.5 * 2^52: adding it rounds to the nearest whole number
  const Half shifted = x + shift, r = x - (shifted - shift);
  const Half r2 = r * r;
  const Half p0 = wide(0.69314718070453341) * r + wide(1);
  const Half p1 = wide(0.055504103659926224) * r + wide(0.24022651066561393);
  const Half p2 = wide(0.0013333935054386827) * r + wide(0.0096180381320240642);
  const Half p3 = wide(1.5196156858959288e-05) * r + wide(0.0001546675632633672);
  const Half p = (p3 * r2 + p2) * (r2 * r2) + (p1 * r2 + p0);
  const Half y = reinterpret_cast<Half>(reinterpret_cast<HalfBits>(p) + (reinterpret_cast<HalfBits>(shifted) << 52));
  const Half inside = x <= wide(1000) ? y : x + wide(__builtin_inf());
  return x < wide(-1000) ? Half{} : inside;
}

// Which exponents are whole numbers, and which odd: from 2^24 on all floats are even.
struct Parity {
  VecInt whole, odd;
};
FW_INLINE Parity parity_of(Vec y) {
  const Vec near = vclamp(y, -16777216.0f, 16777216.0f);
  const VecInt n = __builtin_convertvector(near, VecInt), whole = __builtin_convertvector(n, Vec) == near;
  return {whole, whole & ((n & 1) != 0)};
}

// Gives `power`, |x|^y or a multiple of it, what x^y has of the sign of x: NaN of negative numbers unless y is whole.
FW_INLINE Vec signed_power(Vec power, Vec x, Parity y) {
  const VecInt sign = reinterpret_cast<VecInt>(x) & y.odd & kSignBit;
  const VecInt undefined = (x < Vec{}) & (x > splat(-__builtin_inff())) & ~y.whole;
  return select(undefined, splat(__builtin_nanf("")), reinterpret_cast<Vec>(reinterpret_cast<VecInt>(power) ^ sign));
}

// An infinite exponent would make NaN of the logarithm of 1.
constexpr float kMostExponent = 1e18f;

// As IEEE 754 has it: 1^y and x^0 are 1 for all others, NaN too.
FW_INLINE Vec vpow(Vec x, Vec y) {
  const auto power = [](Half x, Half y) __attribute__((always_inline)) { return wide_exp2(y * wide_log2(x)); };
  const Vec size = widely(power, size_of(x), vclamp(y, -kMostExponent, kMostExponent));
  return select((y == Vec{}) | (x == splat(1.0f)), splat(1.0f), signed_power(size, x, parity_of(y)));
}

FW_NAMESPACE_END
