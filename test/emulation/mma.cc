#include "mma.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "control.h"

namespace emulation {

namespace {
constexpr int kRows = 16, kColumns = 8, kLanes = 32;
bool truncated = false;

// Columns innermost: the compiler makes vectors of them without changing the order of any sum.
template <int depth>
void add_in_order(const float (&a)[kRows][depth], const float (&b)[depth][kColumns], float (&c)[kRows][kColumns]) {
  for (int r = 0; r < kRows; r++) {
    for (int k = 0; k < depth; k++) {
      for (int j = 0; j < kColumns; j++) c[r][j] += a[r][k] * b[k][j];
    }
  }
}

float toward_zero(double x) {
  const auto nearest = static_cast<float>(x);
  return fabs(static_cast<double>(nearest)) > fabs(x) ? nextafterf(nearest, 0) : nearest;
}

// c + a[0] b[0] + ... + a[7] b[7], each term cut where the largest has its 24th bit.
float add_aligned(float c, const float* a, const float* b) {
  constexpr int kTerms = 8, kBits = 24;
  double terms[kTerms + 1] = {c}, largest = fabs(static_cast<double>(c)), plain = c;
  for (int k = 0; k < kTerms; k++) {
    terms[k + 1] = static_cast<double>(a[k]) * b[k * kColumns];
    largest = fmax(largest, fabs(terms[k + 1]));
    plain += terms[k + 1];
  }
  if (largest == 0 || !isfinite(plain)) return static_cast<float>(plain);
  const double unit = ldexp(1, ilogb(largest) + 1 - kBits);
  double sum = 0;
  for (const double term : terms) sum += trunc(term / unit);
  return toward_zero(sum * unit);
}

template <int depth>
void add_truncated(const float (&a)[kRows][depth], const float (&b)[depth][kColumns], float (&c)[kRows][kColumns]) {
  for (int r = 0; r < kRows; r++) {
    for (int j = 0; j < kColumns; j++) {
      for (int k = 0; k < depth; k += 8) c[r][j] = add_aligned(c[r][j], &a[r][k], &b[k][j]);
    }
  }
}
}  // namespace

void set_truncated_sums(bool value) { truncated = value; }

template <int depth>
void add_products(const float (&a)[kRows][depth], const float (&b)[depth][kColumns], float (&c)[kRows][kColumns]) {
  if (truncated) add_truncated(a, b, c);
  else add_in_order(a, b, c);
}
template void add_products<16>(const float (&)[16][16], const float (&)[16][8], float (&)[16][8]);

template <int depth>
void multiply_add(const float (&a)[kRows][depth], const float (&b)[depth][kColumns], void* const* out) {
  float c[kRows][kColumns];
  for (int i = 0; i < kLanes; i++) {
    const float* fragment = static_cast<const float*>(out[i]);
    memcpy(&c[i / 4][2 * (i % 4)], fragment, 2 * sizeof(float));
    memcpy(&c[i / 4 + 8][2 * (i % 4)], fragment + 2, 2 * sizeof(float));
  }
  add_products(a, b, c);
  for (int i = 0; i < kLanes; i++) {
    float* fragment = static_cast<float*>(out[i]);
    memcpy(fragment, &c[i / 4][2 * (i % 4)], 2 * sizeof(float));
    memcpy(fragment + 2, &c[i / 4 + 8][2 * (i % 4)], 2 * sizeof(float));
  }
}
template void multiply_add<8>(const float (&)[16][8], const float (&)[8][8], void* const*);
template void multiply_add<16>(const float (&)[16][16], const float (&)[16][8], void* const*);

}  // namespace emulation
