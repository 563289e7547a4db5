// Float32 products, and the table that lets kernels choose between these and bfloat16.
#pragma once
#include <string.h>

#include "tile.h"

FW_NAMESPACE_BEGIN

// How tiles read a: strip s, from row r on, starts at data + r * row + s * strip.
struct Left {
  const float* data;
  int64_t row, step, strip;
};

struct Float32Products {
  static constexpr int64_t kPerStep = 1;
  static constexpr int64_t kColumns = 4, kAhead = 16;  // of a that are copied side by side, and fetched before
  FW_INLINE Vec multiply_add(Vec x, Vec y, Vec sum) { return fma(x, y, sum); }
  static void pack(Matrix b, int64_t k, int64_t n, int64_t width, float* panel) {
    pack_panel(b.data, b.row, b.col, k, n, width, panel);
  }

  // Rows are read where they lie. Columns would take a line of memory for every step of a strip, and those that lie a
  // power of two apart would push each other out of the caches, so each strip of them gets a piece of its own.
  static Left left(Matrix a, int64_t m, int64_t k, float* scratch) {
    if (!kNarrow || a.row != 1) return {a.data, a.row, a.col, 0};
    const Strips strips(m);
    const Left packed = {scratch, 1, kRows, kRows * k + 16};
    for (int64_t begin = 0; begin < k; begin += kColumns) {
      const int64_t end = begin + kColumns < k ? begin + kColumns : k;
      for (int64_t p = begin; p < end; p++)
        for (int64_t r = 0; r < m + 15; r += 16) __builtin_prefetch(a.at(r, p + kAhead), 0, 2);
      for (int64_t s = 0; s < strips.count; s++) {
        const int64_t r = strips.begin(s), rows = r + kRows <= m ? kRows : m - r;
        const float* from = a.at(r, begin);
        float* to = scratch + r + s * packed.strip + begin * kRows;
        for (int64_t p = begin; p < end; p++, from += a.col, to += kRows) {
          if (rows == kRows) memcpy(to, from, kRows * sizeof(float));
          else memcpy(to, from, rows * sizeof(float));
        }
      }
    }
    return packed;
  }
};

// Floats of scratch memory that `multiply` needs for kBlockRows rows of a.
constexpr int64_t kLeftFloats = (kBlockRows + kLanes) * kMaxDepth;

// A kind of products.
struct Gemm {
  // Panels [first, last) of b[k, n], k <= kMaxDepth, to where they belong in `packed`.
  void (*pack)(Matrix b, int64_t k, int64_t n, int64_t first, int64_t last, float* packed);
  // c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n] for m <= kBlockRows, panels [first, last) only; `epilogue`
  // (null for none) is told positions in c.
  void (*multiply)(Matrix a, const float* packed, Matrix c, int64_t m, int64_t n, int64_t k, int64_t first,
                   int64_t last, float alpha, bool overwrite, const Epilogue* epilogue, float* left);
};

template <class Products>
static void pack_panels(Matrix b, int64_t k, int64_t n, int64_t first, int64_t last, float* packed) {
  const int64_t steps = (k + Products::kPerStep - 1) / Products::kPerStep;
  for (int64_t j = first * kPanel; j < last * kPanel; j += kPanel) {
    const int64_t width = n - j < kPanel ? n - j : kPanel;
    Products::pack(b.from(0, j), k, width, (width + kLanes - 1) / kLanes * kLanes, packed + j * steps);
  }
}

template <class Products>
static void multiply_panels(Matrix a, const float* packed, Matrix c, int64_t m, int64_t n, int64_t k, int64_t first,
                            int64_t last, float alpha, bool overwrite, const Epilogue* epilogue, float* scratch) {
  const Left left = Products::left(a, m, k, scratch);
  const Strips strips(m);
  Tile t;
  t.steps = (k + Products::kPerStep - 1) / Products::kPerStep;
  t.a_row = left.row, t.a_step = left.step;
  t.alpha = alpha, t.overwrite = overwrite;
  for (int64_t j = first * kPanel; j < last * kPanel; j += kPanel) {
    t.width = n - j < kPanel ? n - j : kPanel;
    const int64_t vectors = (t.width + kLanes - 1) / kLanes;
    t.b = packed + j * t.steps, t.b_step = vectors * kLanes;
    for (int64_t s = 0; s < strips.count; s++) {
      const int64_t r = strips.begin(s), rows = strips.begin(s + 1) - r;
      t.a = left.data + r * left.row + s * left.strip;
      t.c = c.from(r, j);
      // The first panel finds a in far memory: the next rows are fetched, where one follows the other.
      t.ahead = t.b, t.ahead_step = 0;
      if (left.row == t.steps && r + rows < m && j == first * kPanel) t.ahead = t.a + rows * left.row, t.ahead_step = 16;
      t.take_lines_of_c(rows);
      if (epilogue) epilogue->near(*epilogue, r, j, rows, t.width, t.lines);
      t.lines.close();
      tile_of<Products>(rows, vectors)(t);
      if (epilogue) epilogue->apply(*epilogue, r, j, rows, t.width);
    }
  }
}

enum Precision { kFloat32Products, kBfloat16Products };
// Products of bfloat16 where the processor has them, else float32.
const Gemm& gemm_of(int64_t precision);
extern const Gemm bfloat16_gemm;
bool has_bfloat16_products();

FW_NAMESPACE_END
