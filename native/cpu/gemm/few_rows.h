// Products with few rows of a: every number of b is used so little that packing it would not pay.
#pragma once
#include "tile.h"

FW_NAMESPACE_BEGIN

// c[R, kLanes] where the columns of b are contiguous, transposed in registers. They are read side by side, which memory
// gives slowly; so those that follow, if `more` do without a gap, are fetched meanwhile one after the other.
template <int R>
static void multiply_columns(const Matrix& a, const Matrix& b, const Matrix& c, int64_t k, float alpha, bool overwrite,
                             bool more) {
  constexpr int kLinesPerStep = kLanes * kLanes / 16;
  const float* following = b.at(0, kLanes);
  const bool fetch = more && b.col == k;
  VecInt keep = keep_mask(overwrite);
  Vec total[R];
  for (int r = 0; r < R; r++) {
    float lanes[kLanes];
    for (int i = 0; i < kLanes; i++) lanes[i] = *c.at(r, i);
    total[r] = load(lanes);
  }
  const int64_t depth = depth_of(k);
  for (int64_t begin = 0; begin < k; begin += depth) {
    const int64_t end = begin + depth < k ? begin + depth : k;
    Vec acc[R] = {};
    int64_t p = begin;
    for (; p + kLanes <= end; p += kLanes) {
      if (fetch)
#pragma GCC unroll 16
        for (int i = 0; i < kLinesPerStep; i++) __builtin_prefetch(following + p * kLanes + i * 16);
      Vec rows[kLanes];
      transpose_block(b.at(p, 0), b.col, rows);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++)
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) acc[r] = fma(splat(*a.at(r, p + i)), rows[i], acc[r]);
    }
    for (; p < end; p++) {
      float lanes[kLanes];
      for (int i = 0; i < kLanes; i++) lanes[i] = *b.at(p, i);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) acc[r] = fma(splat(*a.at(r, p)), load(lanes), acc[r]);
    }
    for (int r = 0; r < R; r++) total[r] = add_scaled(total[r], acc[r], alpha, keep);
    keep = keep_mask(false);
  }
  for (int r = 0; r < R; r++)
    for (int i = 0; i < kLanes; i++) *c.at(r, i) = total[r][i];
}

using MultiplyColumns = void (*)(const Matrix&, const Matrix&, const Matrix&, int64_t, float, bool, bool);
constexpr int kColumnRows = 8;
static const MultiplyColumns multiply_few[kColumnRows] = {
    multiply_columns<1>, multiply_columns<2>, multiply_columns<3>, multiply_columns<4>,
    multiply_columns<5>, multiply_columns<6>, multiply_columns<7>, multiply_columns<8>};

FW_NAMESPACE_END
