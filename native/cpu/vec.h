// A vector of floats as wide as the instruction set's registers, on the compiler's vector extensions: one source for
// AVX-512 (16 lanes), AVX2 (8), and SSE2, NEON or plain code (4).
#pragma once
#include "isa.h"
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

FW_NAMESPACE_BEGIN

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float VecUnaligned __attribute__((vector_size(kLanes * 4), aligned(4)));
typedef int32_t VecInt __attribute__((vector_size(kLanes * 4)));
typedef uint32_t VecBits __attribute__((vector_size(kLanes * 4)));  // for sums that wrap

FW_INLINE Vec load(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
FW_INLINE void store(float* p, Vec x) { *reinterpret_cast<VecUnaligned*>(p) = x; }
FW_INLINE Vec splat(float x) { return x - Vec{}; }
FW_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }  // contracted to one instruction
FW_INLINE Vec select(VecInt mask, Vec a, Vec b) {
  return reinterpret_cast<Vec>((reinterpret_cast<VecInt>(a) & mask) | (reinterpret_cast<VecInt>(b) & ~mask));
}
// a where it is larger, or smaller, else b, also where one is NaN. Of the choice compilers make two instructions.
#if defined(__AVX512F__)
FW_INLINE Vec vmax(Vec a, Vec b) { return Vec(_mm512_max_ps(__m512(a), __m512(b))); }
FW_INLINE Vec vmin(Vec a, Vec b) { return Vec(_mm512_min_ps(__m512(a), __m512(b))); }
#elif defined(__AVX2__)
FW_INLINE Vec vmax(Vec a, Vec b) { return Vec(_mm256_max_ps(__m256(a), __m256(b))); }
FW_INLINE Vec vmin(Vec a, Vec b) { return Vec(_mm256_min_ps(__m256(a), __m256(b))); }
#else
FW_INLINE Vec vmax(Vec a, Vec b) { return select(a > b, a, b); }
FW_INLINE Vec vmin(Vec a, Vec b) { return select(a < b, a, b); }
#endif
// x held above `low`, or within [low, high]; NaN stays NaN.
FW_INLINE Vec vabove(Vec x, float low) { return vmax(splat(low), x); }
FW_INLINE Vec vclamp(Vec x, float low, float high) { return vmin(splat(high), vabove(x, low)); }
constexpr int32_t kSignBit = int32_t(0x80000000);
FW_INLINE Vec size_of(Vec x) { return reinterpret_cast<Vec>(reinterpret_cast<VecInt>(x) & ~kSignBit); }
// |x| with the sign of `sign`.
FW_INLINE Vec with_sign(Vec x, Vec sign) {
  return reinterpret_cast<Vec>((reinterpret_cast<VecInt>(x) & ~kSignBit) | (reinterpret_cast<VecInt>(sign) & kSignBit));
}
// The first n < kLanes elements; the others are zero.
FW_INLINE Vec load_part(const float* p, int64_t n) {
  Vec x{};
  for (int64_t i = 0; i < n; i++) x[i] = p[i];
  return x;
}
FW_INLINE void store_part(float* p, Vec x, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = x[i];
}
// The first min(n, kLanes) elements, n > 0: one loop serves whole vectors and the last part, with the same bits.
FW_INLINE Vec load_first(const float* p, int64_t n) { return n >= kLanes ? load(p) : load_part(p, n); }
FW_INLINE void store_first(float* p, Vec x, int64_t n) {
  if (n >= kLanes)
    store(p, x);
  else
    store_part(p, x, n);
}

// The numbers of the lanes as constants.
template <int... I>
struct Lanes {};
template <int N, int... I>
struct EachLane : EachLane<N - 1, N - 1, I...> {};
template <int... I>
struct EachLane<0, I...> {
  typedef Lanes<I...> type;
};
typedef EachLane<kLanes>::type AllLanes;

// Each lane's partner at a distance of Step.
template <int Step, class V, int... I>
FW_INLINE V swapped(V x, Lanes<I...>) {
  return __builtin_shufflevector(x, x, (I ^ Step)...);
}
// All lanes by pairs, always in the same order.
template <int Step = kLanes / 2, class F>
FW_INLINE float fold_lanes(Vec x, const F& f) {
  if constexpr (Step > 0) return fold_lanes<Step / 2>(f(x, swapped<Step>(x, AllLanes())), f);
  return x[0];
}
FW_INLINE float sum(Vec x) {
  return fold_lanes(x, [](Vec a, Vec b) { return a + b; });
}

