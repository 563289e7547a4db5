// Copies the operands of a matrix product into the order in which the tiles of gemm_product.h read them.
#pragma once
#include <string.h>

#include "vec.h"

FW_NAMESPACE_BEGIN

// Columns of 4x4 blocks: within each quarter of four lanes, indices 0 to 3 pick from a and 4 to 7 from b.
template <int I0, int I1, int I2, int I3>
FW_INLINE Vec shuffle_quads(Vec a, Vec b) {
#define FW_PICK(i, quad) ((i) < 4 ? (i) + 4 * (quad) : (i)-4 + kLanes + 4 * (quad))
#define FW_QUAD(quad) FW_PICK(I0, quad), FW_PICK(I1, quad), FW_PICK(I2, quad), FW_PICK(I3, quad)
#if defined(__AVX512F__)
  return __builtin_shufflevector(a, b, FW_QUAD(0), FW_QUAD(1), FW_QUAD(2), FW_QUAD(3));
#elif defined(__AVX2__)
  return __builtin_shufflevector(a, b, FW_QUAD(0), FW_QUAD(1));
#else
  return __builtin_shufflevector(a, b, FW_QUAD(0));
#endif
#undef FW_QUAD
#undef FW_PICK
}

typedef float Quad __attribute__((vector_size(16), aligned(4)));

// Four neighbouring floats of every fourth row from p, one row per quarter of the vector.
FW_INLINE Vec load_quads(const float* p, int64_t stride) {
  const Quad q0 = *reinterpret_cast<const Quad*>(p);
#if defined(__AVX2__) || defined(__AVX512F__)
  const Quad q1 = *reinterpret_cast<const Quad*>(p + 4 * stride);
  const auto low = __builtin_shufflevector(q0, q1, 0, 1, 2, 3, 4, 5, 6, 7);
#if defined(__AVX512F__)
  const Quad q2 = *reinterpret_cast<const Quad*>(p + 8 * stride);
  const Quad q3 = *reinterpret_cast<const Quad*>(p + 12 * stride);
  const auto high = __builtin_shufflevector(q2, q3, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  return low;
#endif
#else
  (void)stride;
  return q0;
#endif
}

// Transposes the block [kLanes, 4] at p: columns[j][i] = p[i * stride + j].
FW_INLINE void transpose_quads(const float* p, int64_t stride, Vec columns[4]) {
  const Vec r0 = load_quads(p, stride), r1 = load_quads(p + stride, stride);
  const Vec r2 = load_quads(p + 2 * stride, stride), r3 = load_quads(p + 3 * stride, stride);
  const Vec low01 = shuffle_quads<0, 4, 1, 5>(r0, r1), high01 = shuffle_quads<2, 6, 3, 7>(r0, r1);
  const Vec low23 = shuffle_quads<0, 4, 1, 5>(r2, r3), high23 = shuffle_quads<2, 6, 3, 7>(r2, r3);
  columns[0] = shuffle_quads<0, 1, 4, 5>(low01, low23);
  columns[1] = shuffle_quads<2, 3, 6, 7>(low01, low23);
  columns[2] = shuffle_quads<0, 1, 4, 5>(high01, high23);
  columns[3] = shuffle_quads<2, 3, 6, 7>(high01, high23);
}

// panel[p, j] = b[p * row + j * col] for p < k, j < n; rows of the panel are `width` floats, zeros beyond n.
static void pack_panel(const float* b, int64_t row, int64_t col, int64_t k, int64_t n, int64_t width, float* panel) {
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
      for (; p + 4 <= k; p += 4) {
        Vec columns[4];
        transpose_quads(from + p, col, columns);
        for (int i = 0; i < 4; i++) store(to + (p + i) * width, columns[i]);
      }
    }
    for (; p < k; p++) {
      for (int64_t i = 0; i < lanes; i++) to[p * width + i] = from[p * row + i * col];
      for (int64_t i = lanes; i < kLanes; i++) to[p * width + i] = 0;
    }
  }
}

// packed[r, p] (or [p, r] when a runs along its rows' direction) = a[r * row + p * col] for r < rows, p < k.
static void pack_rows(const float* a, int64_t row, int64_t col, int64_t rows, int64_t k, float* packed) {
  if (col == 1) {
    for (int64_t r = 0; r < rows; r++) memcpy(packed + r * k, a + r * row, k * sizeof(float));
  } else {
    for (int64_t p = 0; p < k; p++)
      for (int64_t r = 0; r < rows; r++) packed[p * rows + r] = a[r * row + p * col];
  }
}

FW_NAMESPACE_END
