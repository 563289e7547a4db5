// The vocabulary of sequential families (native/families) on the lanes of one thread; `pass` is the only thing that touches a
// state.
#pragma once
#include "sweep.h"

FW_NAMESPACE_BEGIN

// A row, or a part of the columns, and where it is in memory.
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
static inline Take take(Row r, const float* from) { return {r.at, from, r.size}; }
static inline Take take(Columns c, Part p, const float* from) { return {c.at + p.begin, from, p.size}; }
static inline Put put(float* to, Row r) { return {to, r.at, r.size}; }
static inline Put put(float* to, Columns c, Part p) { return {to, c.at + p.begin, p.size}; }

// y = softmax of x.
struct Softmax {
  Row y;
  const float* x;
};
static inline Softmax softmaxOf(Row y, Row x) { return {y, x.at}; }
static inline Softmax softmaxOf(Row y, Columns x, Part p) { return {y, x.at + p.begin}; }
// The gradient of what y is the softmax of, from dy = sums - less; of the sums the first may be lost.
struct SoftmaxBack {
  float* to;
  Row y;
  Sums sums, less;
};
static inline SoftmaxBack softmaxBack(Row to, Row y, Sums sums, Sums less = {}) { return {to.at, y, sums, less}; }
static inline SoftmaxBack softmaxBack(Columns to, Part p, Row y, Sums sums, Sums less = {}) {
  return {to.at + p.begin, y, sums, less};
}

// One engine per thread; its memory comes from an arena.
struct Engine {
  using Part = FW_ISA::Part;
  using Place = FW_ISA::Place;
  using Row = FW_ISA::Row;
  using Columns = FW_ISA::Columns;
  using Sums = FW_ISA::Sums;
  using State = FW_ISA::State;
  using SoftmaxBack = FW_ISA::SoftmaxBack;
  using Held = State;

  Arena& memory;

  static Part part(int64_t begin, int64_t size) { return {begin, size}; }
  Row row(int64_t n) { return {memory.floats(round_up(n, kLanes)), n}; }
  Columns columns(int64_t n) { return {memory.floats(round_up(n, kLanes)), n}; }
  Sums sums(int64_t n) { return {memory.floats(round_up(n, kLanes) * kLanes), n}; }
  State state(int64_t K, int64_t V) {
    const int64_t stride = round_up(V, kLanes);
    return {memory.floats(K * stride), K, stride};
  }

  State held(int64_t K, int64_t V) { return state(K, V); }

  // One sweep over the state, by threes and what those leave: fewer vectors would wait for the sums, more than four leave
  // the registers beside the sums of two reads.
  template <class... Op>
  __attribute__((noinline)) void pass(State W, const Op&... op) {
    const int64_t vectors = W.stride / kLanes;
    int64_t v = 0;
    for (; vectors - v >= 5 || vectors - v == 3; v += 3) pass_block<3>(W, v * kLanes, op...);
    if (vectors - v == 4) return pass_block<4>(W, v * kLanes, op...);
    if (vectors - v == 2) return pass_block<2>(W, v * kLanes, op...);
    if (vectors - v == 1) return pass_block<1>(W, v * kLanes, op...);
  }

  template <class... Op>
  FW_WORD void sweep(const State& W, const Op&... op) {
    pass(W, op...);
  }

  FW_WORD void clear(Row r) { zero_row(r.at, round_up(r.size, kLanes)); }
  FW_WORD void clear(Columns c) { zero_row(c.at, round_up(c.size, kLanes)); }
  FW_WORD void clear(Sums s) { zero_row(s.at, round_up(s.size, kLanes) * kLanes); }
  void clear(State W) { zero_row(W.at, W.K * W.stride); }