// e^(x + rest) = p 2^n to about 2 ulp, with n = round(x / ln 2) and a polynomial p of the remainder, in [0.7, 1.5). n
// stands in the lowest bits of `shifted`, too.
struct Exponential {
  Vec p, n, shifted, p_less_1;
};
template <class... Rest>
FW_INLINE Exponential vexp_parts(Vec x, Rest... rest) {
  const Vec shift = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest whole number
  const Vec shifted = fma(x, splat(1.44269504f), shift), n = shifted - shift;
  Vec r = x - n * splat(0.693359375f);
  r = r - n * splat(-2.12194440e-4f);
  ((r += rest), ...);
  Vec p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  return {fma(p * r, r, r + splat(1.0f)), n, shifted, fma(p * r, r, r)};
}

// Adding n to the exponent of p multiplies with 2^n, where that stays among the normal numbers.
FW_INLINE Vec vexp_scaled(const Exponential& e) {
  return reinterpret_cast<Vec>(reinterpret_cast<VecBits>(e.p) + (reinterpret_cast<VecBits>(e.shifted) << 23));
}

// e^x for x in [-87.3, 88.7], between which no n leaves the normal numbers.
FW_INLINE Vec vexp_bounded(Vec x) { return vexp_scaled(vexp_parts(x)); }

// e^x; 0 below kLowestExp, finite up to kHighestExp and beyond. vexp_bounded makes a number of most NaN, so what is not
// above the lowest takes its distance from there instead: 0, or NaN.
constexpr float kLowestExp = -87.33654f, kHighestExp = 88.72283f;
FW_INLINE Vec vexp(Vec x) {
  const Vec lowest = splat(kLowestExp), y = vexp_bounded(vclamp(x, kLowestExp, kHighestExp));
  return x >= lowest ? y : vabove(x, kLowestExp) - lowest;
}

// e^x down to the subnormal numbers, and infinity above kHighestExp.
FW_INLINE Vec vexp_full(Vec x) {
#if defined(__AVX512F__)
  const Exponential e = vexp_parts(vclamp(x, -110.0f, 100.0f));
  return reinterpret_cast<Vec>(_mm512_scalef_ps(reinterpret_cast<__m512>(e.p), reinterpret_cast<__m512>(e.n)));
#else
  // Below the normal numbers e^(x + 64) e^-64.
  const VecInt small = x < splat(kLowestExp);
  const Vec y = vexp(x + select(small, splat(64.0f), Vec{})) * select(small, splat(1.6038109e-28f), splat(1.0f));
  return select(x > splat(kHighestExp), splat(__builtin_inff()), y);
#endif
}

// ln x to about 1 ulp, also of subnormal numbers; -infinity at 0, NaN below. x = m 2^e with m in [sqrt(1/2), sqrt(2)),
// then a polynomial in m - 1.
FW_INLINE Vec vlog(Vec x) {
  const VecInt tiny = x < splat(1.17549435e-38f);
  const VecBits above = reinterpret_cast<VecBits>(select(tiny, x * splat(8388608.0f), x)) - 0x3f3504f3u;
  const VecInt bits = reinterpret_cast<VecInt>(above);
  const Vec e = __builtin_convertvector(bits >> 23, Vec) - select(tiny, splat(23.0f), Vec{});
  const Vec f = reinterpret_cast<Vec>((bits & 0x7fffff) + 0x3f3504f3) - splat(1.0f);
  const Vec square = f * f;
  Vec p = splat(7.0376836292e-2f);
  p = fma(p, f, splat(-1.1514610310e-1f));
  p = fma(p, f, splat(1.1676998740e-1f));
  p = fma(p, f, splat(-1.2420140846e-1f));
  p = fma(p, f, splat(1.4249322787e-1f));
  p = fma(p, f, splat(-1.6668057665e-1f));
  p = fma(p, f, splat(2.0000714765e-1f));
  p = fma(p, f, splat(-2.4999993993e-1f));
  p = fma(p, f, splat(3.3333331174e-1f));
  p = fma(e, splat(-2.12194440e-4f), p * f * square) - splat(0.5f) * square;
  Vec y = fma(e, splat(0.693359375f), f + p);
  y = select(x < splat(__builtin_inff()), y, x);  // infinity and NaN stay themselves
  y = select(x == Vec{}, splat(-__builtin_inff()), y);
  return select(x < Vec{}, splat(__builtin_nanf("")), y);
}

