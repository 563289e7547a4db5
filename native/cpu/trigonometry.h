// sin, cos and atan2 on lanes. The polynomials are minimax fits.
#pragma once
#include <math.h>

#include "lanes.h"
#include "wide.h"

FW_NAMESPACE_BEGIN

// x = quarter pi / 2 + rest with |rest| <= pi / 4, or little more; for |x| up to kTurns.
constexpr float kTurns = 131072;
struct Angle {
  Vec rest;
  VecInt quarter;
};
FW_INLINE Angle angle_of(Vec x) {
  const Vec shift = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest whole number
  const Vec shifted = fma(x, splat(0.636619772f), shift), turns = shifted - shift;
  // pi / 2 in two parts: the products with the first, of 33 bits, are exact in double.
  const auto rest = [](Half x, Half n) __attribute__((always_inline)) {
    return (x - n * wide(1.57079632673412561417)) - n * wide(6.07710050650619224932e-11);
  };
  return {widely(rest, x, turns), reinterpret_cast<VecInt>(shifted)};
}

// sin(rest + quarter pi / 2) to about 1 ulp.
FW_INLINE Vec sine_of(Vec rest, VecInt quarter) {
  const Vec square = rest * rest;
  Vec s = splat(2.7151978e-6f);
  s = fma(s, square, splat(-1.983899506e-4f));
  s = fma(s, square, splat(8.333328285e-3f));
  s = fma(s, square, splat(-1.666666663e-1f));
  s = fma(s * square, rest, rest);
  Vec c = splat(-2.717813258e-7f);
  c = fma(c, square, splat(2.479911139e-5f));
  c = fma(c, square, splat(-1.388888212e-3f));
  c = fma(c, square, splat(4.166666660e-2f));
  c = fma(c * square, square, fma(square, splat(-0.5f), splat(1.0f)));
  const Vec y = select((quarter & 1) == 0, s, c);
  return reinterpret_cast<Vec>(reinterpret_cast<VecInt>(y) ^ ((quarter & 2) << 30));
}

// The lanes that are not near, by the function of libm: angles of many turns, infinities and NaN.
template <float (*f)(float)>
__attribute__((noinline, cold)) static Vec far_lanes(Vec x, Vec y, VecInt near) {
  for (int i = 0; i < kLanes; i++)
    if (!near[i]) y[i] = f(x[i]);
  return y;
}

FW_INLINE Vec vsin(Vec x) {
  const VecInt near = size_of(x) <= splat(kTurns);
  const Angle a = angle_of(x);
  const Vec y = select(x == Vec{}, x, sine_of(a.rest, a.quarter));  // the sign of -0
  return __builtin_expect(all(near), 1) ? y : far_lanes<sinf>(x, y, near);
}
FW_INLINE Vec vcos(Vec x) {
  const VecInt near = size_of(x) <= splat(kTurns);
  const Angle a = angle_of(x);
  const Vec y = sine_of(a.rest, a.quarter + 1);
  return __builtin_expect(all(near), 1) ? y : far_lanes<cosf>(x, y, near);
}

// The angle of the point (x, y) in (-pi, pi], zeros and infinities with their signs, to about 2 ulp: the arc tangent of
// the shorter side over the longer one, reflected.
FW_INLINE Vec vatan2(Vec y, Vec x) {
  const Vec rise = size_of(y), run = size_of(x);
  const VecInt steep = rise > run;
  const Vec longer = select(steep, rise, run), shorter = select(steep, run, rise);
  Vec q = shorter / longer;
  q = select(longer == Vec{}, longer, select(shorter == splat(__builtin_inff()), splat(1.0f), q));
  const Vec square = q * q;
  Vec p = splat(-1.793621761e-3f);
  p = fma(p, square, splat(1.091460605e-2f));
  p = fma(p, square, splat(-3.117784653e-2f));
  p = fma(p, square, splat(5.795759439e-2f));
  p = fma(p, square, splat(-8.403450384e-2f));
  p = fma(p, square, splat(1.095218580e-1f));
  p = fma(p, square, splat(-1.426424168e-1f));
  p = fma(p, square, splat(1.999854828e-1f));
  p = fma(p, square, splat(-3.333329909e-1f));
  const Vec arc = fma(p * square, q, q);
  // pi / 2 and pi, each with what its float lacks or has too much.
  Vec angle = select(steep, splat(1.57079637f) - (arc + splat(4.37113883e-8f)), arc);
  const VecInt back = reinterpret_cast<VecInt>(x) < 0;
  angle = select(back, splat(3.14159274f) - (angle + splat(8.74227766e-8f)), angle);
  angle = select((x != x) | (y != y), x + y, angle);
  return reinterpret_cast<Vec>(reinterpret_cast<VecInt>(angle) ^ (reinterpret_cast<VecInt>(y) & kSignBit));
}

FW_NAMESPACE_END