  // From and to memory: rows, parts of the columns, and parts of a state that lie beside each other in memory.
  template <class... More>
  FW_WORD void fetch(const Take& first, const More&... more) {
    const auto stage = [](const Take& t) { stage_row(t.to, t.from, t.size, round_up(t.size, kLanes)); };
    stage(first), (stage(more), ...);
  }
  FW_WORD void fetch(Row to, const float* from) { fetch(take(to, from)); }
  FW_WORD void fetch(Columns to, Part p, const float* from) { fetch(take(to, p, from)); }
  // What is begun is there at once, and what one word does all others see.
  template <class... More>
  FW_WORD void begin(const Take& first, const More&... more) {
    fetch(first, more...);
  }
  FW_WORD void arrive() {}
  FW_WORD void meet() {}
  // A row that is fetched, or saved, soon: what a pass does meanwhile is too much for the processor to see that far.
  FW_WORD void ahead(const float* from, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(from + i);
  }
  template <class... More>
  FW_WORD void save(const Put& first, const More&... more) {
    const auto write = [](const Put& p) { unstage(p.to, p.from, p.size); };
    write(first), (write(more), ...);
  }
  FW_WORD void save(float* to, Row from) { save(put(to, from)); }
  FW_WORD void save(float* to, Columns from, Part p) { save(put(to, from, p)); }
  FW_WORD void save_number(float* to, float x) { *to = x; }
  template <class... P>
  void load(State W, const float* from, P... p) {
    for (int64_t i = 0; i < W.K; i++)
      (..., (stage_row(W.at + i * W.stride + p.begin, from, p.size, round_up(p.size, kLanes)), from += p.size));
  }
  template <class... P>
  void store(float* to, State W, P... p) {
    for (int64_t i = 0; i < W.K; i++) (..., (unstage(to, W.at + i * W.stride + p.begin, p.size), to += p.size));
  }

  template <class F>
  FW_WORD void each(Part p, const F& f) {
    for (int64_t i = 0; i < p.size; i += kLanes) f(Place{p.begin + i, i});
  }

  template <class F>
  FW_WORD void also(Part p, const F& f) {
    each(p, f);
  }
  template <class F>
  FW_WORD void aside(Part p, const F& f) {
    each(p, f);
  }

  FW_WORD Vec sigmoid(Vec x) { return vsigmoid(x); }
  FW_WORD Vec tanh(Vec x) { return vtanh(x); }

  // An entry of a part.
  FW_WORD Vec beside(Columns c, Part p, Place i) { return FW_ISA::load(c.at + p.begin + i.entry); }

  FW_WORD float dot(Row a, Row b) {
    Vec s{};
    for (int64_t i = 0; i < a.size; i += kLanes) s = fma(load_row(a.at, i, a.size), load_row(b.at, i, a.size), s);
    return sum(s);
  }
  template <class... More>
  FW_WORD void softmaxes(const Softmax& first, const More&... more) {
    softmax(first.y, first.x), (softmax(more.y, more.x), ...);
  }
  template <class... More>
  FW_WORD void softmaxes_back(const SoftmaxBack& first, const More&... more) {
    softmax_back(first), (softmax_back(more), ...);
  }
  // dy becomes the gradient of what y is the softmax of.
  void softmax_back(Row dy, Row y) {
    const float along = dot(dy, y);
    each(Part{0, y.size}, [&](Place i) { dy[i] = y[i] * (dy[i] - splat(along)); });
  }
  FW_WORD void add_up(Row y, Sums s) {
    const int64_t padded = round_up(y.size, kLanes);
    sum_vectors(y.at, s.at, padded);
    for (int64_t i = y.size; i < padded; i++) y.at[i] = 0;
  }
  // to[column] = the sum of f over a part of the columns.
  template <class F>
  FW_WORD void fold(Columns to, int64_t column, Part p, const F& f) {
    Vec total{};
    int64_t i = 0;
    for (; i + kLanes <= p.size; i += kLanes) total += f(Place{p.begin + i, i});
    if (i < p.size) total += keep_first(f(Place{p.begin + i, i}), p.size - i);
    to.at[column] = sum(total);
  }

 private:
  static FW_WORD void unstage(float* to, const float* from, int64_t n) {
    for (int64_t i = 0; i < n; i += kLanes) store_row(to, i, n, FW_ISA::load(from + i));
  }
  void softmax(Row y, const float* x) {
    const int64_t n = y.size;
    if (n == 0) return;
    const Vec highest = splat(largest(x, n));
    Vec total{};
    for (int64_t i = 0; i < n; i += kLanes) {
      Vec e = vexp(load_row(x, i, n) - highest);
      if (i + kLanes > n) e = load_part(reinterpret_cast<const float*>(&e), n - i);
      FW_ISA::store(y.at + i, e);
      total += e;
    }
    const Vec scale = splat(1 / sum(total));
    for (int64_t i = 0; i < n; i += kLanes) FW_ISA::store(y.at + i, FW_ISA::load(y.at + i) * scale);
  }
  void softmax_back(const SoftmaxBack& s) {
    if (s.less.at) {
      for (int64_t i = 0; i < s.y.size * kLanes; i += kLanes) {
        FW_ISA::store(s.sums.at + i, FW_ISA::load(s.sums.at + i) - FW_ISA::load(s.less.at + i));
      }
    }
    const Row to{s.to, s.y.size};
    add_up(to, s.sums);
    softmax_back(to, s.y);
  }
};

FW_NAMESPACE_END
