// A normaliser's value in the backward pass in chunks (backward_chunk.h), where it would be alone in vectors beside the
// other values: products over those leave it out, and it is multiplied here with keys or tokens in the lanes.
#pragma once
#include "rows.h"

FW_NAMESPACE_BEGIN

// x[:, column] of `rows` rows, a row of numbers, and back.
static inline void gather_column(float* to, Rows x, int64_t column, int64_t rows) {
  for (int64_t i = 0; i < rows; i++) to[i] = x[i][column];
}
static inline void scatter_column(Rows x, int64_t column, const float* from, int64_t rows) {
  for (int64_t i = 0; i < rows; i++) x[i][column] = from[i];
}

// y = A d + S^T o with A [kChunk, n], d [n], S [count, kChunk], and o a column of [count, ...]. `parts` has room for a
// vector per token.
static __attribute__((noinline)) void column_errors(float* y, float* parts, Rows a, const float* d, int64_t n,
                                                    Rows scores, Rows o, int64_t column, int64_t count) {
  for (int64_t c = 0; c < kChunk; c++) {
    Vec x{};
    for (int64_t i = 0; i < n; i += kLanes) x = fma(load(a[c] + i), load(d + i), x);
    store(parts + c * kLanes, x);
  }
  sum_vectors(y, parts, kChunk);
  for (int64_t t = 0; t < count; t++)
    for (int64_t c = 0; c < kChunk; c += kLanes)
      store(y + c, fma(splat(o[t][column]), load(scores[t] + c), load(y + c)));
}

// d = (d + A^T o) first then, with A [count, n]; without factors where `first` is null.
static __attribute__((noinline)) void column_reads(float* d, Rows a, int64_t n, Rows o, int64_t column, int64_t count,
                                                   const float* first, const float* then) {
  for (int64_t i = 0; i < n; i += kLanes) {
    Vec x = load(d + i);
    for (int64_t t = 0; t < count; t++) x = fma(splat(o[t][column]), load(a[t] + i), x);
    store(d + i, first ? x * load(first + i) * load(then + i) : x);
  }
}

FW_NAMESPACE_END
