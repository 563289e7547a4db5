// Sums of products of small matrices that lie in cache, by tiles held in registers. All strides are run-time numbers;
// the number of columns is a whole number of vectors and the number of rows a multiple of four.
#pragma once
#include "ahead.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

// Which elements (m, k) of a left factor are not zero: all, those with k <= m, or those with k >= m. A lower triangle
// may stand above another one, `height` rows further down.
enum Band { kFull, kLower, kUpper };

// A[rows, depth] B[depth, columns]. Element (m, k) of A is at a[m * row + k * column], so that either A or its
// transpose can be the left factor.
struct Term {
  const float* a;
  int64_t row, column;
  const float* b;
  int64_t stride, depth;
  Band band = kFull;
  int64_t height = 0;
};

// What becomes of the sum P of all terms:
//   kStore          C = P
//   kAdd            C = from + P
//   kTriangles      C = P where column <= row (column < row if `strict`) in the first `height` rows, and where
//                   column < row - height in the others; columns count from 0 again after every kChunk
//   kScaledRows     C = (from + P) first then, two factors per row, whose product might be too small for a number
//   kScaledColumns  the same with factors per column
enum Finish { kStore, kAdd, kTriangles, kScaledRows, kScaledColumns };
struct Target {
  float* c;
  int64_t stride;
  int64_t height = 0;
  const float* from = nullptr;
  const float *first = nullptr, *then = nullptr;
  bool strict = false;
};

template <bool kParts, int M, int NV>
FW_INLINE void accumulate(Ahead& ahead, Vec (&sum)[M][NV], const Term& t, int64_t row, int64_t column) {
  const int64_t inner = row < t.height ? row : row - t.height;
  const int64_t begin = t.band == kUpper ? row : 0, end = t.band == kLower ? least(t.depth, inner + M) : t.depth;
  const float *a = t.a + row * t.row, *b = t.b + column;
  for (int64_t k = begin; k < end;) {
    const int64_t stop = least(end, k + 16);
    Vec part[M][NV];  // sums of sums round less than one long sum
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) part[m][n] = kParts ? Vec{} : sum[m][n];
#pragma GCC unroll 1
    for (; k < stop; k++) {
      Vec x[NV];
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) x[n] = load(b + k * t.stride + n * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < M; m++) {
        const Vec y = splat(a[m * t.row + k * t.column]);
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) part[m][n] = fma(y, x[n], part[m][n]);
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) sum[m][n] = kParts ? sum[m][n] + part[m][n] : part[m][n];
    ahead.fetch(16 * M * NV);
  }
}

// x where its column is at most `last`, else 0.
FW_INLINE Vec keep_columns(Vec x, int64_t column, int64_t last) {
  VecInt columns;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) columns[i] = i;
  return select(columns <= static_cast<int32_t>(last - column), x, Vec{});
}

template <int M, int NV, Finish kFinish, class... Terms>
FW_INLINE void tile(Ahead& ahead, int64_t row, int64_t column, const Target& to, const Terms&... terms) {
  Vec sum[M][NV];
  constexpr bool kAdds = kFinish == kAdd || kFinish == kScaledRows || kFinish == kScaledColumns;
  float* c = to.c + row * to.stride + column;
  const float* from = kAdds ? to.from + row * to.stride + column : nullptr;
#pragma GCC unroll 16
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) sum[m][n] = kAdds ? load(from + m * to.stride + n * kLanes) : Vec{};
  (accumulate<kFinish == kTriangles>(ahead, sum, terms, row, column), ...);
#pragma GCC unroll 16
  for (int m = 0; m < M; m++)
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      Vec x = sum[m][n];
      const int64_t i = row + m, j = column + n * kLanes;
      if (kFinish == kTriangles) x = keep_columns(x, j % kChunk, i < to.height ? i - to.strict : i - to.height - 1);
      if (kFinish == kScaledRows) x = x * splat(to.first[i]) * splat(to.then[i]);
      if (kFinish == kScaledColumns) x = x * load(to.first + j) * load(to.then + j);
      store(c + m * to.stride + n * kLanes, x);
    }
}

template <int NV, Finish kFinish, class... Terms>
FW_INLINE void tile_columns(Ahead& ahead, int64_t rows, int64_t& column, int64_t columns, const Target& to,
                            const Terms&... terms) {
  // The most rows that leave registers for a row of B and an element of A.
  constexpr int kRows = NV == 1 || kLanes < 16 ? 8 / NV : 16 / NV;
  for (; column + NV * kLanes <= columns; column += NV * kLanes) {
    int64_t row = 0;
    for (; row + kRows <= rows; row += kRows) tile<kRows, NV, kFinish>(ahead, row, column, to, terms...);
    if constexpr (kRows > 4) {
      for (; row < rows; row += 4) tile<4, NV, kFinish>(ahead, row, column, to, terms...);
    }
  }
}

// C[rows, columns] = the sum of all terms, finished; fetches memory of `ahead` meanwhile.
template <Finish kFinish, class... Terms>
static __attribute__((noinline)) void multiply(Ahead& ahead, int64_t rows, int64_t columns, const Target& to,
                                               const Terms&... terms) {
  int64_t column = 0;
  // Wider tiles load fewer elements of A, as long as the columns of B stay in the first-level cache. The other
  // instruction sets have registers for two vectors by four rows.
  if constexpr (kLanes == 16) {
    if (((terms.depth <= 64) && ...)) tile_columns<4, kFinish>(ahead, rows, column, columns, to, terms...);
  }
  tile_columns<2, kFinish>(ahead, rows, column, columns, to, terms...);
  tile_columns<1, kFinish>(ahead, rows, column, columns, to, terms...);
}

FW_NAMESPACE_END
