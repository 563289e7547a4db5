// Functions of one variable and their slopes, right to a few units in the last place over the whole range: only e^-|x|
// is taken, so nothing overflows, and no small result is the difference of large ones.
#pragma once
#include "device.h"

#include <math.h>

namespace fw::cuda {

// x s, where s falls to 0 faster than x grows: 0 at x = -infinity.
FW_DEVICE float fading(float x, float s) { return s == 0 ? 0.0f : x * s; }

// 0 for subnormal numbers, in which states that decay would stay for ever: 0.9 times the smallest one is rounded to it.
FW_DEVICE float flushed(float x) { return fabsf(x) < 1.17549435e-38f ? 0.0f : x; }

// 1 / x for x from 1 to 2, to a unit in the last place: without the branch of a division for numbers that are none of
// these, which would keep neighbouring elements from being computed side by side.
FW_DEVICE float inverse(float x) {
  const float r = __fdividef(1.0f, x);
  return fmaf(r, fmaf(-x, r, 1.0f), r);
}

// What needs both has them for one inverse.
FW_DEVICE float sigmoid(float x) {
  const float e = expf(-fabsf(x)), r = inverse(1.0f + e);
  return x < 0 ? e * r : r;
}
FW_DEVICE float sigmoidSlope(float x) {
  const float e = expf(-fabsf(x)), r = inverse(1.0f + e);
  return e * r * r;
}
FW_DEVICE float tanhSlope(float x) { return 4.0f * sigmoidSlope(x + x); }
// ln(1 + e^x)
FW_DEVICE float softplus(float x) { return (x < 0 ? 0.0f : x) + log1pf(expf(-fabsf(x))); }

FW_DEVICE float silu(float x) { return fading(x, sigmoid(x)); }
FW_DEVICE float siluSlope(float x) { return fading(x, sigmoidSlope(x)) + sigmoid(x); }

// x times the distribution function of the normal distribution.
FW_DEVICE float normalBelow(float x) { return 0.5f * erfcf(-0.70710678f * x); }
FW_DEVICE float gelu(float x) { return fading(x, normalBelow(x)); }
FW_DEVICE float geluSlope(float x) { return fading(0.39894228f * x, expf(-0.5f * x * x)) + normalBelow(x); }

// x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which is x sigmoid of twice the argument.
constexpr float kGeluScale = 2 * 0.79788456f, kGeluCubic = 0.044715f;
FW_DEVICE float geluTanh(float x) { return fading(x, sigmoid(kGeluScale * (x + kGeluCubic * x * x * x))); }
FW_DEVICE float geluTanhSlope(float x) {
  const float u = kGeluScale * (x + kGeluCubic * x * x * x), slope = kGeluScale * (1.0f + 3 * kGeluCubic * x * x);
  return fading(x * slope, sigmoidSlope(u)) + sigmoid(u);
}

// Sine and cosine of an angle in quarter turns. What exceeds the nearest whole number, at most a half, is exact in
// double, so that large angles lose nothing.
struct Turn {
  float sine, cosine;
};
FW_DEVICE Turn turnOf(double quarters) {
  const double whole = rint(quarters);
  const float x = static_cast<float>((quarters - whole) * 1.5707963267948966), s = sinf(x), c = cosf(x);
  switch (static_cast<int64_t>(whole) & 3) {
    case 0: return {s, c};
    case 1: return {c, -s};
    case 2: return {-s, -c};
    default: return {-c, s};
  }
}

}  // namespace fw::cuda
