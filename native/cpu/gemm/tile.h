// One tile of c in registers. How numbers are multiplied is a parameter: a `Products` says how much of k one row of a
// panel holds, and how a vector of it is multiplied into the accumulators.
#pragma once
#include "pack.h"

FW_NAMESPACE_BEGIN

struct Tile {
  int64_t steps;  // rows of the panel
  const float* a;
  int64_t a_row, a_step;
  const float* b;
  int64_t b_step;
  Matrix c;
  int64_t width;  // columns of c that exist, above (V - 1) * kLanes
  float alpha;
  bool overwrite;
  const float* ahead;  // memory that is needed soon, a line of it is fetched every kStepsPerFetch steps
  int64_t ahead_step;
  bool starts = true, ends = true;  // whether these are the first and the last terms of an element of c
  float* sums = nullptr;            // [R, V * kLanes]: what others came to; read unless `starts`, written unless `ends`
  Lines lines;

  void take_lines_of_c(int64_t rows) {
    lines.count = 0;
    if (c.col == 1) lines.add(c.data, c.row, rows, width);
    else lines.at[lines.count++] = b;
  }
};

// c + alpha x, or alpha x alone, which is -0 + alpha x down to the sign of a zero. There is one formula, without a
// branch, so that the compiler contracts it in the same way for every tile.
FW_INLINE Vec add_scaled(Vec c, Vec x, float alpha, VecInt keep) {
  const VecInt none = ~keep & (VecInt{} + int32_t(0x80000000));
  return fma(splat(alpha), x, reinterpret_cast<Vec>((reinterpret_cast<VecInt>(c) & keep) | none));
}

// All bits set to keep c, none to overwrite it.
FW_INLINE VecInt keep_mask(bool overwrite) { return VecInt{} - int32_t(!overwrite); }

// Adds the products [rows, width], whose rows are `stride` floats, to a tile with partial vectors or strided columns.
static __attribute__((noinline, unused)) void add_tile(const Tile& t, const float* products, int64_t rows, int64_t stride) {
  const VecInt keep = keep_mask(t.overwrite);
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
template <class Products, int R, int V>
static void multiply_tile(const Tile& t) {
  Vec acc[R][V];
  const bool whole = t.c.col == 1 && t.width == V * kLanes;
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) acc[r][v] = t.starts ? Vec{} : load(t.sums + (r * V + v) * kLanes);
  const float *a = t.a, *b = t.b, *ahead = t.ahead;
  const float* const* const lines = t.lines.at;
  const int64_t mask = t.lines.mask, a_row = t.a_row, a_step = t.a_step, b_step = t.b_step, ahead_step = t.ahead_step;
  const auto step = [&] {
    Vec row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) row[v] = load(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Vec x = splat(a[r * a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) acc[r][v] = Products::multiply_add(x, row[v], acc[r][v]);
    }
    a += a_step;
    b += b_step;
    asm("" : "+r"(a), "+r"(b));  // or addresses of several steps would take up registers
  };
  int64_t p = 0;
#pragma GCC unroll 2
  for (; p + kStepsPerFetch <= t.steps; p += kStepsPerFetch) {
    __builtin_prefetch(ahead);
    __builtin_prefetch(lines[p / kStepsPerFetch & mask]);
    ahead += ahead_step;
#pragma GCC unroll 8
    for (int i = 0; i < kStepsPerFetch; i++) step();
  }
  for (; p < t.steps; p++) step();
  if (!t.ends) {
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) store(t.sums + (r * V + v) * kLanes, acc[r][v]);
  } else if (whole && t.overwrite && t.alpha == 1) {
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) store(t.c.at(r, v * kLanes), acc[r][v]);
  } else if (whole) {
    const VecInt keep = keep_mask(t.overwrite);
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
  {multiply_tile<Products, 1, V>, multiply_tile<Products, 2, V>, multiply_tile<Products, 3, V>, \
   multiply_tile<Products, 4, V>, multiply_tile<Products, 5, V>, multiply_tile<Products, 6, V>}
template <class Products>
static MultiplyTile tile_of(int64_t rows, int64_t vectors) {
  static const MultiplyTile tiles[kVectors][kRows] = {
      FW_TILES(1),
      FW_TILES(2),
#if defined(__AVX512F__) || defined(__aarch64__)
      FW_TILES(3),
      FW_TILES(4),
#endif
  };
  return tiles[vectors - 1][rows - 1];
}
#undef FW_TILES

// Rows are cut into strips of nearly equal height, kRows at most; the first ones are the higher.
struct Strips {
  int64_t count, height, higher;
  explicit Strips(int64_t n) : count((n + kRows - 1) / kRows), height(n / (count | !count)), higher(n - height * count) {}
  int64_t begin(int64_t s) const { return s * height + (s < higher ? s : higher); }
};

FW_NAMESPACE_END
