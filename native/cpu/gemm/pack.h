// Copies b into panels, the order in which the tiles of a product read it.
#pragma once
#include "../lanes.h"
#include "matrix.h"

FW_NAMESPACE_BEGIN

// Transposes the square block at p into registers: columns[j][i] = p[i * stride + j]. It reads whole vectors once, as
// rows a power of two apart would push each other out of the first cache.
FW_INLINE void transpose_block(const float* p, int64_t stride, Vec (&columns)[kLanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i++) columns[i] = load(p + i * stride);
  transpose(columns);
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
