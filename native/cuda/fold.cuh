// Sums, means and extrema of any length: chunks of fixed size are folded by teams, and their results folded again.
#pragma once
#include "team.cuh"

namespace fw::cuda {

// Elements that one thread folds.
constexpr int64_t kFoldEach = 128;

FW_DEVICE Sum fold_start(int op) {
  return {op == kMax ? -INFINITY : op == kMin ? INFINITY : op == kProd ? 1.0f : 0.0f, 0.0f};
}

// Merges by the operation; NaN is the result of an extremum over any.
struct Folded {
  int op;
  FW_DEVICE Sum operator()(Sum a, const Sum& b) const {
    if (op == kSum || op == kMean) a.add(b);
    else if (op == kProd) a.multiply(b);
    else if ((op == kMin ? b.value < a.value : b.value > a.value) || b.value != b.value) a.value = b.value;
    return a;
  }
};

// Folds term(output, i) over i < n for every output, a team for each output and chunk of n. Results go to
// partials[chunks, outputs], or to y when there is one chunk.
template <class Term, int kTeam>
struct FoldChunks {
  static constexpr int kThreads = kLineThreads;
  static constexpr int64_t kChunk = kTeam * kFoldEach;
  struct Args {
    Term term;
    int64_t outputs, n;
    int op;
    float count;  // what a mean divides by
    Sum* partials;
    Out y;
  };
  struct Shared {
    Sum slots[kLineWarps];
  };

  static int64_t chunks(int64_t n) { return n > kChunk ? ceil_div(n, kChunk) : 1; }

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t item = team_line<kTeam>(), output = item % x.outputs, from = item / x.outputs * kChunk;
    const int64_t to = from + kChunk < x.n ? from + kChunk : x.n;
    if (from > 0 && from >= x.n) return;
    const Folded folded{x.op};
    Sum all = fold_start(x.op);
    for (int64_t i = from + team_member<kTeam>(); i < to; i += kTeam) all = folded(all, x.term(output, i));
    all = gather<kTeam>(all, shared.slots, folded);
    if (team_member<kTeam>() != 0) return;
    if (x.partials) x.partials[item] = all;
    else store(x.y, output, x.op == kMean ? all.total() / x.count : all.total());
  }
};

// The results of chunks as terms.
struct Partials {
  const Sum* data;
  int64_t outputs;
  FW_DEVICE Sum operator()(int64_t output, int64_t i) const { return data[i * outputs + output]; }
};

// y[output] = op over i < n of term(output, i), a Sum; `count` as above. Teams of one thread suit terms that are
// neighbours in memory for neighbouring outputs, larger ones those that are for neighbouring i.
template <int kTeam, class Term>
void fold(const Context& cx, const Term& term, int64_t outputs, int64_t n, int op, int64_t count, const Out& y) {
  using Kernel = FoldChunks<Term, kTeam>;
  if (outputs <= 0) return;
  const int64_t chunks = Kernel::chunks(n);
  Sum* partials = chunks > 1 ? cx.scratch_of<Sum>(chunks * outputs) : nullptr;
  launch_teams<Kernel, kTeam>(cx, outputs * chunks, {term, outputs, n, op, static_cast<float>(count), partials, y});
  if (partials) fold<1>(cx, Partials{partials, outputs}, outputs, chunks, op, count, y);
}

}  // namespace fw::cuda
