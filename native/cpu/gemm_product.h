// The matrix product of one thread. Every element of c is one chain of fused multiply-adds over k within blocks of
// kDepth, and the blocks are added to c in order: the bits of an element depend on k only, never on m, n, the tile that
// holds it or the path taken.
#pragma once
#include "gemm_pack.h"

FW_NAMESPACE_BEGIN

// A tile holds kRows x kVectors accumulators, beside kVectors registers for b and one or two for a.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif
constexpr int kRows = 6;
constexpr int kPanel = kVectors * kLanes;
constexpr int64_t kDepth = 256;      // a panel of b is [kDepth, kPanel]
constexpr int64_t kBlockRows = 480;  // a block of a, [kBlockRows, kDepth], stays in the second cache
constexpr int64_t kPackedFloats = (kBlockRows + kPanel) * kDepth;

// Element (i, j) at data[i * row + j * col].
struct Matrix {
  float* data;
  int64_t row, col;
  float* at(int64_t i, int64_t j) const { return data + i * row + j * col; }
  Matrix transposed() const { return {data, col, row}; }
};

struct Tile {
  int64_t k;
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_step;
  Matrix c;
  int64_t width;  // columns of c that exist, above (V - 1) * kLanes
  float alpha;
  bool overwrite;
};

// c + alpha x, or alpha x alone. There is one formula, without a branch, so that the compiler contracts it in the same
// way for every tile.
FW_INLINE Vec add_scaled(Vec c, Vec x, float alpha, VecInt keep) {
  return fma(splat(alpha), x, reinterpret_cast<Vec>(reinterpret_cast<VecInt>(c) & keep));
}

// Adds the products [rows, width], whose rows are `stride` floats, to a tile with partial vectors or strided columns.
static __attribute__((noinline)) void add_tile(const Tile& t, const float* products, int64_t rows, int64_t stride) {
  const VecInt keep = VecInt{} - int32_t(!t.overwrite);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < t.width; j += kLanes) {
      const int64_t n = t.width - j < kLanes ? t.width - j : kLanes;
      float* c = t.c.at(r, j);
      float lanes[kLanes] = {};
      for (int64_t i = 0; i < n; i++) lanes[i] = c[i * t.c.col];
      store(lanes, add_scaled(load(lanes), load(products + r * stride + j), t.alpha, keep));
      for (int64_t i = 0; i < n; i++) c[i * t.c.col] = lanes[i];
    }
}

// c[R, width] = (overwrite ? 0 : c) + alpha a[R, k] b[k, width]
template <int R, int V>
static void multiply_tile(const Tile& t) {
  Vec acc[R][V];
  const bool whole = t.c.col == 1 && t.width == V * kLanes;
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      acc[r][v] = Vec{};
      if (whole) __builtin_prefetch(t.c.at(r, v * kLanes), 1);
    }
  const float* a = t.a;
  const float* b = t.b;
  const int64_t a_row = t.a_row, a_step = t.a_step, b_step = t.b_step;
#pragma GCC unroll 2
  for (int64_t p = 0; p < t.k; p++) {
    Vec row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
      row[v] = load(b + v * kLanes);
      __builtin_prefetch(b + 8 * b_step + v * kLanes);  // rows of b in its own place may be far apart
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Vec x = splat(a[r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) acc[r][v] = fma(x, row[v], acc[r][v]);
    }
    a += a_step;
    b += b_step;
  }
  if (whole) {
    const VecInt keep = VecInt{} - int32_t(!t.overwrite);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) {
        float* c = t.c.at(r, v * kLanes);
        store(c, add_scaled(load(c), acc[r][v], t.alpha, keep));
      }
  } else {
    float products[R * V * kLanes];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) store(products + (r * V + v) * kLanes, acc[r][v]);
    add_tile(t, products, R, V * kLanes);
  }
}

using MultiplyTile = void (*)(const Tile&);
#define FW_TILES(V) \
  {multiply_tile<1, V>, multiply_tile<2, V>, multiply_tile<3, V>, multiply_tile<4, V>, multiply_tile<5, V>, \
   multiply_tile<6, V>}
static const MultiplyTile multiply_tiles[kVectors][kRows] = {
    FW_TILES(1),
    FW_TILES(2),
#if defined(__AVX512F__) || defined(__aarch64__)
    FW_TILES(3),
    FW_TILES(4),
#endif
};
#undef FW_TILES

