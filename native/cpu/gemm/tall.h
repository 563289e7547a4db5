// Products over many terms, as the gradients of weights are: c = a b where column p of a and row p of b are contiguous.
// Both are read where they lie, where tiles are wide enough for that: copied into panels, terms would be used too few
// times to pay for it, and columns of a that lie a power of two apart push each other out of the caches.
#pragma once
#include "shared.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kSliceTerms = 128;           // a slice of b and the sums of its products stay near
constexpr int64_t kLeastTerms = 4 * kSliceTerms;
constexpr int64_t kTallRows = 768;             // with more of them panels of b pay
constexpr int64_t kMostAtOnce = 4;             // depths that threads share out

static inline bool is_tall(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k) {
  return !kNarrow && a.row == 1 && b.col == 1 && c.col == 1 && n % kLanes == 0 && n <= kMaxColumns &&
         k >= kLeastTerms && m > kFewRows && m <= kTallRows;
}

// Rows [0, m) of c over one depth, for m <= kBlockRows, k <= kMaxDepth and whole vectors of columns. `sums` holds m n
// floats: what an element adds up from slice to slice, tile after tile, so that it is one chain over the terms as in
// any other product.
static void multiply_slices(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k, float alpha, bool overwrite,
                            float* sums) {
  const Strips strips(m);
  const int64_t tiles = strips.count * panels_of(n);
  Tile t;
  t.a_row = 1, t.a_step = a.col, t.b_step = b.row;
  t.alpha = alpha, t.overwrite = overwrite;
  for (int64_t p = 0, end; p < k; p = end) {
    end = p + kSliceTerms < k ? p + kSliceTerms : k;
    t.steps = end - p;
    t.sums = sums, t.starts = p == 0, t.ends = end == k;
    // What each tile fetches of the slice that follows: a line of b per step, where b has no gaps, and its share of the
    // columns of a.
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

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n] where `is_tall`. Threads take different terms as long as there
// are depths to share out: what two of them have read is slow to write for either, and terms are often tokens whose
// memory the next operator writes. Uses scratch memory 2 and 3.
static void multiply_tall(const Context& cx, Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k, float alpha,
                          bool overwrite) {
  const int64_t depth = depth_of(k), depths = (k + depth - 1) / depth;
  const int64_t threads = cx.threads < kMostAtOnce ? cx.threads : kMostAtOnce;
  const int64_t most = threads < depths ? threads : depths;
  float* products = static_cast<float*>(cx.scratch(3, (most - 1) * m * n * int64_t(sizeof(float))));
  for (int64_t first = 0; first < depths; first += most) {
    const int64_t count = depths - first < most ? depths - first : most;
    const Cut rows = cut_rows(m, int((cx.threads + count - 1) / count));
    parallel(cx, count * rows.count, [&](int64_t task) {
      float* sums = static_cast<float*>(cx.scratch(2, kBlockRows * n * int64_t(sizeof(float))));
      const int64_t i = task / rows.count, r = rows.begin(task % rows.count), p = (first + i) * depth;
      const Matrix to = i == 0 ? c : row_major(products + (i - 1) * m * n, n);
      multiply_slices(a.from(r, p), b.from(p, 0), to.from(r, 0), rows.size(task % rows.count), n,
                      k - p < depth ? k - p : depth, i == 0 ? alpha : 1, i > 0 || (overwrite && p == 0), sums);
    });
    if (count == 1) continue;
    parallel_blocks(cx, m, kTaskWork / (count * n) + 1, [&](int64_t begin, int64_t end) {
      const VecInt keep = keep_mask(false);
      for (int64_t r = begin; r < end; r++)
        for (int64_t j = 0; j < n; j += kLanes) {
          Vec sum = load(c.at(r, j));
          for (int64_t i = 0; i < count - 1; i++)
            sum = add_scaled(sum, load(products + (i * m + r) * n + j), alpha, keep);
          store(c.at(r, j), sum);
        }
    });
  }
}

FW_NAMESPACE_END