// ln(1 + x) for finite x >= 0: what 1 + x rounds away comes back as a correction.
FW_INLINE Vec vlog1p(Vec x) {
  const Vec u = splat(1.0f) + x;
  return vlog(u) + (x - (u - splat(1.0f))) / u;
}
// The same for every x; numbers so small are their own logarithms and powers.
constexpr float kLinear = 1e-10f;
FW_INLINE Vec vlog1p_full(Vec x) {
  const Vec y = select(x == splat(-1.0f), splat(-__builtin_inff()), vlog1p(x));
  return select((size_of(x) < splat(kLinear)) | (x == splat(__builtin_inff())), x, y);
}
// e^x - 1 to about 2 ulp: 2^n (p - 1) + (2^n - 1), halved until the end, since 2^128 is no float. Below -18 it is -1.
FW_INLINE Vec vexpm1(Vec x) {
  const Exponential e = vexp_parts(vclamp(x, -18.0f, 89.0f));
  const Vec half = reinterpret_cast<Vec>((reinterpret_cast<VecBits>(e.shifted) + 126u) << 23);  // 2^(n - 1)
  const Vec y = fma(e.p_less_1, half, half - splat(0.5f));
  return select(size_of(x) < splat(kLinear), x, y + y);
}

// 1 / x to about 1 ulp for x in [1, 2^127). Where the processor has an estimate of 14 bits, a Newton step on it takes a
// third of a division's time.
FW_INLINE Vec vreciprocal(Vec x) {
#if defined(__AVX512F__)
  const Vec y = reinterpret_cast<Vec>(_mm512_rcp14_ps(reinterpret_cast<__m512>(x)));
  return fma(y, fma(-x, y, splat(1.0f)), y);
#else
  return splat(1.0f) / x;
#endif
}

// 1 / (1 + e^-x), whose exponential stops growing at -kHighestExp; the functions that use it end in 0 below.
FW_INLINE Vec vsigmoid_above(Vec x) { return vreciprocal(splat(1.0f) + vexp(-x)); }
FW_INLINE Vec vsigmoid(Vec x) {
  const Vec y = vsigmoid_above(x);
  return x < splat(-kHighestExp) ? Vec{} : y;
}
// The same, and ln(1 + e^x), where both tails keep their relative precision: only e^-|x| is taken.
FW_INLINE Vec sigmoid_of(Vec x) {
  const Vec e = vexp_full(-size_of(x));
  return select(x < Vec{}, e, splat(1.0f)) / (splat(1.0f) + e);
}
FW_INLINE Vec softplus_of(Vec x) { return select(x < Vec{}, Vec{}, x) + vlog1p(vexp_full(-size_of(x))); }
FW_INLINE Vec vsilu(Vec x) {
  const Vec y = x * vsigmoid_above(x);
  return x < splat(-kHighestExp) ? Vec{} : y;
}
// Its derivative; s = vsigmoid(x). Beyond bounds where it is 0 or 1, x is held at them: no infinity meets a 0.
FW_INLINE Vec vsilu_slope(Vec x, Vec s) { return s * fma(vclamp(x, -104.0f, 104.0f), splat(1.0f) - s, splat(1.0f)); }

// Near 0 a polynomial keeps the relative precision that 1 - 2 / (e^2|x| + 1) would lose.
FW_INLINE Vec vtanh(Vec x) {
  const Vec size = size_of(x), square = x * x;
  Vec p = splat(-5.70498872745e-3f);
  p = fma(p, square, splat(2.06390887954e-2f));
  p = fma(p, square, splat(-5.37397155531e-2f));
  p = fma(p, square, splat(1.33314422036e-1f));
  p = fma(p, square, splat(-3.33332819422e-1f));
  const Vec near = fma(p * square, size, size);
  const Vec far = splat(1.0f) - splat(2.0f) / (vexp(size + size) + splat(1.0f));
  return with_sign(select(size < splat(0.625f), near, far), x);
}

FW_NAMESPACE_END
