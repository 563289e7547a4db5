// Lines of elements folded by teams: a team is 1, 32 (a warp) or kLineThreads (the block) threads, and its size is chosen
// by the length of the line alone, so that the order of every sum is, too.
#pragma once
#include "exact.cuh"
#include "operand.cuh"

namespace fw::cuda {

constexpr int kLineThreads = 256, kLineWarps = kLineThreads / kWarp;
// Lines up to this length are a warp's.
constexpr int64_t kShortLine = 1024;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

FW_DEVICE Sum shuffle(const Sum& x, int from) { return {shuffle(x.value, from), shuffle(x.rest, from)}; }
FW_DEVICE Sum shuffleXor(const Sum& x, int mask) { return {shuffleXor(x.value, mask), shuffleXor(x.rest, mask)}; }

struct Added {
  FW_DEVICE Sum operator()(Sum a, const Sum& b) const {
    a.add(b);
    return a;
  }
};
// NaN counts as the largest.
struct Larger {
  FW_DEVICE float operator()(float a, float b) const { return b > a || b != b ? b : a; }
};

// The line of the calling thread, and its place in the line's team.
template <int kTeam>
FW_DEVICE int64_t team_line() {
  return block() * (kLineThreads / kTeam) + thread() / kTeam;
}
template <int kTeam>
FW_DEVICE int team_member() {
  return thread() % kTeam;
}

// The values of a team's threads merged into one that all of them get; `merge` is commutative. A block uses `slots`, in
// shared memory, once.
template <int kTeam, class T, class Merge>
FW_DEVICE T gather(T x, T (&slots)[kLineWarps], const Merge& merge) {
  for (int mask = (kTeam < kWarp ? kTeam : kWarp) / 2; mask > 0; mask /= 2) x = merge(x, shuffleXor(x, mask));
  if constexpr (kTeam > kWarp) {
    if (lane() == 0) slots[warp()] = x;
    barrier();
    x = slots[0];
    for (int w = 1; w < kTeam / kWarp; w++) x = merge(x, slots[w]);
  }
  return x;
}

template <class Kernel, int kTeam>
void launch_teams(const Context& cx, int64_t lines, const typename Kernel::Args& args) {
  static_assert(Kernel::kThreads == kLineThreads, "teams divide a block of this size");
  launch<Kernel>(cx, ceil_div(lines, kLineThreads / kTeam), args);
}

// One team for each row of n elements.
template <template <int> class Kernel>
void launch_rows(const Context& cx, int64_t rows, int64_t n, const typename Kernel<kWarp>::Args& args) {
  if (n <= kShortLine) launch_teams<Kernel<kWarp>, kWarp>(cx, rows, args);
  else launch_teams<Kernel<kLineThreads>, kLineThreads>(cx, rows, args);
}

}  // namespace fw::cuda
