// The error function, the standard normal distribution and the unit that weighs by it (exact gelu), on lanes. The
// polynomials are minimax fits to the functions named beside them.
#pragma once
#include "vec.h"

FW_NAMESPACE_BEGIN

// e^(-a u^2) for finite u >= 0 and a power of two a, to about 1 ulp; 0 below the normal numbers. The square is taken in
// two parts, since rounding it would cost a u^2 ulp: twelve leading bits of u, whose square is exact, and what is left.
FW_INLINE Vec vgaussian(Vec u, float a) {
  const Vec lead = reinterpret_cast<Vec>(reinterpret_cast<VecInt>(u) & ~0xfff);
  const Vec most = splat(-a) * lead * lead, rest = splat(-a) * (u - lead) * (u + lead);
  // A little above kLowestExp, because the sum is rounded; NaN stays NaN.
  return most + rest >= splat(-87.336f) ? vexp_scaled(vexp_parts(most, rest)) : splat(0) * u;
}

// M(u) = e^(u^2 / 2) P(X > u) for 0 <= u <= 15, to about 3 ulp: (u + 2.5) M(u) is a polynomial in u / (u + 2.5), which
// loses nothing near 0.
FW_INLINE Vec vmills(Vec u) {
  const Vec r = vreciprocal(u + splat(2.5f)), q = u * r;
  Vec p = splat(-0.0788474008f);
  p = fma(p, q, splat(0.27629599f));
  p = fma(p, q, splat(-0.308242142f));
  p = fma(p, q, splat(0.133931041f));
  p = fma(p, q, splat(-0.147889242f));
  p = fma(p, q, splat(0.0555472672f));
  p = fma(p, q, splat(0.291937113f));
  p = fma(p, q, splat(0.169602394f));
  p = fma(p, q, splat(-1.24339211f));
  p = fma(p, q, splat(1.25f));
  return p * r;
}

// x P(X < x), to 5 ulp and 0.7 on average: 0 below -13.2, and from 6 on x.
constexpr float kGeluBound = 15.0f;
FW_INLINE Vec vgelu(Vec x) {
  const Vec near = vclamp(x, -kGeluBound, kGeluBound), u = size_of(near);
  const Vec lost = near * vmills(u) * vgaussian(u, 0.5f);
  return x < Vec{} ? lost : x - lost;
}
// P(X < x) + x times the density.
FW_INLINE Vec vgelu_slope(Vec x) {
  const Vec u = size_of(vclamp(x, -kGeluBound, kGeluBound));
  const Vec rise = vgaussian(u, 0.5f) * fma(u, splat(0.39894228f), -vmills(u));
  return x < Vec{} ? -rise : splat(1.0f) + rise;
}

// erf(x) to about 1 ulp: x times a polynomial in x^2 near 0, 1 - e^(a polynomial, which is ln erfc) beyond.
FW_INLINE Vec verf(Vec x) {
  const Vec size = size_of(x), square = x * x;
  Vec p = splat(8.382390486e-5f);
  p = fma(p, square, splat(-8.145597540e-4f));
  p = fma(p, square, splat(5.201286085e-3f));
  p = fma(p, square, splat(-2.685950011e-2f));
  p = fma(p, square, splat(1.128369733e-1f));
  p = fma(p, square, splat(-3.761263385e-1f));
  p = fma(p, square, splat(1.283791671e-1f));
  const Vec near = fma(p, x, x);
  const Vec u = splat(4.0f) < size ? splat(4.0f) : size;
  Vec f = splat(-2.109496892e-5f);
  f = fma(f, u, splat(4.344617274e-4f));
  f = fma(f, u, splat(-4.171058961e-3f));
  f = fma(f, u, splat(2.511941728e-2f));
  f = fma(f, u, splat(-1.082800747e-1f));
  f = fma(f, u, splat(-6.333469190e-1f));
  f = fma(f, u, splat(-1.129514925f));
  f = fma(f, u, splat(1.746832735e-4f));
  return select(size < splat(0.92f), near, with_sign(splat(1.0f) - vexp(f), x));
}
// 2 / sqrt(pi) e^(-x^2)
FW_INLINE Vec verf_slope(Vec x) { return splat(1.12837917f) * vgaussian(vclamp(size_of(x), 0, 10), 1); }

FW_NAMESPACE_END
