// What sequential families do with a state: one sweep over it for several operations. A state W [K, V] lies row-major with
// lanes along V; columns are vectors along V, rows along K.
#pragma once
#include "../../families/track.h"
#include "../arena.h"
#include "../lanes.h"
#include "../sums.h"

FW_NAMESPACE_BEGIN

// A stretch of columns, which begins at a whole number of vectors.
struct Part {
  int64_t begin, size;
  int64_t end() const { return begin + round_up(size, kLanes); }
};

// Where an elementwise function works: at columns of a state, and at entries of a part or row.
struct Place {
  int64_t column, entry;
};

// Whole vectors. What lies beyond the size is finite, and 0 wherever it meets a state.
struct Row {
  float* at;
  int64_t size;
  VecUnaligned& operator[](Place p) const { return *reinterpret_cast<VecUnaligned*>(at + p.entry); }
  float operator()(int64_t i) const { return at[i]; }
};
struct Columns {
  float* at;
  int64_t size;
  VecUnaligned& operator[](Place p) const { return *reinterpret_cast<VecUnaligned*>(at + p.column); }
  float operator()(int64_t j) const { return at[j]; }
};
// Sums across columns, one per row, not yet added up over the lanes.
struct Sums {
  float* at;
  int64_t size;
};

struct State {
  float* at;
  int64_t K, stride;
};

// What a pass does to each row of a state, for n neighbouring vectors c at a time, which begin at a column `at`.
struct Add {  // W += row columns^T
  static constexpr bool kWrites = true;
  const float *row, *columns;
  template <int n>
  FW_WORD void begin(int64_t at, Vec (&c)[n]) const {
    each<n>([&](auto j) { c[j] = load(columns + at + j * kLanes); });
  }
  template <int n>
  FW_WORD void apply(int64_t, int64_t i, Vec (&w)[n], Vec (&c)[n]) const {
    const Vec r = splat(row[i]);
    each<n>([&](auto j) { w[j] = fma(c[j], r, w[j]); });
  }
  template <int n>
  FW_WORD void end(int64_t, Vec (&)[n]) const {}
};
struct Subtract : Add {  // W -= row columns^T
  template <int n>
  FW_WORD void begin(int64_t at, Vec (&c)[n]) const {
    each<n>([&](auto j) { c[j] = -load(columns + at + j * kLanes); });
  }
};
struct Read {  // columns = W^T row
  static constexpr bool kWrites = false;
  const float* row;
  float* columns;
  template <int n>
  FW_WORD void begin(int64_t, Vec (&c)[n]) const {
    each<n>([&](auto j) { c[j] = Vec{}; });
  }
  template <int n>
  FW_WORD void apply(int64_t, int64_t i, Vec (&w)[n], Vec (&c)[n]) const {
    const Vec r = splat(row[i]);
    each<n>([&](auto j) { c[j] = fma(w[j], r, c[j]); });
  }
  template <int n>
  FW_WORD void end(int64_t at, Vec (&c)[n]) const {
    each<n>([&](auto j) { store(columns + at + j * kLanes, c[j]); });
  }
};
struct ReadOnto : Read {  // columns += W^T row
  template <int n>
  FW_WORD void begin(int64_t at, Vec (&c)[n]) const {
    each<n>([&](auto j) { c[j] = load(columns + at + j * kLanes); });
  }
};
struct ReadAcross {  // sums = W columns, or sums += W columns
  static constexpr bool kWrites = false;
  const float* columns;
  float* sums;
  bool onto;
  template <int n>
  FW_WORD void begin(int64_t at, Vec (&c)[n]) const {
    each<n>([&](auto j) { c[j] = load(columns + at + j * kLanes); });
  }
  template <int n>
  FW_WORD void apply(int64_t at, int64_t i, Vec (&w)[n], Vec (&c)[n]) const {
    Vec s = at == 0 && !onto ? Vec{} : load(sums + i * kLanes);
    each<n>([&](auto j) { s = fma(w[j], c[j], s); });
    store(sums + i * kLanes, s);
  }
  template <int n>
  FW_WORD void end(int64_t, Vec (&)[n]) const {}
};

struct ReadAcrossOff : ReadAcross {  // sums -= W columns
  template <int n>
  FW_WORD void begin(int64_t at, Vec (&c)[n]) const {
    each<n>([&](auto j) { c[j] = -load(columns + at + j * kLanes); });
  }
};

static inline Add add(Row r, Columns c) { return {r.at, c.at}; }
static inline Subtract subtract(Row r, Columns c) { return {{r.at, c.at}}; }
static inline Read read(Row r, Columns c) { return {r.at, c.at}; }
static inline ReadOnto readOnto(Row r, Columns c) { return {{r.at, c.at}}; }
static inline ReadAcross readAcross(Columns c, Sums s) { return {c.at, s.at, false}; }
static inline ReadAcross readAcrossOnto(Columns c, Sums s) { return {c.at, s.at, true}; }
static inline ReadAcrossOff readAcrossOff(Columns c, Sums s) { return {{c.at, s.at, true}}; }

// An operation on the way through n vectors of every row.
template <int n, class Op>
struct Running {
  static constexpr bool kWrites = Op::kWrites;
  const Op& op;
  Vec c[n];
  FW_WORD void begin(int64_t at) { op.begin(at, c); }
  FW_WORD void apply(int64_t at, int64_t i, Vec (&w)[n]) { op.apply(at, i, w, c); }
  FW_WORD void end(int64_t at) { op.end(at, c); }
};
template <int n, class... R>
FW_INLINE void sweep(State W, int64_t column, R... running) {
  (running.begin(column), ...);
#pragma GCC unroll 1
  for (int64_t i = 0; i < W.K; i++) {
    float* row = W.at + i * W.stride + column;
    Vec w[n];
    each<n>([&](auto j) { w[j] = load(row + j * kLanes); });
    (running.apply(column, i, w), ...);
    if constexpr ((R::kWrites || ...)) each<n>([&](auto j) { store(row + j * kLanes, w[j]); });
  }
  (running.end(column), ...);
}
template <int n, class... Op>
FW_INLINE void pass_block(State W, int64_t column, const Op&... op) {
  sweep<n>(W, column, Running<n, Op>{op, {}}...);
}

FW_NAMESPACE_END
