// What sequential families do with a state: one sweep over it for several operations, each thread along two neighbouring
// columns of some rows at a time, and sums across its columns.
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
  int64_t column, entry;
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
};
// Sums across columns, one per row.
struct Sums {
  float* at;
  int64_t size;
};
// Rows of an even number of columns, four banks after each other: in a sweep threads walk side by side, and for sums across
// columns a warp has eight rows, four columns of each.
struct State {
  float* at;
  int64_t K, V, stride;
  static FW_LAYOUT int64_t stride_of(int64_t V) { return V + (36 - V % 32) % 32; }
};

// The columns and rows that a thread has in registers.
constexpr int kPair = 2, kDeep = 8;
using Pair = float[kPair];

template <int n>
FW_WORD void load_numbers(float (&x)[n], const float* at) {
  if constexpr (n % 4 == 0) {
    FW_UNROLL for (int i = 0; i < n; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(at + i);
      x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
    }
  } else {
    FW_UNROLL for (int i = 0; i < n; i++) x[i] = at[i];
  }
}
FW_WORD void load_pair(Pair& x, const float* at) {
  const float2 two = *reinterpret_cast<const float2*>(at);
  x[0] = two.x, x[1] = two.y;
}
FW_WORD void store_pair(float* at, const Pair& x) { *reinterpret_cast<float2*>(at) = make_float2(x[0], x[1]); }

// Operations by columns: `begin` at a pair of them, `apply` to n rows from i on, `end`.
struct Add {  // W += sign row columns^T
  static constexpr bool kWrites = true;
  Row row;
  Columns columns;
  float sign;
  FW_WORD void begin(Pair& c, int64_t j) const {
    load_pair(c, columns.at + j);
    c[0] *= sign, c[1] *= sign;
  }
  template <int n>
  FW_WORD void apply(Pair (&w)[n], Pair& c, int64_t i) const {
    float r[n];
    load_numbers(r, row.at + i);
    FW_UNROLL for (int u = 0; u < n; u++) w[u][0] = fmaf(r[u], c[0], w[u][0]), w[u][1] = fmaf(r[u], c[1], w[u][1]);
  }
  FW_WORD void end(const Pair&, int64_t) const {}
};
struct Read {  // columns = W^T row
  static constexpr bool kWrites = false;
  Row row;
  Columns columns;
  FW_WORD void begin(Pair& c, int64_t) const { c[0] = c[1] = 0; }
  template <int n>
  FW_WORD void apply(Pair (&w)[n], Pair& c, int64_t i) const {
    float r[n];
    load_numbers(r, row.at + i);
    FW_UNROLL for (int u = 0; u < n; u++) c[0] = fmaf(r[u], w[u][0], c[0]), c[1] = fmaf(r[u], w[u][1], c[1]);
  }
  FW_WORD void end(const Pair& c, int64_t j) const { store_pair(columns.at + j, c); }
};
struct ReadAcross {  // sums = W columns
  Columns columns;
  Sums sums;
};
FW_WORD Add add(Row r, Columns c) { return {r, c, 1}; }
FW_WORD Add subtract(Row r, Columns c) { return {r, c, -1}; }
FW_WORD Read read(Row r, Columns c) { return {r, c}; }
FW_WORD ReadAcross readAcross(Columns c, Sums s) { return {c, s}; }

// Those of one sweep, in their order.
template <class... Ops>
struct Together {
  static constexpr bool kWrites = false;
  FW_WORD void begin(int64_t) {}
  template <int n>
  FW_WORD void apply(Pair (&)[n], int64_t) {}
  FW_WORD void end(int64_t) const {}
};
template <class Before, class Op>
struct Together<Before, Op> {
  static constexpr bool kWrites = Before::kWrites || Op::kWrites;
  Before before;
  Op op;
  Pair c;
  FW_WORD void begin(int64_t j) { before.begin(j), op.begin(c, j); }
  template <int n>
  FW_WORD void apply(Pair (&w)[n], int64_t i) { before.apply(w, i), op.apply(w, c, i); }
  FW_WORD void end(int64_t j) const { before.end(j), op.end(c, j); }
};

