// Products with few rows of a: every number of b is used so little that packing it would not pay.
#pragma once
#include "tile.h"

FW_NAMESPACE_BEGIN

// Columns of b are rows of memory, often a power of two apart, and read side by side. Of eight of them what is fetched stays in the
// first cache until it is used; sixteen push each other out, and memory comes a fifth slower, but what lies near is read faster.
#if defined(__AVX512F__)
constexpr int kEight = 8;
typedef float Eight __attribute__((vector_size(kEight * 4)));
FW_INLINE void transpose(Eight (&x)[kEight]) {
  Eight t[kEight];
#pragma GCC unroll 2
  for (int q = 0; q < 2; q++) {
    const Eight r0 = x[4 * q], r1 = x[4 * q + 1], r2 = x[4 * q + 2], r3 = x[4 * q + 3];
    const Eight low01 = __builtin_shufflevector(r0, r1, 0, 8, 1, 9, 4, 12, 5, 13);
    const Eight low23 = __builtin_shufflevector(r2, r3, 0, 8, 1, 9, 4, 12, 5, 13);
    const Eight high01 = __builtin_shufflevector(r0, r1, 2, 10, 3, 11, 6, 14, 7, 15);
    const Eight high23 = __builtin_shufflevector(r2, r3, 2, 10, 3, 11, 6, 14, 7, 15);
    t[q] = __builtin_shufflevector(low01, low23, 0, 1, 8, 9, 4, 5, 12, 13);
    t[2 + q] = __builtin_shufflevector(low01, low23, 2, 3, 10, 11, 6, 7, 14, 15);
    t[4 + q] = __builtin_shufflevector(high01, high23, 0, 1, 8, 9, 4, 5, 12, 13);
    t[6 + q] = __builtin_shufflevector(high01, high23, 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    x[c] = __builtin_shufflevector(t[2 * c], t[2 * c + 1], 0, 1, 2, 3, 8, 9, 10, 11);
    x[4 + c] = __builtin_shufflevector(t[2 * c], t[2 * c + 1], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}
#else
typedef Vec Eight;
#endif

// c[R, N] for the N columns of b that a vector V has lanes for, transposed in registers. Memory gives slowly what is read side by
// side; so those that follow, if `more` do without a gap, are fetched meanwhile one after the other. Those with gaps, such as the
// keys of one head, are fetched as they will be read, also behind the last one: others may follow there.
template <class V, int R>
static void multiply_columns(const Matrix& a, const Matrix& b, const Matrix& c, int64_t k, float alpha, bool overwrite,
                             bool more) {
  constexpr int N = sizeof(V) / sizeof(float);
  constexpr int kLinesPerStep = N * N / 16, kStepsPerLine = 16 / N;
  const float* following = b.at(0, N);
  const bool fetch = more && b.col == k, gaps = b.col != k;
  VecInt keep = keep_mask(overwrite);
  float totals[R][kLanes] = {}, products[R][kLanes] = {};
  for (int r = 0; r < R; r++)
    for (int i = 0; i < N; i++) totals[r][i] = *c.at(r, i);
  const int64_t depth = depth_of(k);
  for (int64_t begin = 0; begin < k; begin += depth) {
    const int64_t end = begin + depth < k ? begin + depth : k;
    V acc[R] = {};
    int64_t p = begin;
    for (; p + N <= end; p += N) {
      if (fetch)
#pragma GCC unroll 16
        for (int i = 0; i < kLinesPerStep; i++) __builtin_prefetch(following + p * N + i * 16);
      if (gaps)
#pragma GCC unroll 16
        for (int i = 0; i < kLinesPerStep; i++)
          __builtin_prefetch(following + p + (p / N % kStepsPerLine * kLinesPerStep + i) * b.col);
      V rows[N];
#pragma GCC unroll 16
      for (int i = 0; i < N; i++) __builtin_memcpy(rows + i, b.at(p, i), sizeof(V));
      transpose(rows);
#pragma GCC unroll 16
      for (int i = 0; i < N; i++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) acc[r] += *a.at(r, p + i) * rows[i];
    }
    for (; p < end; p++) {
      V lanes;
      for (int i = 0; i < N; i++) lanes[i] = *b.at(p, i);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) acc[r] += *a.at(r, p) * lanes;
    }
    for (int r = 0; r < R; r++) {
      __builtin_memcpy(products[r], acc + r, sizeof(V));
      store(totals[r], add_scaled(load(totals[r]), load(products[r]), alpha, keep));
    }
    keep = keep_mask(false);
  }
  for (int r = 0; r < R; r++)
    for (int i = 0; i < N; i++) *c.at(r, i) = totals[r][i];
}

using MultiplyColumns = void (*)(const Matrix&, const Matrix&, const Matrix&, int64_t, float, bool, bool);
constexpr int kColumnRows = 8, kEightRows = 4;  // rows of a, and those that do not keep eight columns busy for longer than memory does
template <class V>
constexpr MultiplyColumns kByRows[kColumnRows] = {
    multiply_columns<V, 1>, multiply_columns<V, 2>, multiply_columns<V, 3>, multiply_columns<V, 4>,
    multiply_columns<V, 5>, multiply_columns<V, 6>, multiply_columns<V, 7>, multiply_columns<V, 8>};

constexpr int64_t kFarFloats = int64_t(1) << 18;  // of a matrix so large that it is read from memory whenever it is

static inline bool are_few(const Matrix& b, int64_t m) { return m <= kColumnRows && b.row == 1 && b.col != 1; }

// c[m, n] where `are_few`, but for a rest of columns that fill no vector: how many are done. Behind these n columns b has so many
// `more`; `far` says that it comes from memory.
static int64_t multiply_few(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k, float alpha, bool overwrite,
                            int64_t more, bool far) {
  const bool eight = far && m <= kEightRows;
  const MultiplyColumns multiply = eight ? kByRows<Eight>[m - 1] : kByRows<Vec>[m - 1];
  const int64_t width = eight ? int64_t(sizeof(Eight) / sizeof(float)) : kLanes;
  int64_t j = 0;
  for (; j + width <= n; j += width) multiply(a, b.from(0, j), c.from(0, j), k, alpha, overwrite, j + 2 * width <= n + more);
  return j;
}

// c[1, n] for rows of b and c that are contiguous, but for a rest of columns: how many are done. Every row of b is read once, and
// those some rows on are fetched meanwhile, also behind the last one: what lies there may be next.
static int64_t multiply_one(const Matrix& a, const Matrix& b, const Matrix& c, int64_t n, int64_t k, float alpha, bool overwrite) {
  constexpr int kSums = 8, kWidth = kSums * kLanes, kRowsAhead = 16;
  int64_t j = 0;
  for (; j + kWidth <= n; j += kWidth) {
    VecInt keep = keep_mask(overwrite);
    const int64_t depth = depth_of(k);
    for (int64_t begin = 0; begin < k; begin += depth) {
      const int64_t end = begin + depth < k ? begin + depth : k;
      Vec acc[kSums] = {};
      for (int64_t p = begin; p < end; p++) {
        const float* row = b.at(p, j);
        const Vec x = splat(*a.at(0, p));
#pragma GCC unroll 8
        for (int i = 0; i < kWidth; i += 16) __builtin_prefetch(row + kRowsAhead * b.row + i);
#pragma GCC unroll 8
        for (int v = 0; v < kSums; v++) acc[v] = fma(x, load(row + v * kLanes), acc[v]);
      }
#pragma GCC unroll 8
      for (int v = 0; v < kSums; v++) {
        float* to = c.at(0, j + v * kLanes);
        store(to, add_scaled(load(to), acc[v], alpha, keep));
      }
      keep = keep_mask(false);
    }
  }
  return j;
}

FW_NAMESPACE_END
