// Sums of products of small matrices that lie in cache, by tiles held in registers. The number of columns is a whole
// number of vectors and the number of rows a multiple of four.
#pragma once
#include "ahead.h"
#include "rows.h"

FW_NAMESPACE_BEGIN

// How many sums a tile holds in registers, beside a row of B and an element of A: as many as there is room for, since
// each waits for the one before it. Sums of sums take twice the room.
#if defined(__AVX512F__)
constexpr int kSums = 16, kPartSums = 16;
#elif defined(__aarch64__)
constexpr int kSums = 16, kPartSums = 12;
#else
constexpr int kSums = 12, kPartSums = 8;
#endif

// Which elements (m, k) of a left factor are not zero: all, those with k <= m, or those with k >= m. A lower triangle
// may stand above another one, `height` rows further down.
enum Band { kFull, kLower, kUpper };

// A[rows, depth] B[depth, columns], or A^T B with A[depth, rows].
template <bool kTransposed, Band kBand>
struct Term {
  Rows a, b;
  int64_t depth, height;
};
template <Band kBand = kFull>
Term<false, kBand> times(Rows a, Rows b, int64_t depth, int64_t height = 0) {
  return {a, b, depth, height};
}
template <Band kBand = kFull>
Term<true, kBand> transposed_times(Rows a, Rows b, int64_t depth) {
  return {a, b, depth, 0};
}

// What becomes of the sum P of all terms:
//   kStore          C = P
//   kAdd            C = from + P
//   kTriangles      C = P where column <= row (column < row if `strict`) in the first `height` rows, and where
//                   column < row - height in the others; columns count from 0 again after every kChunk
//   kScaledRows     C = (from + P) first then, two factors per row, whose product might be too small for a number
//   kScaledColumns  the same with factors per column
enum Finish { kStore, kAdd, kTriangles, kScaledRows, kScaledColumns };
struct Target {
  Rows c, from = {};
  const float *first = nullptr, *then = nullptr;
  int64_t height = 0;
  bool strict = false;
};

template <bool kParts, int M, int NV, bool kTransposed, Band kBand>
FW_INLINE void accumulate(Vec (&sum)[M][NV], const Term<kTransposed, kBand>& t, int64_t row, int64_t column) {
  const int64_t begin = kBand == kUpper ? row : 0;
  const int64_t end = kBand == kLower ? least(t.depth, (row < t.height ? row : row - t.height) + M) : t.depth;
  const float *a = kTransposed ? t.a[begin] + row : t.a[row] + begin, *b = t.b[begin] + column;
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
      for (int n = 0; n < NV; n++) x[n] = load(b + n * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < M; m++) {
        const Vec y = splat(a[kTransposed ? m : m * t.a.stride]);
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) part[m][n] = fma(y, x[n], part[m][n]);
      }
      a += kTransposed ? t.a.stride : 1, b += t.b.stride;
      asm("" : "+r"(a), "+r"(b));  // or addresses of every row of A would take up registers
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; m++)
#pragma GCC unroll 4
      for (int n = 0; n < NV; n++) sum[m][n] = kParts ? sum[m][n] + part[m][n] : part[m][n];
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
  const float* from = kAdds ? to.from[row] + column : nullptr;
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) sum[m][n] = kAdds ? load(from + n * kLanes) : Vec{};
    from += kAdds ? to.from.stride : 0;
  }
  (accumulate<kFinish == kTriangles>(sum, terms, row, column), ...);
  float* c = to.c[row] + column;
#pragma GCC unroll 16
  for (int m = 0; m < M; m++) {
#pragma GCC unroll 4
    for (int n = 0; n < NV; n++) {
      Vec x = sum[m][n];
      const int64_t i = row + m, j = column + n * kLanes;
      if (kFinish == kTriangles) x = keep_columns(x, j % kChunk, i < to.height ? i - to.strict : i - to.height - 1);
      if (kFinish == kScaledRows) x = x * splat(to.first[i]) * splat(to.then[i]);
      if (kFinish == kScaledColumns) x = x * load(to.first + j) * load(to.then + j);
      store(c + n * kLanes, x);
    }
    c += to.c.stride;
    asm("" : "+r"(c));  // as above
  }
  ahead.after(M * NV * (terms.depth + ...));
}

// Rows are cut into strips of nearly equal height, kRows at most; the first ones are the higher.
template <int NV, Finish kFinish, class... Terms>
FW_INLINE void tile_columns(Ahead& ahead, int64_t rows, int64_t& column, int64_t columns, const Target& to,
                            const Terms&... terms) {
  constexpr int kRows = NV == 1 ? 8 : (kFinish == kTriangles ? kPartSums : kSums) / NV;
  const int64_t strips = (rows + kRows - 1) / kRows, height = rows / strips, higher = rows - height * strips;
  for (; column + NV * kLanes <= columns; column += NV * kLanes) {
    int64_t row = 0;
    for (int64_t strip = 0; strip < strips; strip++) {
      const int64_t n = height + (strip < higher);
      each<kRows - 3>([&](auto i) {
        if (n == i + 4) tile<i + 4, NV, kFinish>(ahead, row, column, to, terms...);
      });
      row += n;
    }
  }
}

// C[rows, columns] = the sum of all terms, finished; fetches memory of `ahead` meanwhile.
template <Finish kFinish, class... Terms>
static __attribute__((noinline)) void multiply(Ahead& ahead, int64_t rows, int64_t columns, const Target& to,
                                               const Terms&... terms) {
  int64_t column = 0;
  // Wider tiles load fewer elements of A, as long as the columns of B stay in the first-level cache.
  if constexpr (kLanes == 16) {
    if (((terms.depth <= 64) && ...)) tile_columns<4, kFinish>(ahead, rows, column, columns, to, terms...);
  }
  tile_columns<2, kFinish>(ahead, rows, column, columns, to, terms...);
  tile_columns<1, kFinish>(ahead, rows, column, columns, to, terms...);
}

FW_NAMESPACE_END
