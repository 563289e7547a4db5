// The vocabulary of sequential families (native/families) on a block of threads, which share the elements of a word. Words
// end with all threads at a barrier, so that none stands in a family, but for load, store, clear and fold: between these and
// what uses their results another word stands in every family (the emulated card would report the race). Rows, columns and
// sums lie in shared memory, a state [K, V] there or, where it is too large, in the card's memory.
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
// Rows lie an odd number of banks apart: threads walk along columns, and in readAcross along rows.
struct State {
  float* at;
  int64_t K, V, stride;
};

struct Add {
  Row row;
  Columns columns;
  float sign;
};
struct Read {
  Row row;
  Columns columns;
};
struct ReadAcross {
  Columns columns;
  Sums sums;
};
FW_WORD Add add(Row r, Columns c) { return {r, c, 1}; }
FW_WORD Add subtract(Row r, Columns c) { return {r, c, -1}; }
FW_WORD Read read(Row r, Columns c) { return {r, c}; }
FW_WORD ReadAcross readAcross(Columns c, Sums s) { return {c, s}; }

struct Engine {
  static constexpr int kThreads = 128;
  using Part = cuda::Part;
  using Row = cuda::Row;
  using Columns = cuda::Columns;
  using Sums = cuda::Sums;
  using State = cuda::State;

  // Pieces of shared memory, and of the block's own part of the card's memory; over none they are only counted.
  float *near, *far;
  int64_t near_used, far_used;
  bool states_near;

  FW_LAYOUT float* piece(bool is_near, int64_t n) {
    int64_t& used = is_near ? near_used : far_used;
    float* const base = is_near ? near : far;
    float* const at = base ? base + used : nullptr;
    used += n;
    return at;
  }
  static FW_LAYOUT Part part(int64_t begin, int64_t size) { return {begin, size}; }
  FW_LAYOUT Row row(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT Columns columns(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT Sums sums(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT State state(int64_t K, int64_t V) {
    const int64_t stride = V | 1;
    return {piece(states_near, K * stride), K, V, stride};
  }

  template <class F>
  static FW_WORD void share_out(int64_t n, const F& f) {
    for (int64_t i = thread(); i < n; i += kThreads) f(i);
  }

  template <class... Op>
  FW_WORD void pass(const State& W, const Op&... op) {
    (apply(W, op), ...);
    barrier();
  }

  FW_WORD void clear(const Row& r) { zero(r.at, r.size); }
  FW_WORD void clear(const Columns& c) { zero(c.at, c.size); }
  FW_WORD void clear(const State& W) { zero(W.at, W.K * W.stride); }

  FW_WORD void fetch(const Row& to, const float* from) { copy(to.at, from, to.size); }
  FW_WORD void fetch(const Columns& to, Part p, const float* from) { copy(to.at + p.begin, from, p.size); }
  FW_WORD void ahead(const float*, int64_t) {}
  FW_WORD void save(float* to, const Row& from) { copy(to, from.at, from.size); }
  FW_WORD void save(float* to, const Columns& from, Part p) { copy(to, from.at + p.begin, p.size); }
  template <class... P>
  FW_WORD void load(const State& W, const float* from, P... p) {
    const int64_t width = (p.size + ...);
    int64_t before = 0;
    (..., (parts_of(W, p, [&](int64_t i, int64_t j) {
            W.at[i * W.stride + p.begin + j] = from[i * width + before + j];
          }), before += p.size));
  }
  template <class... P>
  FW_WORD void store(float* to, const State& W, P... p) {
    const int64_t width = (p.size + ...);
    int64_t before = 0;
    (..., (parts_of(W, p, [&](int64_t i, int64_t j) {
            to[i * width + before + j] = W.at[i * W.stride + p.begin + j];
          }), before += p.size));
  }

  template <class F>
  FW_WORD void each(Part p, const F& f) {
    share_out(p.size, [&](int64_t i) { f(Place{p.begin + i, i}); });
    barrier();
  }

  FW_WORD float sigmoid(float x) { return cuda::sigmoid(x); }
  FW_WORD float tanh(float x) { return tanhf(x); }
  FW_WORD float beside(const Columns& c, Part p, Place i) { return c.at[p.begin + i.entry]; }
  FW_WORD void share(const Columns& to, Part p, const Row& from) { copy(to.at + p.begin, from.at, p.size); }

  FW_WORD float dot(const Row& a, const Row& b) {
    const float sum = product(a.at, b.at, a.size);
    barrier();
    return sum;
  }
  FW_WORD void softmax(const Row& y, const Columns& x, Part p) { softmax(y, x.at + p.begin); }
  FW_WORD void softmax(const Row& y, const Row& x) { softmax(y, x.at); }
  FW_WORD void softmax_back(const Row& dy, const Row& y) {
    const float along = dot(dy, y);
    each(part(0, y.size), [&](Place i) { dy[i] = y[i] * (dy[i] - along); });
  }
  FW_WORD void add_up(const Row& y, const Sums& s) { copy(y.at, s.at, y.size); }
  // The first of them.
  FW_WORD void save_sum(float* to, const Sums& s) { copy(to, s.at, 1); }
  // One warp for each fold.
  template <class F>
  FW_WORD void fold(const Sums& s, int64_t slot, Part p, const F& f) {
    if (warp() == slot % (kThreads / kWarp)) {
      float sum = 0;
      for (int64_t i = lane(); i < p.size; i += kWarp) sum += f(Place{p.begin + i, i});
      sum = warpSum(sum);
      if (lane() == 0) s.at[slot] = sum;
    }
  }

 private:
  FW_WORD void apply(const State& W, const Add& op) {
    share_out(W.V, [&](int64_t j) {
      const float c = op.sign * op.columns.at[j];
      for (int64_t i = 0; i < W.K; i++) W.at[i * W.stride + j] += op.row.at[i] * c;
    });
  }
  FW_WORD void apply(const State& W, const Read& op) {
    share_out(W.V, [&](int64_t j) {
      float sum = 0;
      for (int64_t i = 0; i < W.K; i++) sum += op.row.at[i] * W.at[i * W.stride + j];
      op.columns.at[j] = sum;
    });
  }
  FW_WORD void apply(const State& W, const ReadAcross& op) {
    barrier();  // what other threads have added to these rows
    share_out(W.K, [&](int64_t i) { op.sums.at[i] = product(W.at + i * W.stride, op.columns.at, W.V); });
    barrier();  // before they add more
  }
  static FW_WORD float product(const float* a, const float* b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
  }
  FW_WORD void softmax(const Row& y, const float* x) {
    if (warp() == 0) {
      float highest = -INFINITY, total = 0;
      for (int64_t i = lane(); i < y.size; i += kWarp) highest = fmaxf(highest, x[i]);
      highest = warpMax(highest);
      for (int64_t i = lane(); i < y.size; i += kWarp) total += y.at[i] = expf(x[i] - highest);
      total = warpSum(total);
      for (int64_t i = lane(); i < y.size; i += kWarp) y.at[i] /= total;
    }
    barrier();
  }
  static FW_WORD void zero(float* at, int64_t n) {
    share_out(n, [&](int64_t i) { at[i] = 0; });
  }
  static FW_WORD void copy(float* to, const float* from, int64_t n) {
    share_out(n, [&](int64_t i) { to[i] = from[i]; });
    barrier();
  }
  template <class F>
  static FW_WORD void parts_of(const State& W, Part p, const F& f) {
    share_out(W.K * p.size, [&](int64_t e) { f(e / p.size, e % p.size); });
  }
};

}  // namespace fw::cuda
