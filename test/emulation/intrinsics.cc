#include <emulation/intrinsics.h>
#include <string.h>

namespace {
template <class To, class From>
To same_bits(From x) noexcept {
  static_assert(sizeof(To) == sizeof(From), "");
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}

// A normal result, off by at most two units in its last place.
float about(double exact, float argument) noexcept {
  const auto y = static_cast<float>(exact);
  if (!isfinite(y) || y == 0) return y;
  if (fabsf(y) < 0x1p-126f) return copysignf(0, y);
  const uint32_t hash = same_bits<uint32_t>(argument) * 0x9E3779B1u >> 16;
  const float off = same_bits<float>(same_bits<uint32_t>(y) + hash % 5 - 2);
  return isfinite(off) && fabsf(off) >= 0x1p-126f ? off : y;
}
float flushed(float x) noexcept { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
}  // namespace

float __expf(float x) noexcept { return about(exp2(static_cast<double>(x * 1.44269504f)), x); }
float __exp10f(float x) noexcept { return about(exp2(static_cast<double>(x * 3.32192809f)), x); }
float __logf(float x) noexcept { return about(log(static_cast<double>(flushed(x))), x); }
float __log2f(float x) noexcept { return about(log2(static_cast<double>(flushed(x))), x); }
float __log10f(float x) noexcept { return about(log10(static_cast<double>(flushed(x))), x); }
float __powf(float x, float y) noexcept { return about(exp2(static_cast<double>(y * __log2f(x))), x); }
float __sinf(float x) noexcept { return about(sin(static_cast<double>(x)), x); }
float __cosf(float x) noexcept { return about(cos(static_cast<double>(x)), x); }
float __tanf(float x) noexcept { return about(tan(static_cast<double>(x)), x); }
float rsqrtf(float x) noexcept { return about(1 / sqrt(static_cast<double>(x)), x); }
double rsqrt(double x) noexcept { return 1 / sqrt(x); }
float __fdividef(float x, float y) noexcept { return about(static_cast<double>(x) / y, x); }
float __saturatef(float x) noexcept { return x != x ? 0 : fminf(fmaxf(x, 0), 1); }

float __fadd_rn(float x, float y) noexcept { return x + y; }
float __fsub_rn(float x, float y) noexcept { return x - y; }
float __fmul_rn(float x, float y) noexcept { return x * y; }
double __dadd_rn(double x, double y) noexcept { return x + y; }
double __dmul_rn(double x, double y) noexcept { return x * y; }

uint32_t __float_as_uint(float x) noexcept { return same_bits<uint32_t>(x); }
int32_t __float_as_int(float x) noexcept { return same_bits<int32_t>(x); }
float __uint_as_float(uint32_t x) noexcept { return same_bits<float>(x); }
float __int_as_float(int32_t x) noexcept { return same_bits<float>(x); }
int64_t __double_as_longlong(double x) noexcept { return same_bits<int64_t>(x); }
double __longlong_as_double(int64_t x) noexcept { return same_bits<double>(x); }
