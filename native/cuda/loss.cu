// Cross entropy of rows of logits with integer targets.
#include "indices.cuh"
#include "team.cuh"

namespace fw::cuda {
namespace {

// The logit that the loss sees.
FW_DEVICE float capped(float x, float cap) { return cap > 0 ? cap * tanhf(x / cap) : x; }

template <int kTeam>
struct CrossEntropy {
  static constexpr int kThreads = kLineThreads;
  using Args = crossEntropyArgs;
  struct Shared {
    float tops[kLineWarps];
    Sum totals[kLineWarps], levels[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t row = team_line<kTeam>(), n = x.n, at = row * n;
    if (row >= x.rows) return;
    const int first = team_member<kTeam>();
    const float cap = static_cast<float>(x.softcap);
    float top = -INFINITY;
    for (int64_t i = first; i < n; i += kTeam) top = Larger{}(top, load(x.logits, at + i));
    top = capped(gather<kTeam>(top, shared.tops, Larger{}), cap);
    Sum total, level;
    for (int64_t i = first; i < n; i += kTeam) {
      const float z = capped(load(x.logits, at + i), cap);
      total.add(expf(z - top));
      level.add(z);
    }
    total = gather<kTeam>(total, shared.totals, Added{});
    // Without smoothing the mean is left out: a logit of -infinity would make it 0 * infinity.
    if (x.smoothing > 0) level = gather<kTeam>(level, shared.levels, Added{});
    if (first != 0) return;
    // In double: a small loss is the difference of large numbers.
    const double lse = static_cast<double>(top) + total.log();
    store(x.lse, row, static_cast<float>(lse));
    const int32_t target = x.target.ints()[row];
    if (target == x.ignoreIndex || !inside(target, n)) return store(x.loss, row, 0.0f);
    double loss = lse - (1 - x.smoothing) * capped(load(x.logits, at + target), cap) + x.zLoss * lse * lse;
    if (x.smoothing > 0) loss -= x.smoothing * level.total() / static_cast<double>(n);
    store(x.loss, row, static_cast<float>(loss));
  }
};

template <int kTeam>
struct CrossEntropyBackward {
  static constexpr int kThreads = kLineThreads;
  using Args = crossEntropyBackwardArgs;
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const int64_t row = team_line<kTeam>(), n = x.n, at = row * n;
    if (row >= x.rows) return;
    const float cap = static_cast<float>(x.softcap), lse = load(x.lse, row);
    const int32_t target = x.target.ints()[row];
    const bool ignored = target == x.ignoreIndex;
    const float dloss = ignored ? 0.0f : load(x.dloss, row), hit = static_cast<float>(1 - x.smoothing);
    const float towards = 1 + 2 * static_cast<float>(x.zLoss) * lse;
    const float even = static_cast<float>(x.smoothing / static_cast<double>(n));
    for (int64_t i = team_member<kTeam>(); i < n; i += kTeam) {
      const float z = capped(load(x.logits, at + i), cap), t = cap > 0 ? z / cap : 0.0f;
      const float dz = expf(z - lse) * towards - even - (i == target ? hit : 0.0f);
      store(x.dlogits, at + i, ignored ? 0.0f : dloss * dz * (1 - t * t));
    }
  }
};

}  // namespace

void crossEntropy(const Context& cx, const crossEntropyArgs& x) {
  check_indices(cx, x.target, x.rows, x.n, x.ignoreIndex, true);
  launch_rows<CrossEntropy>(cx, x.rows, x.n, x);
}
void crossEntropyBackward(const Context& cx, const crossEntropyBackwardArgs& x) {
  check_indices(cx, x.target, x.rows, x.n, x.ignoreIndex, true);
  launch_rows<CrossEntropyBackward>(cx, x.rows, x.n, x);
}

}  // namespace fw::cuda
