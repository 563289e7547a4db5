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

// n cut into nearly equal pieces.
struct Cut {
  int64_t n, count;
  int64_t begin(int64_t i) const { return i * n / count; }
  int64_t size(int64_t i) const { return begin(i + 1) - begin(i); }
};
static inline Cut cut(int64_t n, int64_t pieces) { return {n, pieces < n ? pieces : n}; }

// Blocks of kBlockRows rows at most. The same number for every thread: they are few, and the slowest thread counts.
static inline Cut cut_rows(int64_t m, int threads) {
  constexpr int64_t kLeastRows = 4 * kRows;
  const int64_t needed = (m + kBlockRows - 1) / kBlockRows, even = (needed + threads - 1) / threads * threads;
  return {m, even * kLeastRows <= m ? even : needed};
}

// Packs rows [p, p + depth) and n columns of b, on all threads.
static inline void pack_shared(const Context& cx, const Gemm& gemm, Matrix b, int64_t depth, int64_t n, float* packed) {
  const Cut panels = cut(panels_of(n), 2 * cx.threads);
  parallel(cx, panels.count, [&](int64_t i) { gemm.pack(b, depth, n, panels.begin(i), panels.begin(i + 1), packed); });
}

// Tells another one positions in the whole of c.
struct EpilogueAt : Epilogue {
  const Epilogue* inner;
  int64_t i, j;
  EpilogueAt(const Epilogue* inner, int64_t i, int64_t j) : Epilogue{run, close_by}, inner(inner), i(i), j(j) {}
  static void run(const Epilogue& self, int64_t row, int64_t col, int64_t rows, int64_t cols) {
    const EpilogueAt& at = static_cast<const EpilogueAt&>(self);
    at.inner->apply(*at.inner, at.i + row, at.j + col, rows, cols);
  }
  static void close_by(const Epilogue& self, int64_t row, int64_t col, int64_t rows, int64_t cols, Lines& lines) {
    const EpilogueAt& at = static_cast<const EpilogueAt&>(self);
    at.inner->near(*at.inner, at.i + row, at.j + col, rows, cols, lines);
  }
};

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n], then `epilogue`, if any.
static void multiply_shared(const Context& cx, const Gemm& gemm, Matrix a, Matrix b, Matrix c, int64_t m,
                                   int64_t n, int64_t k, float alpha, bool overwrite, const Epilogue* epilogue) {
  const int64_t depth = depth_of(k), columns = n < kMaxColumns ? n : kMaxColumns;
  float* packed = static_cast<float*>(cx.scratch(3, packed_floats(depth, columns) * int64_t(sizeof(float))));
  const Cut rows = cut_rows(m, cx.threads);
  for (int64_t j = 0; j < n; j += columns) {
    const int64_t width = n - j < columns ? n - j : columns;
    const Cut panels = cut(panels_of(width), (4 * cx.threads + rows.count - 1) / rows.count);
    for (int64_t p = 0; p < k; p += depth) {
      const int64_t steps = k - p < depth ? k - p : depth;
      const bool last = p + steps == k;
      pack_shared(cx, gemm, b.from(p, j), steps, width, packed);
      parallel(cx, rows.count * panels.count, [&](int64_t task) {
        float* left = static_cast<float*>(cx.scratch(2, kLeftFloats * int64_t(sizeof(float))));
        const int64_t r = task / panels.count, s = task % panels.count, i = rows.begin(r);
        const EpilogueAt at(epilogue, i, j);
        gemm.multiply(a.from(i, p), packed, c.from(i, j), rows.size(r), width, steps, panels.begin(s),
                      panels.begin(s + 1), alpha, overwrite && p == 0, epilogue && last ? &at : nullptr, left);
      });
    }
  }
}

// The same for few rows; each thread packs its own columns. Those that come from memory are more tasks than threads: one that the
// system holds up leaves its share to the others.
static void multiply_apart(const Context& cx, Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k,
                           float alpha, bool overwrite, const Epilogue* epilogue) {
  const bool few = are_few(b, m), far = n * k >= kFarFloats;
  const int64_t tasks = few && far ? 4 * cx.threads : cx.threads;
  const int64_t least = (kTaskWork + m * k - 1) / (m * k), even = (n + tasks - 1) / tasks;
  const int64_t columns = ((least > even ? least : even) + kPanel - 1) / kPanel * kPanel;
  parallel_blocks(cx, n, columns, [&](int64_t j, int64_t end) {
    const int64_t done = few ? multiply_few(a, b.from(0, j), c.from(0, j), m, end - j, k, alpha, overwrite, n - end, far) : 0;
    product(a, b.from(0, j + done), c.from(0, j + done), m, end - j - done, k, alpha, overwrite, panel_memory(cx));
    if (epilogue) epilogue->apply(*epilogue, 0, j, m, end - j);
  });
}

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n] for k > 0, then `epilogue` (null for none). Uses scratch memory 2
// and 3.
static inline void multiply(const Context& cx, const Gemm& gemm, Matrix a, Matrix b, Matrix c, int64_t m, int64_t n,
                            int64_t k, float alpha, bool overwrite, const Epilogue* epilogue = nullptr) {
  if (m <= kFewRows) return multiply_apart(cx, a, b, c, m, n, k, alpha, overwrite, epilogue);
  multiply_shared(cx, gemm, a, b, c, m, n, k, alpha, overwrite, epilogue);
}

FW_NAMESPACE_END
