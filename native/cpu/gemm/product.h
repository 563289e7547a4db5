// A product on one thread, for matrices that are too small to share.
#pragma once
#include "few_rows.h"
#include "products.h"

FW_NAMESPACE_BEGIN

constexpr int64_t kPanelFloats = kPanel * kMaxDepth;

// Up to three pieces of memory that the next product reads or writes, fetched while this one runs.
struct Upcoming {
  struct Piece {
    const float* data;
    int64_t floats;
  };
  Piece pieces[3];
  int count = 0;
  void add(const float* data, int64_t floats) { pieces[count++] = {data, floats}; }
  // What the tile fetches of it: a line for every 64 columns and step, as fast as one follows the other.
  void take(Tile& t) {
    while (count > 0 && pieces[count - 1].floats <= 0) count--;
    if (count == 0) {
      t.ahead = t.b, t.ahead_step = 0;
      return;
    }
    Piece& piece = pieces[count - 1];
    constexpr int64_t kPace = kPanel * kStepsPerFetch / 4;  // more would keep the tile's own loads waiting
    const int64_t fetched = t.steps / kStepsPerFetch * kPace;
    t.ahead = piece.data, t.ahead_step = kPace;
    piece.data += fetched, piece.floats -= fetched;
  }
};

// c[m, n] = (overwrite ? 0 : c) + alpha a[m, k] b[k, n]. `panel` holds kPanelFloats.
static void product(Matrix a, Matrix b, Matrix c, int64_t m, int64_t n, int64_t k, float alpha, bool overwrite,
                    float* panel, Upcoming ahead = {}) {
  for (int64_t i = 0; k <= 0 && overwrite && i < m; i++)
    for (int64_t j = 0; j < n; j++) *c.at(i, j) = 0;
  int64_t done = 0;
  if (are_few(b, m)) done = multiply_few(a, b, c, m, n, k, alpha, overwrite, 0, false);
  else if (m == 1 && b.col == 1 && c.col == 1) done = multiply_one(a, b, c, n, k, alpha, overwrite);
  b = b.from(0, done), c = c.from(0, done), n -= done;
  const Strips strips(m);
  const int64_t depth = depth_of(k);
  const bool scattered = kNarrow && m > 2 * kRows && depth * b.row > kFirstCache;
  const bool pack = b.col != 1 || m > kFewRows || scattered;
  for (int64_t p = 0; p < k; p += depth) {
    Tile t;
    t.lines.at[0] = a.data;  // c is fetched for what comes next, or small
    t.steps = k - p < depth ? k - p : depth;
    t.a_row = a.row, t.a_step = a.col;
    t.alpha = alpha, t.overwrite = overwrite && p == 0;
    for (int64_t j = 0; j < n; j += kPanel) {
      t.width = n - j < kPanel ? n - j : kPanel;
      const int64_t vectors = (t.width + kLanes - 1) / kLanes;
      if (pack || t.width % kLanes) {
        pack_panel(b.at(p, j), b.row, b.col, t.steps, t.width, vectors * kLanes, panel);
        t.b = panel, t.b_step = vectors * kLanes;
      } else {
        t.b = b.at(p, j), t.b_step = b.row;
      }
      for (int64_t s = 0; s < strips.count; s++) {
        const int64_t r = strips.begin(s);
        t.a = a.at(r, p);
        t.c = c.from(r, j);
        ahead.take(t);
        tile_of<Float32Products>(strips.begin(s + 1) - r, vectors)(t);
      }
    }
  }
}

FW_NAMESPACE_END
