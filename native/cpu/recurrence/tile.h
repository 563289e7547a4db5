// Products of small matrices that lie in cache, by tiles held in registers. All strides are run-time numbers; the
// number of columns is a whole number of vectors and the number of rows a multiple of four.
#pragma once
#include "../vec.h"

FW_NAMESPACE_BEGIN

// What the product is added to: nothing, C, or C with its rows or its columns scaled first.
enum Onto { kNothing, kMatrix, kScaledRows, kScaledColumns };

// Element (m, k) of A is at a[m * row + k * column], so that either A or its transpose can be the left factor.
struct Left {
  const float* a;
  int64_t row, column;
};
struct Rows {
  float* data;
  int64_t stride;
};

template <int M, int NV, Onto kOnto>
FW_INLINE void tile(int64_t depth, Left a, const float* b, int64_t b_stride, Rows c, const float* scale) {
  Vec sum[M][NV];
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      sum[m][n] = kOnto == kNothing ? Vec{} : load(c.data + m * c.stride + n * kLanes);
      if (kOnto == kScaledRows) sum[m][n] *= splat(scale[m]);
      if (kOnto == kScaledColumns) sum[m][n] *= load(scale + n * kLanes);
    }
#pragma GCC unroll 1
  for (int64_t k = 0; k < depth; k++) {
    Vec x[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) x[n] = load(b + k * b_stride + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; m++) {
      const Vec y = splat(a.a[m * a.row + k * a.column]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) sum[m][n] = fma(y, x[n], sum[m][n]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) store(c.data + m * c.stride + n * kLanes, sum[m][n]);
}

template <int NV, Onto kOnto>
FW_INLINE void tile_column(int64_t rows, int64_t depth, Left a, const float* b, int64_t b_stride, Rows c,
                           const float* scale) {
  constexpr int kRows = NV == 4 || (NV == 2 && kLanes < 16) ? 4 : 8;
  int64_t m = 0;
  for (; m + kRows <= rows; m += kRows)
    tile<kRows, NV, kOnto>(depth, {a.a + m * a.row, a.row, a.column}, b, b_stride, {c.data + m * c.stride, c.stride},
                           kOnto == kScaledRows ? scale + m : scale);
  if (kRows > 4 && m < rows)
    tile<4, NV, kOnto>(depth, {a.a + m * a.row, a.row, a.column}, b, b_stride, {c.data + m * c.stride, c.stride},
                       kOnto == kScaledRows ? scale + m : scale);
}

// C[rows, columns] = onto + A[rows, depth] B[depth, columns]. `scale` holds a factor per row or per column of C.
template <Onto kOnto>
static __attribute__((noinline)) void multiply(int64_t rows, int64_t columns, int64_t depth, Left a, Rows b, Rows c,
                                               const float* scale = nullptr) {
  int64_t n = 0;
  const auto at = [&](const float* row) { return kOnto == kScaledColumns ? row + n : row; };
  if (kLanes == 16)  // the other instruction sets have registers for two vectors by four rows
    for (; n + 4 * kLanes <= columns; n += 4 * kLanes)
      tile_column<4, kOnto>(rows, depth, a, b.data + n, b.stride, {c.data + n, c.stride}, at(scale));
  for (; n + 2 * kLanes <= columns; n += 2 * kLanes)
    tile_column<2, kOnto>(rows, depth, a, b.data + n, b.stride, {c.data + n, c.stride}, at(scale));
  if (n < columns) tile_column<1, kOnto>(rows, depth, a, b.data + n, b.stride, {c.data + n, c.stride}, at(scale));
}

FW_NAMESPACE_END
