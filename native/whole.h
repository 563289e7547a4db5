// Division with rounding down, and whole numbers of 32 bits, which wrap: the same on every device, and nothing traps.
// Static, because the sources of a CPU must share no function (see cpu/isa.h).
#pragma once
#include <math.h>

#include "kernels.h"

namespace fw {

static FW_ANYWHERE inline int32_t wrappedSum(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
static FW_ANYWHERE inline int32_t wrappedDifference(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}
static FW_ANYWHERE inline int32_t wrappedProduct(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
}

// What is left of a division, of the sign of b.
static FW_ANYWHERE inline int32_t floorRemainder(int32_t a, int32_t b) {
  if (b == 0 || b == -1) return 0;
  const int32_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
static FW_ANYWHERE inline float floorRemainder(float a, float b) {
  const float rest = fmodf(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// The largest whole number not above a / b; of int32 0 where b is 0.
static FW_ANYWHERE inline int32_t floorQuotient(int32_t a, int32_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrappedDifference(0, a);
  const int32_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}
// By what fmod leaves exactly, so that no quotient just below a whole number is rounded up to it.
static FW_ANYWHERE inline float floorQuotient(float x, float y) {
  const double a = x, b = y;
  if (b == 0) return static_cast<float>(a / b);
  const double rest = fmod(a, b);
  const double quotient = (a - rest) / b - (rest != 0 && (rest < 0) != (b < 0) ? 1 : 0);
  if (quotient == 0) return static_cast<float>(a / b * 0);
  const double whole = floor(quotient);
  return static_cast<float>(quotient - whole > 0.5 ? whole + 1 : whole);
}

// base^exponent; of a negative exponent what is left of 1 / base^-exponent, and 0 of base 0.
static FW_ANYWHERE inline int32_t wholePower(int32_t base, int32_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  uint32_t power = 1, square = static_cast<uint32_t>(base);
  for (int32_t left = exponent; left > 0; left >>= 1, square *= square) {
    if (left & 1) power *= square;
  }
  return static_cast<int32_t>(power);
}

// Towards zero; what does not fit becomes the nearest that does, NaN 0.
static FW_ANYWHERE inline int32_t saturated(double x) {
  if (x != x) return 0;
  if (x >= 2147483647.0) return INT32_MAX;
  return x <= -2147483648.0 ? INT32_MIN : static_cast<int32_t>(x);
}

}  // namespace fw
