// The vocabulary of sequential families (native/families) on a block of threads, which share the elements of a word. Words
// end with all threads at a barrier, so that none stands in a family, but for load, store and fold: between these and
// what uses their results another word stands in every family (the emulated card would report the race). Rows, columns and
// sums lie in shared memory, a state [K, V] there or, where it is too large, in the card's memory.
#pragma once
#include "sweep.cuh"

namespace fw::cuda {

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
    used += (n + 3) / 4 * 4;
    return at;
  }
  static FW_LAYOUT Part part(int64_t begin, int64_t size) { return {begin, size}; }
  FW_LAYOUT Row row(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT Columns columns(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT Sums sums(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT State state(int64_t K, int64_t V) {
    const int64_t stride = State::stride_of(V);
    return {piece(states_near, K * stride), K, V, stride};
  }

  template <class F>
  static FW_WORD void share_out(int64_t n, const F& f) {
    for (int64_t i = thread(); i < n; i += kThreads) f(i);
  }

  template <class... Op>
  FW_WORD void pass(const State& W, const Op&... op) {
    Sweep<kThreads>::run(W, op...);
    barrier();
  }

  FW_WORD void clear(const Row& r) { zero(r.at, r.size); }
  FW_WORD void clear(const Columns& c) { zero(c.at, c.size); }
  FW_WORD void clear(const State& W) { zero(W.at, W.K * W.stride); }

  FW_WORD void fetch(const Row& to, const float* from) { fetch(take(to, from)); }
  FW_WORD void fetch(const Columns& to, Part p, const float* from) { fetch(take(to, p, from)); }
  // Several are under way together.
  template <class... More>
  FW_WORD void fetch(const Take& first, const More&... more) {
    move<Take>({first, more...});
  }
  FW_WORD void ahead(const float*, int64_t) {}
  FW_WORD void save(float* to, const Row& from) { save(put(to, from)); }
  FW_WORD void save(float* to, const Columns& from, Part p) { save(put(to, from, p)); }
  template <class... More>
  FW_WORD void save(const Put& first, const More&... more) {
    move<Put>({first, more...});
  }
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

  // Every warp by itself.
  FW_WORD float dot(const Row& a, const Row& b) {
    float sum = 0;
    for (int64_t i = lane(); i < a.size; i += kWarp) sum = fmaf(a.at[i], b.at[i], sum);
    sum = warpSum(sum);
    barrier();
    return sum;
  }
  // One warp for each.
  FW_WORD void softmax(const Row& y, const Columns& x, Part p) {
    softmax(y, Row{x.at + p.begin, p.size});
  }
  FW_WORD void softmax(const Row& y, const Row& x) {
    if (warp() == 0) softmax_of(y, x.at);
    barrier();
  }
  FW_WORD void softmaxes(const Columns& x, const Row& y, Part p, const Row& other, Part q) {
    const bool first = warp() == 0;
    const Row own{first ? y.at : other.at, first ? y.size : other.size};
    if (warp() < 2) softmax_of(own, x.at + (first ? p.begin : q.begin));
    barrier();
  }
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
  FW_WORD void softmax_of(const Row& y, const float* x) {
    float highest = -INFINITY, total = 0;
    for (int64_t i = lane(); i < y.size; i += kWarp) highest = fmaxf(highest, x[i]);
    highest = warpMax(highest);
    for (int64_t i = lane(); i < y.size; i += kWarp) total += y.at[i] = expf(x[i] - highest);
    total = warpSum(total);
    for (int64_t i = lane(); i < y.size; i += kWarp) y.at[i] /= total;
  }
  template <class Way, int n>
  static FW_WORD void move(const Way (&all)[n]) {
    int64_t longest = 0;
    FW_UNROLL for (const Way& each : all) longest = each.size > longest ? each.size : longest;
    share_out(longest, [&](int64_t i) {
      float kept[n];
      FW_UNROLL for (int k = 0; k < n; k++) kept[k] = i < all[k].size ? all[k].from[i] : 0.0f;
      FW_UNROLL for (int k = 0; k < n; k++) {
        if (i < all[k].size) all[k].to[i] = kept[k];
      }
    });
    barrier();
  }
  static FW_WORD void zero(float* at, int64_t n) {
    share_out(n, [&](int64_t i) { at[i] = 0; });
    barrier();
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
