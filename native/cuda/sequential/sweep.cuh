// What sequential families do with a state: one sweep over it for several operations. A warp has 16 of every 64 columns, of
// which a thread has four, and eight of every 64 rows: what is added and read stays in its registers from the first
// operation to the last, and sums meet in shuffles.
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

// Sums over lanes, of which each gives away at every step the half of its numbers that others keep: over those of the same
// columns, where this lane has column `keeps` in the end, and over those of the same rows, where it has two rows.
struct OverRows {
  static FW_WORD int keeps() { return lane() / 8; }
  static FW_WORD bool writes() { return lane() / 4 % 2 == 0; }
  static FW_WORD float sum(const float (&s)[kQuad]) {
    const bool upper = lane() & 16, odd = lane() & 8;
    const float x = (upper ? s[2] : s[0]) + shuffleXor(upper ? s[0] : s[2], 16);
    const float y = (upper ? s[3] : s[1]) + shuffleXor(upper ? s[1] : s[3], 16);
    const float z = (odd ? y : x) + shuffleXor(odd ? x : y, 8);
    return z + shuffleXor(z, 4);
  }
};
struct OverColumns {
  static FW_WORD int keeps() { return lane() / 2 % 2 * kApart + lane() % 2 * 2; }
  static FW_WORD float2 sum(const float (&s)[kRows]) {
    const bool upper = lane() & 2, odd = lane() & 1;
    float four[kQuad], two[2];
    FW_UNROLL for (int u = 0; u < kQuad; u++) {
      four[u] = (upper ? s[u + kQuad] : s[u]) + shuffleXor(upper ? s[u] : s[u + kQuad], 2);
    }
    FW_UNROLL for (int u = 0; u < 2; u++) {
      two[u] = (odd ? four[u + 2] : four[u]) + shuffleXor(odd ? four[u] : four[u + 2], 1);
    }
    return make_float2(two[0], two[1]);
  }
};

// How many tiles beside each other are swept before their sums meet in shuffles, and their writes in memory: those of a state
// whose size is known.
constexpr int kBatch = 4;

// Operations, with what they have in registers: `begin` at the first of 64 rows, `apply` to a tile, `end_tile` and `end` at the
// last column of its batch and of the state.
struct Add {  // W += sign row columns^T
  static constexpr bool kWrites = true;
  Row row;
  Columns columns;
  float sign;
  float r[kRows];
  FW_WORD void begin(const Rows& rows) { rows.load(r, row.at); }
  template <class Tile>
  FW_WORD void apply(Tile& t, int) const {
    float c[kQuad];
    t.load_columns(c, columns.at);
    FW_UNROLL for (int e = 0; e < kQuad; e++) c[e] *= sign;
    FW_UNROLL for (int u = 0; u < kRows; u++) {
      FW_UNROLL for (int e = 0; e < kQuad; e++) t.w[u][e] = fmaf(r[u], c[e], t.w[u][e]);
    }
  }
  FW_WORD void end_tile(int, int, bool, int) const {}
  FW_WORD void end(const Rows&) const {}
};
struct Read {  // columns = W^T row, or columns += W^T row
  static constexpr bool kWrites = false;
  Row row;
  Columns columns;
  bool onto;
  float r[kRows], sums[kBatch][kQuad];
  FW_WORD void begin(const Rows& rows) { rows.load(r, row.at); }
  template <class Tile>
  FW_WORD void apply(const Tile& t, int k) {
    FW_UNROLL for (int e = 0; e < kQuad; e++) {
      sums[k][e] = r[0] * t.w[0][e];
      FW_UNROLL for (int u = 1; u < kRows; u++) sums[k][e] = fmaf(r[u], t.w[u][e], sums[k][e]);
    }
  }
  FW_WORD void end_tile(int j, int left, bool first, int k) const {
    const float sum = OverRows::sum(sums[k]);
    if (!OverRows::writes() || OverRows::keeps() >= left) return;
    float& to = columns.at[j + OverRows::keeps()];
    to = onto || !first ? to + sum : sum;
  }
  FW_WORD void end(const Rows&) const {}
};
struct ReadAcross {  // sums = W columns, or sums += W columns
  static constexpr bool kWrites = false;
  Columns columns;
  Sums to;
  bool onto;
  float sums[kRows];
  FW_WORD void begin(const Rows&) {
    FW_UNROLL for (int u = 0; u < kRows; u++) sums[u] = 0;
  }
  template <class Tile>
  FW_WORD void apply(const Tile& t, int) {
    float c[kQuad];
    t.load_columns(c, columns.at);
    FW_UNROLL for (int u = 0; u < kRows; u++) {
      FW_UNROLL for (int e = 0; e < kQuad; e++) sums[u] = fmaf(t.w[u][e], c[e], sums[u]);
    }
  }
  FW_WORD void end_tile(int, int, bool, int) const {}
  FW_WORD void end(const Rows& rows) const {
    const float2 two = OverColumns::sum(sums);
    const int row = rows.i + OverColumns::keeps();
    if (row >= to.size) return;
    float2& at = *reinterpret_cast<float2*>(to.at + sweep_warp() * to.stride() + row);
    at = onto ? make_float2(at.x + two.x, at.y + two.y) : two;
  }
};
FW_WORD Add add(Row r, Columns c) { return {r, c, 1, {}}; }
FW_WORD Add subtract(Row r, Columns c) { return {r, c, -1, {}}; }
FW_WORD Read read(Row r, Columns c) { return {r, c, false, {}, {}}; }
FW_WORD Read readOnto(Row r, Columns c) { return {r, c, true, {}, {}}; }
FW_WORD ReadAcross readAcross(Columns c, Sums s) { return {c, s, false, {}}; }
FW_WORD ReadAcross readAcrossOnto(Columns c, Sums s) { return {c, s, true, {}}; }

template <bool kWhole, class... Ops>
FW_WORD void sweep_tile(const State& W, const Rows& rows, int j, int k, Ops&... op) {
  Tile<kWhole> tile = {rows, j, static_cast<int>(W.V) - j, {}};
  tile.load(W);
  (op.apply(tile, k), ...);
  if constexpr ((Ops::kWrites || ...)) tile.store(W);
}
// kKnown: the size of the state is.
template <bool kKnown, class... Ops>
FW_WORD void sweep_state(const State& W, Ops... op) {
  constexpr int kTiles = kKnown ? kBatch : 1;
  const int K = static_cast<int>(W.K), V = static_cast<int>(W.V);
  const int own = kWarpColumns * sweep_warp(), quad = lane() % kQuad * kQuad;
  for (int top = 0; top < K; top += kTileRows) {
    const int i = top + lane() / kQuad * kQuad;
    const Rows rows = {i, K - i, kKnown && top + kTileRows <= K};
    (op.begin(rows), ...);
    for (int left = 0; left < V; left += kTiles * kTileColumns) {
      FW_UNROLL for (int k = 0; k < kTiles; k++) {
        const int first = left + k * kTileColumns;
        if (kKnown && rows.whole && first + kTileColumns <= V) sweep_tile<true>(W, rows, first + own + quad, k, op...);
        else if (first + own < V) sweep_tile<false>(W, rows, first + own + quad, k, op...);
      }
      FW_UNROLL for (int k = 0; k < kTiles; k++) {
        const int first = left + k * kTileColumns, j = first + own + quad;
        const bool whole = kKnown && first + kTileColumns <= V;
        if (whole || first + own < V) (op.end_tile(j, whole ? kQuad : V - j, top == 0, k), ...);
      }
    }
    (op.end(rows), ...);
  }
}

}  // namespace fw::cuda
