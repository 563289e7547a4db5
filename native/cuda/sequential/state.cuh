// What sequential families work on: rows, columns and sums in shared memory, and states [K, V], there or in registers. A warp
// has 16 of every 64 columns of a state, of which a thread has four, and eight of every 64 rows.
#pragma once
#include "../../families/track.h"
#include "../math.cuh"
#include "../tile.cuh"

namespace fw::cuda {

struct Part {
  int64_t begin, size;
  FW_LAYOUT int64_t end() const { return begin + size; }
};

struct Place {
  int column, entry;
};

// Rows and columns begin at 16 bytes, and reach to such a place.
struct Row {
  float* at;
  int64_t size;
  FW_WORD float& operator[](Place p) const { return at[p.entry]; }
  FW_WORD float operator()(int64_t i) const { return at[i]; }
};
struct Columns {
  float* at;
  int64_t size;
  FW_WORD float& operator[](Place p) const { return at[p.column]; }
  FW_WORD float operator()(int64_t j) const { return at[j]; }
};
// Sums across columns, one per row, each in as many parts as there are warps.
constexpr int kSweepWarps = 4;
struct Sums {
  float* at;
  int64_t size;
  FW_LAYOUT int64_t stride() const { return (size + 3) / 4 * 4; }
  FW_WORD float operator()(int64_t i) const {
    float sum = at[i];
    FW_UNROLL for (int w = 1; w < kSweepWarps; w++) sum += at[w * stride() + i];
    return sum;
  }
};
// Rows are an odd number of quads apart, so that eight lanes, four columns each of two rows that are four apart, meet every
// bank once. What lies between the columns and the next row is 0.
struct State {
  float* at;
  int64_t K, V, stride;
  static FW_LAYOUT int64_t stride_of(int64_t V) { return V + (12 - V % 8) % 8; }
};

// The number of a thread's warp, as the compiler sees that there are no more.
FW_WORD int sweep_warp() { return warp() % kSweepWarps; }

// What a thread has of a tile: four columns from j on, four rows from i on and four more 32 after them. Of a whole tile all
// are there, of one at an edge so many rows and columns.
constexpr int kQuad = 4, kRows = 8, kApart = 32, kTileRows = 64, kTileColumns = 64, kWarpColumns = 16;

FW_WORD void load_quad(float* x, const float* at, bool there) {
  const float4 four = there ? *reinterpret_cast<const float4*>(at) : make_float4(0, 0, 0, 0);
  x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
}
struct Rows {
  int i, left;
  bool whole;  // all of the 64 are there

  FW_WORD int place(int u) const { return u % kQuad + u / kQuad * kApart; }
  FW_WORD bool has(int u) const { return whole || place(u) < left; }
  // What belongs to them, 0 where there are none.
  FW_WORD void load(float (&r)[kRows], const float* at) const {
    load_quad(r, at + i, has(0)), load_quad(r + kQuad, at + i + kApart, has(kQuad));
    FW_UNROLL for (int u = 0; u < kRows; u++) r[u] = has(u) ? r[u] : 0;
  }
};
template <bool kWhole>
struct Tile {
  Rows rows;
  int j, left;
  float w[kRows][kQuad];

  FW_WORD bool has(int u) const { return kWhole || (rows.has(u) && left > 0); }
  FW_WORD float* place(const State& W, int u) const {
    return W.at + (rows.i + rows.place(u)) * static_cast<int>(W.stride) + j;
  }
  FW_WORD void load(const State& W) {
    FW_UNROLL for (int u = 0; u < kRows; u++) load_quad(w[u], place(W, u), has(u));
  }
  FW_WORD void store(const State& W) const {
    FW_UNROLL for (int u = 0; u < kRows; u++) {
      if (has(u)) *reinterpret_cast<float4*>(place(W, u)) = make_float4(w[u][0], w[u][1], w[u][2], w[u][3]);
    }
  }
  // What belongs to its columns, 0 where there are none.
  FW_WORD void load_columns(float (&c)[kQuad], const float* at) const {
    load_quad(c, at + j, kWhole || left > 0);
    FW_UNROLL for (int e = 1; e < kQuad; e++) c[e] = kWhole || e < left ? c[e] : 0;
  }
};

// A state of one whole tile, which stays in the registers of the block's threads.
struct Held {
  Tile<true> tile;

  FW_WORD void settle() {
    const int i = lane() / kQuad * kQuad;
    tile.rows = {i, kTileRows - i, true};
    tile.j = kWarpColumns * sweep_warp() + lane() % kQuad * kQuad, tile.left = kQuad;
  }
  // f(element, its place in a row-major matrix), for those of this thread.
  template <class F>
  FW_WORD void each(const F& f) {
    settle();
    FW_UNROLL for (int u = 0; u < kRows; u++) {
      const int row = tile.rows.i + tile.rows.place(u);
      FW_UNROLL for (int e = 0; e < kQuad; e++) f(tile.w[u][e], row * kTileColumns + tile.j + e);
    }
  }
};

// A row, or a part of the columns, and where it is in the card's memory.
struct Take {
  float* to;
  const float* from;
  int64_t size;
};
struct Put {
  float* to;
  const float* from;
  int64_t size;
};
FW_WORD Take take(Row r, const float* from) { return {r.at, from, r.size}; }
FW_WORD Take take(Columns c, Part p, const float* from) { return {c.at + p.begin, from, p.size}; }
FW_WORD Put put(float* to, Row r) { return {to, r.at, r.size}; }
FW_WORD Put put(float* to, Columns c, Part p) { return {to, c.at + p.begin, p.size}; }

// y = softmax of x.
struct Softmax {
  Row y;
  const float* x;
};
FW_WORD Softmax softmaxOf(Row y, Row x) { return {y, x.at}; }
FW_WORD Softmax softmaxOf(Row y, Columns x, Part p) { return {y, x.at + p.begin}; }
// The gradient of what y is the softmax of, from dy = sums - less.
struct SoftmaxBack {
  float* to;
  Row y;
  Sums sums, less;
};
FW_WORD SoftmaxBack softmaxBack(Row to, Row y, Sums sums, Sums less) { return {to.at, y, sums, less}; }
FW_WORD SoftmaxBack softmaxBack(Row to, Row y, Sums sums) { return {to.at, y, sums, {}}; }
FW_WORD SoftmaxBack softmaxBack(Columns to, Part p, Row y, Sums sums, Sums less) {
  return {to.at + p.begin, y, sums, less};
}
FW_WORD SoftmaxBack softmaxBack(Columns to, Part p, Row y, Sums sums) { return {to.at + p.begin, y, sums, {}}; }

}  // namespace fw::cuda
