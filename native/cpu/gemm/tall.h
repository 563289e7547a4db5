// Products over many terms, as the gradients of weights are: c = a b where column p of a and row p of b are contiguous.
// Both are read where they lie: copied into panels, terms would be used too few times to pay for it, and columns of a
// that lie a power of two apart push each other out of the caches.
#pragma once
#include "shared.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kSliceTerms = 128;                // a slice of b and its sums stay in the second cache
constexpr int64_t kLeastTerms = 4 * kSliceTerms;
constexpr int64_t kTallRows = 8 * kBlockRows;       // with more of them panels of b pay

static inline bool is_tall(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k) {
  return a.row == 1 && b.col == 1 && c.col == 1 && n % kLanes == 0 && n <= kMaxColumns && k >= kLeastTerms &&
         m > kBlockRows && m <= kTallRows;
}

// Rows [0, m) of c, for m <= kBlockRows. `sums` holds m n floats: what an element adds up from slice to slice, tile
// after tile, so that it is one chain over the terms of a depth as in any other product.
static void multiply_slices(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k, float alpha, bool overwrite,
                            float* sums) {
  const Strips strips(m);
  const int64_t depth = depth_of(k), tiles = strips.count * panels_of(n);
  Tile t;
  t.a_row = 1, t.a_step = a.col, t.b_step = b.row, t.alpha = alpha;
  for (int64_t p = 0, end; p < k; p = end) {
    const int64_t begin = p / depth * depth, next = begin + depth < k ? begin + depth : k;
    end = p + kSliceTerms < next ? p + kSliceTerms : next;
    t.steps = end - p;
    t.sums = sums, t.starts = p == begin, t.ends = end == next;
    t.overwrite = overwrite && begin == 0;
    // What each tile fetches of the slice that follows: a line of b per step, and its share of the columns of a.
    const int64_t following = k - end < kSliceTerms ? k - end : kSliceTerms, share = (following + tiles - 1) / tiles;
    const float* ahead = b.at(end, 0);
    int64_t lines = b.row == n ? following * n / 16 : 0, column = end;
    for (int64_t j = 0; j < n; j += kPanel) {
      t.width = n - j < kPanel ? n - j : kPanel;
      const int64_t vectors = t.width / kLanes;
      t.b = b.at(p, j);
      for (int64_t s = 0; s < strips.count; s++) {
        const int64_t r = strips.begin(s), rows = strips.begin(s + 1) - r;
        t.a = a.at(r, p);
        t.c = c.from(r, j);
        t.ahead = lines > 0 ? ahead : t.b, t.ahead_step = lines > 0 ? 16 : 0;
        ahead += 16 * t.steps, lines -= t.steps;
        for (int64_t i = 0; i < share && column < end + following; i++, column++)
          for (int64_t row = 0; row < m + 15; row += 16) __builtin_prefetch(a.at(row, column), 0, 2);
        t.lines.count = 0;
        if (t.ends) t.take_lines_of_c(rows);
        else t.lines.at[t.lines.count++] = t.b;
        t.lines.close();
        tile_of<Float32Products>(rows, vectors)(t);
        t.sums += rows * t.width;
      }
    }
  }
}

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n] where `is_tall`. Uses scratch memory 2.
static inline void multiply_tall(const Context& cx, Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k,
                                 float alpha, bool overwrite) {
  const Cut rows = cut_rows(m, cx.threads);
  parallel(cx, rows.count, [&](int64_t i) {
    float* sums = static_cast<float*>(cx.scratch(2, kBlockRows * n * int64_t(sizeof(float))));
    const int64_t r = rows.begin(i);
    multiply_slices(a.from(r, 0), b, c.from(r, 0), rows.size(i), n, k, alpha, overwrite, sums);
  });
}

FW_NAMESPACE_END
