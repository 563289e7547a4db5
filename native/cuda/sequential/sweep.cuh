// What sequential families do with a state: one sweep over it for several operations. What is added and read stays in a
// thread's registers from the first operation to the last, and sums meet in shuffles.
#pragma once
#include "state.cuh"

namespace fw::cuda {

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
struct ReadAcross {  // sums = W columns, or sums += factor W columns
  static constexpr bool kWrites = false;
  Columns columns;
  Sums to;
  bool onto;
  float factor;
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
    at = onto ? make_float2(at.x + factor * two.x, at.y + factor * two.y) : two;
  }
};
FW_WORD Add add(Row r, Columns c) { return {r, c, 1, {}}; }
FW_WORD Add subtract(Row r, Columns c) { return {r, c, -1, {}}; }
FW_WORD Read read(Row r, Columns c) { return {r, c, false, {}, {}}; }
FW_WORD Read readOnto(Row r, Columns c) { return {r, c, true, {}, {}}; }
FW_WORD ReadAcross readAcross(Columns c, Sums s) { return {c, s, false, 1, {}}; }
FW_WORD ReadAcross readAcrossOnto(Columns c, Sums s) { return {c, s, true, 1, {}}; }
FW_WORD ReadAcross readAcrossOff(Columns c, Sums s) { return {c, s, true, -1, {}}; }

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
template <bool, class... Ops>
FW_WORD void sweep_state(Held& W, Ops... op) {
  W.settle();
  (op.begin(W.tile.rows), ...);
  (op.apply(W.tile, 0), ...);
  (op.end_tile(W.tile.j, W.tile.left, true, 0), ...);
  (op.end(W.tile.rows), ...);
}

}  // namespace fw::cuda
