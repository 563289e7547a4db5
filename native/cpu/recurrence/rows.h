// Matrices in scratch memory, by rows.
#pragma once
#include "../lanes.h"
#include "problem.h"

FW_NAMESPACE_BEGIN

struct Rows {
  float* data = nullptr;
  int64_t stride = 0;
  float* operator[](int64_t row) const { return data + row * stride; }
  Rows from(int64_t row, int64_t column = 0) const { return {data + row * stride + column, stride}; }
};

// Room for `rows` rows of `columns`. Rows 512 bytes apart, or a multiple of that, would share eight sets of the
// first-level cache, and a column of vectors through all of them would not stay in it.
inline int64_t stride_of(int64_t columns) { return columns % 128 == 0 ? columns + 16 : columns; }
inline Rows rows_in(Arena& arena, int64_t rows, int64_t columns) {
  const int64_t stride = stride_of(columns);
  return {arena.floats(rows * stride), stride};
}

// y[columns, rows] = x[rows, columns]; both dimensions are whole numbers of vectors.
static inline void transpose(Rows y, Rows x, int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; r += kLanes)
    for (int64_t c = 0; c < columns; c += kLanes) {
      Vec t[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) t[i] = load(x[r + i] + c);
      transpose(t);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) store(y[c + i] + r, t[i]);
    }
}

FW_NAMESPACE_END
