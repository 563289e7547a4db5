// A product on all threads. A large one packs b once for all of them, then blocks of rows of a meet its panels; where a
// has few rows, columns are shared out.
#pragma once
#include "product.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kMaxColumns = 1024;               // columns of b that are packed at once
constexpr int64_t kTaskWork = int64_t(1) << 17;     // multiply-adds that are worth handing to another thread

static inline float* panel_memory(const Context& cx) {
  return static_cast<float*>(cx.scratch(3, kPanelFloats * int64_t(sizeof(float))));
}

// How many rows a task takes, so that there are enough tasks for the threads.
static inline int64_t rows_per_task(int64_t m, int threads) {
  int64_t rows = m / (4 * threads) / kRows * kRows;
  if (rows < 4 * kRows) rows = 4 * kRows;
  return rows < kBlockRows ? rows : kBlockRows;
}

struct Cut {
  int64_t each, count;
  Cut(int64_t n, int64_t pieces) : each((n + pieces - 1) / pieces), count((n + each - 1) / each) {}
};

// Packs rows [p, p + depth) and n columns of b, on all threads.
static inline void pack_shared(const Context& cx, const Gemm& gemm, Matrix b, int64_t depth, int64_t n, float* packed) {
  const Cut cut(panels_of(n), 2 * cx.threads);
  parallel(cx, cut.count, [&](int64_t i) {
    const int64_t last = (i + 1) * cut.each;
    gemm.pack(b, depth, n, i * cut.each, last < panels_of(n) ? last : panels_of(n), packed);
  });
}

// Tells another one positions in the whole of c.
struct FinishAt : Finish {
  const Finish* inner;
  int64_t i, j;
  FinishAt(const Finish* inner, int64_t i, int64_t j) : Finish{run, ahead}, inner(inner), i(i), j(j) {}
  static void run(const Finish& self, int64_t row, int64_t col, int64_t rows, int64_t cols) {
    const FinishAt& at = static_cast<const FinishAt&>(self);
    at.inner->apply(*at.inner, at.i + row, at.j + col, rows, cols);
  }
  static void ahead(const Finish& self, int64_t row, int64_t col, int64_t rows, int64_t cols) {
    const FinishAt& at = static_cast<const FinishAt&>(self);
    at.inner->fetch(*at.inner, at.i + row, at.j + col, rows, cols);
  }
};

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n], then `finish`, if any.
static void multiply_shared(const Context& cx, const Gemm& gemm, Matrix a, Matrix b, Matrix c, int64_t m,
                                   int64_t n, int64_t k, float alpha, bool overwrite, const Finish* finish) {
  const int64_t depth = depth_of(k), columns = n < kMaxColumns ? n : kMaxColumns;
  float* packed = static_cast<float*>(cx.scratch(3, packed_floats(depth, columns) * int64_t(sizeof(float))));
  const int64_t rows = rows_per_task(m, cx.threads), row_tasks = (m + rows - 1) / rows;
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t width = n - j < columns ? n - j : columns;
    const int64_t spread = row_tasks < 4 * cx.threads ? (4 * cx.threads + row_tasks - 1) / row_tasks : 1;
    const Cut cut(panels_of(width), spread < panels_of(width) ? spread : panels_of(width));
    for (int64_t p = 0; p < k; p += depth) {
      const int64_t steps = k - p < depth ? k - p : depth;
      const bool last = p + steps == k;
      pack_shared(cx, gemm, b.from(p, j), steps, width, packed);
      parallel(cx, row_tasks * cut.count, [&](int64_t task) {
        float* left = static_cast<float*>(cx.scratch(2, kLeftFloats * int64_t(sizeof(float))));
        const int64_t i = task / cut.count * rows, from = task % cut.count * cut.each, to = from + cut.each;
        const FinishAt at(finish, i, j);
        gemm.multiply(a.from(i, p), packed, c.from(i, j), m - i < rows ? m - i : rows, width, steps, from,
                      to < panels_of(width) ? to : panels_of(width), alpha, overwrite && p == 0,
                      finish && last ? &at : nullptr, left);
      });
    }
  }
}

// The same for few rows; each thread packs its own columns.
static void multiply_apart(const Context& cx, Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k,
                           float alpha, bool overwrite, const Finish* finish) {
  const int64_t least = (kTaskWork + m * k - 1) / (m * k), even = (n + cx.threads - 1) / cx.threads;
  const int64_t columns = ((least > even ? least : even) + kPanel - 1) / kPanel * kPanel;
  parallel_blocks(cx, n, columns, [&](int64_t j, int64_t end) {
    product(a, b.from(0, j), c.from(0, j), m, end - j, k, alpha, overwrite, panel_memory(cx));
    if (finish) finish->apply(*finish, 0, j, m, end - j);
  });
}

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n] for k > 0, then `finish` (null for none). Uses scratch memory 2
// and 3.
static inline void multiply(const Context& cx, const Gemm& gemm, Matrix a, Matrix b, Matrix c, int64_t m, int64_t n,
                            int64_t k, float alpha, bool overwrite, const Finish* finish = nullptr) {
  if (m <= kBlockRows) return multiply_apart(cx, a, b, c, m, n, k, alpha, overwrite, finish);
  multiply_shared(cx, gemm, a, b, c, m, n, k, alpha, overwrite, finish);
}

FW_NAMESPACE_END