// The same for R rows and kLanes columns, where the columns of b are contiguous: every one is read from end to end, as
// memory likes it, and transposed in registers.
template <int R>
static void multiply_columns(const Matrix& a, const Matrix& b, const Matrix& c, int64_t k, float alpha,
                             bool overwrite) {
  const VecInt keep = VecInt{} - int32_t(!overwrite);
  Vec total[R];
  for (int r = 0; r < R; r++) {
    float lanes[kLanes];
    for (int i = 0; i < kLanes; i++) lanes[i] = *c.at(r, i);
    total[r] = reinterpret_cast<Vec>(reinterpret_cast<VecInt>(load(lanes)) & keep);
  }
  for (int64_t begin = 0; begin < k; begin += kDepth) {
    const int64_t end = begin + kDepth < k ? begin + kDepth : k;
    Vec acc[R] = {};
    int64_t p = begin;
    for (; p + kLanes <= end; p += kLanes) {
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
    for (int r = 0; r < R; r++) total[r] = fma(splat(alpha), acc[r], total[r]);
  }
  for (int r = 0; r < R; r++)
    for (int i = 0; i < kLanes; i++) *c.at(r, i) = total[r][i];
}

using MultiplyColumns = void (*)(const Matrix&, const Matrix&, const Matrix&, int64_t, float, bool);
constexpr int kFewRows = 8;
static const MultiplyColumns multiply_few[kFewRows] = {
    multiply_columns<1>, multiply_columns<2>, multiply_columns<3>, multiply_columns<4>,
    multiply_columns<5>, multiply_columns<6>, multiply_columns<7>, multiply_columns<8>};

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n], k > 0. `packed` holds kPackedFloats.
static void product(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k, float alpha, bool overwrite,
                    float* packed) {
  // Lanes run along the columns of c: those should be long, and contiguous.
  const bool narrow = n < kLanes && m > n, flat = m < kLanes && n > m;
  if (narrow || (!flat && c.col != 1 && c.row == 1)) {
    const Matrix left = b.transposed();
    b = a.transposed();
    a = left;
    c = c.transposed();
    const int64_t rows = n;
    n = m;
    m = rows;
  }
  if (m <= kFewRows && b.row == 1 && b.col != 1) {
    for (; n >= kLanes; n -= kLanes) {
      multiply_few[m - 1](a, b, c, k, alpha, overwrite);
      b.data += kLanes * b.col;
      c.data += kLanes * c.col;
    }
  }
  float* const panel = packed + kBlockRows * kDepth;
  const bool pack_a = n > 2 * kPanel && m > 1;
  const bool pack_b = b.col != 1 || m > 16 * kRows;
  for (int64_t p = 0; p < k; p += kDepth) {
    const int64_t depth = k - p < kDepth ? k - p : kDepth;
    for (int64_t i = 0; i < m; i += kBlockRows) {
      const int64_t rows = m - i < kBlockRows ? m - i : kBlockRows;
      const int64_t strips = (rows + kRows - 1) / kRows;
      if (pack_a)
        for (int64_t s = 0; s < strips; s++) {
          const int64_t r = s * rows / strips, count = (s + 1) * rows / strips - r;
          pack_rows(a.at(i + r, p), a.row, a.col, count, m - i - r, depth, packed + r * depth);
        }
      for (int64_t j = 0; j < n; j += kPanel) {
        const int64_t width = n - j < kPanel ? n - j : kPanel, vectors = (width + kLanes - 1) / kLanes;
        Tile t{};
        t.k = depth;
        t.alpha = alpha;
        t.overwrite = overwrite && p == 0;
        t.width = width;
        if (pack_b || width % kLanes) {
          pack_panel(b.at(p, j), b.row, b.col, depth, width, vectors * kLanes, panel);
          t.b = panel;
          t.b_step = vectors * kLanes;
        } else {
          t.b = b.at(p, j);
          t.b_step = b.row;
        }
        for (int64_t s = 0; s < strips; s++) {
          const int64_t r = s * rows / strips, count = (s + 1) * rows / strips - r;
          t.a = pack_a ? packed + r * depth : a.at(i + r, p);
          t.a_row = !pack_a ? a.row : a.col == 1 ? depth : 1;
          t.a_step = !pack_a ? a.col : a.col == 1 ? 1 : count;
          t.c = {c.at(i + r, j), c.row, c.col};
          multiply_tiles[vectors - 1][count - 1](t);
        }
      }
    }
  }
}

FW_NAMESPACE_END