template <int kThreads>
struct Sweep {
  // The operations, of which those that look across columns stand by themselves.
  template <class... Ops>
  static FW_WORD void run(const State& W, const Ops&... ops) {
    from(W, Together<>{}, ops...);
  }

 private:
  template <class Before, class Op, class... Rest>
  static FW_WORD void from(const State& W, const Before& before, const Op& op, const Rest&... rest) {
    from(W, Together<Before, Op>{before, op, {}}, rest...);
  }
  template <class Before, class... Rest>
  static FW_WORD void from(const State& W, const Before& before, const ReadAcross& op, const Rest&... rest) {
    if constexpr (!std::is_same_v<Before, Together<>>) {
      columns(W, before);
      barrier();
    }
    across(W, op);
    if constexpr (sizeof...(Rest) > 0) {
      barrier();
      from(W, Together<>{}, rest...);
    }
  }
  template <class Before>
  static FW_WORD void from(const State& W, const Before& before) {
    columns(W, before);
  }

  template <class Ops>
  static FW_WORD void columns(const State& W, Ops ops) {
    for (int64_t j = kPair * thread(); j < W.V; j += kPair * kThreads) {
      ops.begin(j);
      int64_t i = 0;
      for (; i + kDeep <= W.K; i += kDeep) rows<kDeep>(W, ops, i, j);
      for (; i < W.K; i++) rows<1>(W, ops, i, j);
      ops.end(j);
    }
  }
  template <int n, class Ops>
  static FW_WORD void rows(const State& W, Ops& ops, int64_t i, int64_t j) {
    float* const at = W.at + i * W.stride + j;
    Pair w[n];
    FW_UNROLL for (int u = 0; u < n; u++) load_pair(w[u], at + u * W.stride);
    ops.apply(w, i);
    if constexpr (Ops::kWrites) FW_UNROLL for (int u = 0; u < n; u++) store_pair(at + u * W.stride, w[u]);
  }

  template <int n, int kApart>
  static FW_WORD void products(Pair& sum, const float* a, const float* b, const float* c) {
    float x[n], y[n], z[n];
    FW_UNROLL for (int u = 0; u < n; u++) x[u] = a[u * kApart], y[u] = b[u * kApart], z[u] = c[u * kApart];
    FW_UNROLL for (int u = 0; u < n; u++) sum[0] = fmaf(x[u], z[u], sum[0]), sum[1] = fmaf(y[u], z[u], sum[1]);
  }

  // Four threads for a row, and two rows for each.
  static FW_WORD void across(const State& W, const ReadAcross& op) {
    constexpr int kTeam = 4, kTeams = kThreads / kTeam;
    for (int64_t first = 0; first < W.K; first += 2 * kTeams) {
      const int64_t i = first + thread() / kTeam, other = i + kTeams;
      const float* const a = W.at + (i < W.K ? i : 0) * W.stride;
      const float* const b = W.at + (other < W.K ? other : 0) * W.stride;
      Pair sum = {};
      int64_t j = thread() % kTeam;
      for (; j + (kDeep - 1) * kTeam < W.V; j += kDeep * kTeam) products<kDeep, kTeam>(sum, a + j, b + j, op.columns.at + j);
      for (; j < W.V; j += kTeam) products<1, kTeam>(sum, a + j, b + j, op.columns.at + j);
      for (int mask = kTeam / 2; mask > 0; mask /= 2) {
        sum[0] += shuffleXor(sum[0], mask), sum[1] += shuffleXor(sum[1], mask);
      }
      if (thread() % kTeam != 0) continue;
      if (i < W.K) op.sums.at[i] = sum[0];
      if (other < W.K) op.sums.at[other] = sum[1];
    }
  }
};

}  // namespace fw::cuda
