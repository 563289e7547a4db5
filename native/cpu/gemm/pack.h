// Copies b into panels, the order in which the tiles of a product read it.
#pragma once
#include "matrix.h"

FW_NAMESPACE_BEGIN

// Quarters of four lanes, rearranged. shuffle_within: every quarter takes I0 to I3 of the same quarters of a (0 to 3)
// and b (4 to 7).
#if defined(__AVX512F__)
#define FW_QUARTERS(Q) Q(0), Q(1), Q(2), Q(3)
#elif defined(__AVX2__)
#define FW_QUARTERS(Q) Q(0), Q(1)
#else
#define FW_QUARTERS(Q) Q(0)
#endif
#define FW_PICK(i, quarter) ((i) < 4 ? (i) + 4 * (quarter) : (i)-4 + kLanes + 4 * (quarter))
#define FW_PICKS(quarter) FW_PICK(I0, quarter), FW_PICK(I1, quarter), FW_PICK(I2, quarter), FW_PICK(I3, quarter)
template <int I0, int I1, int I2, int I3>
FW_INLINE Vec shuffle_within(Vec a, Vec b) {
  return __builtin_shufflevector(a, b, FW_QUARTERS(FW_PICKS));
}
#undef FW_PICKS
#undef FW_PICK
#undef FW_QUARTERS

// Transposes the quarters of kLanes / 4 vectors: quarter j of x[i] goes to quarter i of y[j].
#if defined(__AVX512F__)
#define FW_QUARTER(q) 4 * (q), 4 * (q) + 1, 4 * (q) + 2, 4 * (q) + 3
#define FW_SHUFFLE(a, b, q0, q1, q2, q3) \
  __builtin_shufflevector(a, b, FW_QUARTER(q0), FW_QUARTER(q1), FW_QUARTER(q2), FW_QUARTER(q3))
FW_INLINE void transpose_quarters(const Vec x[4], Vec y[4]) {
  const Vec even01 = FW_SHUFFLE(x[0], x[1], 0, 2, 4, 6), odd01 = FW_SHUFFLE(x[0], x[1], 1, 3, 5, 7);
  const Vec even23 = FW_SHUFFLE(x[2], x[3], 0, 2, 4, 6), odd23 = FW_SHUFFLE(x[2], x[3], 1, 3, 5, 7);
  y[0] = FW_SHUFFLE(even01, even23, 0, 2, 4, 6);
  y[1] = FW_SHUFFLE(odd01, odd23, 0, 2, 4, 6);
  y[2] = FW_SHUFFLE(even01, even23, 1, 3, 5, 7);
  y[3] = FW_SHUFFLE(odd01, odd23, 1, 3, 5, 7);
}
#undef FW_SHUFFLE
#undef FW_QUARTER
#elif defined(__AVX2__)
FW_INLINE void transpose_quarters(const Vec x[2], Vec y[2]) {
  y[0] = __builtin_shufflevector(x[0], x[1], 0, 1, 2, 3, 8, 9, 10, 11);
  y[1] = __builtin_shufflevector(x[0], x[1], 4, 5, 6, 7, 12, 13, 14, 15);
}
#else
FW_INLINE void transpose_quarters(const Vec x[1], Vec y[1]) { y[0] = x[0]; }
#endif

// Transposes the square block at p into registers: columns[j][i] = p[i * stride + j]. It reads whole vectors once, as
// rows a power of two apart would push each other out of the first cache.
FW_INLINE void transpose_block(const float* p, int64_t stride, Vec columns[kLanes]) {
  constexpr int kQuarters = kLanes / 4;
  Vec t[4][kQuarters];
#pragma GCC unroll 4
  for (int q = 0; q < kQuarters; q++) {
    const float* row = p + 4 * q * stride;
    const Vec r0 = load(row), r1 = load(row + stride), r2 = load(row + 2 * stride), r3 = load(row + 3 * stride);
    const Vec low01 = shuffle_within<0, 4, 1, 5>(r0, r1), high01 = shuffle_within<2, 6, 3, 7>(r0, r1);
    const Vec low23 = shuffle_within<0, 4, 1, 5>(r2, r3), high23 = shuffle_within<2, 6, 3, 7>(r2, r3);
    t[0][q] = shuffle_within<0, 1, 4, 5>(low01, low23);
    t[1][q] = shuffle_within<2, 3, 6, 7>(low01, low23);
    t[2][q] = shuffle_within<0, 1, 4, 5>(high01, high23);
    t[3][q] = shuffle_within<2, 3, 6, 7>(high01, high23);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    Vec y[kQuarters];
    transpose_quarters(t[c], y);
#pragma GCC unroll 4
    for (int q = 0; q < kQuarters; q++) columns[4 * q + c] = y[q];
  }
}

// panel[p, j] = b[p * row + j * col] for p < k, j < n; rows of the panel are `width` floats, zeros beyond n.
static void pack_panel(const float* b, int64_t row, int64_t col, int64_t k, int64_t n, int64_t width, float* panel) {
  if (col == 1 && n == kPanel) {
    for (int64_t p = 0; p < k; p++) {
      const float* from = b + p * row;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) {
        __builtin_prefetch(from + 8 * row + v * kLanes);
        store(panel + p * kPanel + v * kLanes, load(from + v * kLanes));
      }
    }
    return;
  }
  for (int64_t j = 0; j < width; j += kLanes) {
    const float* from = b + j * col;
    float* to = panel + j;
    const int64_t lanes = n - j < kLanes ? n - j : kLanes;
    int64_t p = 0;
    if (col == 1 && lanes == kLanes) {
      for (; p < k; p++) store(to + p * width, load(from + p * row));
    } else if (col == 1) {
      for (; p < k; p++) store(to + p * width, load_part(from + p * row, lanes));
    } else if (row == 1 && lanes == kLanes) {
      for (; p + kLanes <= k; p += kLanes) {
        Vec columns[kLanes];
        transpose_block(from + p, col, columns);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; i++) store(to + (p + i) * width, columns[i]);
      }
    }
    for (; p < k; p++) {
      for (int64_t i = 0; i < lanes; i++) to[p * width + i] = from[p * row + i * col];
      for (int64_t i = lanes; i < kLanes; i++) to[p * width + i] = 0;
    }
  }
}

FW_NAMESPACE_END
