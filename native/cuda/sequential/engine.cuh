// The vocabulary of sequential families (native/families) on a block of threads, which share the elements of a word. Words
// end with all threads at a barrier, but for those that say so: between these and what uses their results, or overwrites
// what they read, another word stands in every family (the emulated card would report the race). Rows, columns and sums lie
// in shared memory, a state [K, V] there, in registers, or, where it is too large, in the card's memory.
#pragma once
#include "sweep.cuh"

namespace fw::cuda {

// known: the sizes of all that it makes are.
template <bool known>
struct Engine {
  static constexpr bool kKnown = known;
  static constexpr int kWarps = kSweepWarps, kThreads = kWarps * kWarp;
  using Part = cuda::Part;
  using Place = cuda::Place;
  using Row = cuda::Row;
  using Columns = cuda::Columns;
  using Sums = cuda::Sums;
  using State = cuda::State;
  using SoftmaxBack = cuda::SoftmaxBack;
  using Held = std::conditional_t<known, cuda::Held, State>;

  // Pieces of shared memory, and of the block's own part of the card's memory. Who only counts them has any place for both: a
  // pointer that may be null is no longer known to point into shared memory.
  float *near, *far;
  int64_t near_used, far_used;
  bool states_near;

  FW_LAYOUT float* piece(bool is_near, int64_t n) {
    int64_t& used = is_near ? near_used : far_used;
    float* const at = (is_near ? near : far) + used;
    used += (n + 3) / 4 * 4;
    return at;
  }
  static FW_LAYOUT Part part(int64_t begin, int64_t size) { return {begin, size}; }
  FW_LAYOUT Row row(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT Columns columns(int64_t n) { return {piece(true, n), n}; }
  FW_LAYOUT Sums sums(int64_t n) {
    const Sums s{nullptr, n};
    return {piece(true, kWarps * s.stride()), n};
  }
  FW_LAYOUT State state(int64_t K, int64_t V) {
    const int64_t stride = State::stride_of(V);
    return {piece(states_near, K * stride), K, V, stride};
  }
  // A state that only a thread's own sweeps touch: where sizes are known it is one whole tile.
  FW_LAYOUT Held held(int64_t K, int64_t V) {
    if constexpr (known) return {};
    else return state(K, V);
  }

  template <class Matrix, class... Op>
  FW_WORD void pass(Matrix& W, const Op&... op) {
    sweep(W, op...);
    barrier();
  }
  // Without a barrier; a thread has the same part of a state in all sweeps.
  template <class Matrix, class... Op>
  FW_WORD void sweep(Matrix& W, const Op&... op) {
    sweep_state<kKnown>(W, op...);
  }

  FW_WORD void clear(const Row& r) { zero(r.at, r.size); }
  FW_WORD void clear(const Columns& c) { zero(c.at, c.size); }
  FW_WORD void clear(const State& W) { zero(W.at, W.K * W.stride); }
  FW_WORD void clear(cuda::Held& W) {
    W.each([](float& w, int) { w = 0; });
  }

  // Without a barrier: begins to fetch rows, and waits for what has been begun.
  template <class... More>
  FW_WORD void begin(const Take& first, const More&... more) {
    const auto copy = [](int i, const Take& t) { copyAsync4(t.to + i, t.from + i); };
    together([&](int i, const auto&... t) { (copy(i, t), ...); }, first, more...);
    copyCommit();
  }
  FW_WORD void arrive() { copyWait<0>(); }
  template <class... More>
  FW_WORD void fetch(const Take& first, const More&... more) {
    begin(first, more...), arrive(), barrier();
  }
  FW_WORD void fetch(const Row& to, const float* from) { fetch(take(to, from)); }
  FW_WORD void fetch(const Columns& to, Part p, const float* from) { fetch(take(to, p, from)); }
  FW_WORD void ahead(const float*, int64_t) {}
  // Without a barrier.
  FW_WORD void save(float* to, const Row& from) { save(put(to, from)); }
  FW_WORD void save(float* to, const Columns& from, Part p) { save(put(to, from, p)); }
  template <class... More>
  FW_WORD void save(const Put& first, const More&... more) {
    together(
        [](int i, const auto&... p) {
          const float kept[] = {p.from[i]...};
          int k = 0;
          (..., void(p.to[i] = kept[k++]));
        },
        first, more...);
  }
  FW_WORD void save_number(float* to, float x) {
    if (thread() == 0) *to = x;
  }
  // Without a barrier: from and to memory, where the parts lie beside each other.
  template <class... P>
  FW_WORD void load(const State& W, const float* from, P... p) {
    clear(W);
    int64_t before = 0;
    (..., (parts_of(W, p, [&](int64_t i, int64_t j) {
            W.at[i * W.stride + p.begin + j] = from[i * (p.size + ...) + before + j];
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

  FW_WORD void load(cuda::Held& W, const float* from, Part) {
    W.each([&](float& w, int i) { w = from[i]; });
  }
  FW_WORD void store(float* to, cuda::Held& W, Part) {
    W.each([&](float& w, int i) { to[i] = w; });
  }

  template <class F>
  FW_WORD void each(Part p, const F& f) {
    also(p, f);
    barrier();
  }
  // Without a barrier; a thread has the same entries as in `each` and `add_up`.
  template <class F>
  FW_WORD void also(Part p, const F& f) {
    share_out(p.size, [&](int i) { f(Place{static_cast<int>(p.begin) + i, i}); });
  }
  // Without a barrier: by the last warp, which has least to do.
  template <class F>
  FW_WORD void aside(Part p, const F& f) {
    if (warp() == kWarps - 1) along_warp(p.size, [&](int i) { f(Place{static_cast<int>(p.begin) + i, i}); });
  }
  FW_WORD void meet() { barrier(); }

  FW_WORD float sigmoid(float x) { return cuda::sigmoid(x); }
  FW_WORD float tanh(float x) { return tanhf(x); }
  FW_WORD float beside(const Columns& c, Part p, Place i) { return c.at[p.begin + i.entry]; }

  // Without a barrier: every warp by itself.
  FW_WORD float dot(const Row& a, const Row& b) {
    float sum = 0;
    along_warp(a.size, [&](int i) { sum = fmaf(a.at[i], b.at[i], sum); });
    return warpSum(sum);
  }
  // A warp for each.
  template <class... More>
  FW_WORD void softmaxes(const Softmax& first, const More&... more) {
    static_assert(1 + sizeof...(More) <= kWarps, "a warp for each");
    Softmax own = first;
    int before = 0;
    (..., (warp() == ++before ? void(own = more) : void()));
    if (warp() <= before) softmax(own);
    barrier();
  }
  template <class... More>
  FW_WORD void softmaxes_back(const SoftmaxBack& first, const More&... more) {
    if (warp() == 0) softmax_back(first);
    int before = 0;
    (..., (warp() == ++before ? softmax_back(more) : void()));
    barrier();
  }
  FW_WORD void softmax_back(const Row& dy, const Row& y) {
    const float along = dot(dy, y);
    barrier();
    each(part(0, y.size), [&](Place i) { dy[i] = y[i] * (dy[i] - along); });
  }
  // Without a barrier.
  FW_WORD void add_up(const Row& y, const Sums& s) {
    share_out(y.size, [&](int i) { y.at[i] = s(i); });
  }
  // Without a barrier: to[column] = the sum of f over a part; one warp for each, the last ones first.
  template <class F>
  FW_WORD void fold(const Columns& to, int64_t column, Part p, const F& f) {
    if (warp() != kWarps - 1 - column % 2) return;
    float sum = 0;
    along_warp(p.size, [&](int i) { sum += f(Place{static_cast<int>(p.begin) + i, i}); });
    sum = warpSum(sum);
    if (lane() == 0) to.at[column] = sum;
  }

 private:
  template <class F>
  static FW_WORD void share_out(int64_t n, const F& f) {
    each_of<kThreads>(n, thread(), f);
  }
  // All at a time where they are as long, which the compiler sees.
  template <class F, class First, class... More>
  static FW_WORD void together(const F& f, const First& first, const More&... more) {
    if (((first.size == more.size) && ...)) {
      share_out(first.size, [&](int i) { f(i, first, more...); });
    } else {
      share_out(first.size, [&](int i) { f(i, first); });
      (share_out(more.size, [&](int i) { f(i, more); }), ...);
    }
  }
  // Where n is known nothing is left of the loop.
  template <int kStep, class F>
  static FW_WORD void each_of(int64_t size, int own, const F& f) {
    const int n = static_cast<int>(size);
    FW_UNROLL
    for (int first = 0; first < n; first += kStep) {
      if (first + kStep <= n || first + own < n) f(first + own);
    }
  }
  template <class F>
  static FW_WORD void along_warp(int64_t n, const F& f) {
    each_of<kWarp>(n, lane(), f);
  }
  static FW_WORD void softmax(const Softmax& s) {
    float highest = -INFINITY, total = 0;
    along_warp(s.y.size, [&](int i) { highest = fmaxf(highest, s.x[i]); });
    // What is NaN is left out here, and makes the total NaN.
    for (int mask = kWarp / 2; mask > 0; mask /= 2) highest = fmaxf(highest, shuffleXor(highest, mask));
    along_warp(s.y.size, [&](int i) { total += s.y.at[i] = expf(s.x[i] - highest); });
    const float scale = 1 / warpSum(total);
    along_warp(s.y.size, [&](int i) { s.y.at[i] *= scale; });
  }
  static FW_WORD void softmax_back(const SoftmaxBack& s) {
    float along = 0;
    along_warp(s.y.size, [&](int i) {
      s.to[i] = s.less.at ? s.sums(i) - s.less(i) : s.sums(i);
      along = fmaf(s.to[i], s.y.at[i], along);
    });
    along = warpSum(along);
    along_warp(s.y.size, [&](int i) { s.to[i] = s.y.at[i] * (s.to[i] - along); });
  }
  static FW_WORD void zero(float* at, int64_t n) {
    share_out(n, [&](int i) { at[i] = 0; });
    barrier();
  }
  template <class F>
  static FW_WORD void parts_of(const State& W, Part p, const F& f) {
    for (int64_t e = thread(); e < W.K * p.size; e += kThreads) f(e / p.size, e % p.size);
  }
};

}  // namespace fw::cuda
