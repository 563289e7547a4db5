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

// n cut into about `pieces` nearly equal ones, each but the last a multiple of `unit`.
struct Cut {
  int64_t each, count;
  Cut(int64_t n, int64_t pieces, int64_t unit = 1)
      : each(((n + pieces - 1) / pieces + unit - 1) / unit * unit), count((n + each - 1) / each) {}
};

// Blocks of rows, `pieces` at least where that leaves them some height.
static inline Cut cut_rows(int64_t m, int64_t pieces) {
  const int64_t most = (m + 4 * kRows - 1) / (4 * kRows), needed = (m + kBlockRows - 1) / kBlockRows;
  if (pieces > most) pieces = most;
  return Cut(m, pieces > needed ? pieces : needed, kRows);
}

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
  const Cut rows = cut_rows(m, 1);
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t width = n - j < columns ? n - j : columns;
    const int64_t panels = panels_of(width), wanted = (4 * cx.threads + rows.count - 1) / rows.count;
    const Cut cut(panels, wanted < panels ? wanted : panels);
    for (int64_t p = 0; p < k; p += depth) {
      const int64_t steps = k - p < depth ? k - p : depth;
      const bool last = p + steps == k;
      pack_shared(cx, gemm, b.from(p, j), steps, width, packed);
      parallel(cx, rows.count * cut.count, [&](int64_t task) {
        float* left = static_cast<float*>(cx.scratch(2, kLeftFloats * int64_t(sizeof(float))));
        const int64_t i = task / cut.count * rows.each, from = task % cut.count * cut.each, to = from + cut.each;
        const FinishAt at(finish, i, j);
        gemm.multiply(a.from(i, p), packed, c.from(i, j), m - i < rows.each ? m - i : rows.each, width, steps,
                      from, to < panels ? to : panels, alpha, overwrite && p == 0,
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
