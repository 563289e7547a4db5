// Float32 products, which take a where it lies, and the table that lets kernels choose between these and bfloat16.
#pragma once
#include "tile.h"

FW_NAMESPACE_BEGIN

// How a tile reads its rows of a.
struct Left {
  const float* data;
  int64_t row, step;
};

struct Float32Products {
  static constexpr int64_t kPerStep = 1;
  static constexpr bool kPacksLeft = false;
  FW_INLINE Vec multiply_add(Vec x, Vec y, Vec sum) { return fma(x, y, sum); }
  static void pack(Matrix b, int64_t k, int64_t n, int64_t width, float* panel) {
    pack_panel(b.data, b.row, b.col, k, n, width, panel);
  }
  static Left left(Matrix a, int64_t, int64_t, float*) { return {a.data, a.row, a.col}; }
};

// Floats of scratch memory that `multiply` needs for kBlockRows rows of a.
constexpr int64_t kLeftFloats = (kBlockRows + kLanes) * kMaxDepth / 2;

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
      t.a = left.data + r * left.row;
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
