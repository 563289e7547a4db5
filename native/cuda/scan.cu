// Running folds along one dimension whose steps are not plain sums: what a stretch of a line does is one value, and the
// values of neighbouring stretches combine, so that a warp takes 32 elements at a time. A line is a warp's where its
// elements are neighbours, else a thread's.
#include "running.cuh"

namespace fw::cuda {
namespace {

// e^most sum
struct LogSum {
  float most = -INFINITY, sum = 0;
  static FW_DEVICE LogSum of(float x, float) { return {x, 1.0f}; }
  FW_DEVICE LogSum after(const LogSum& before) const {
    const float all = before.most > most || before.most != before.most ? before.most : most;
    if (all - all != 0) return {all, 1.0f};
    return {all, before.sum * expf(before.most - all) + sum * expf(most - all)};
  }
  FW_DEVICE float value() const { return most - most != 0 ? most : most + logf(sum); }
};
FW_DEVICE LogSum shuffle(const LogSum& x, int from) { return {cuda::shuffle(x.most, from), cuda::shuffle(x.sum, from)}; }

template <class Step, int kTeam>
struct ScanLines {
  static constexpr int kThreads = kLineThreads;
  using Args = scanArgs;
  struct Shared {};

  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t line = team_line<kTeam>(), n = a.n;
    if (line >= a.outer * a.inner) return;
    const int64_t base = line / a.inner * n * a.inner + line % a.inner;
    Step before;
    for (int64_t first = 0; first < n; first += kTeam) {
      const int64_t i = first + team_member<kTeam>(), place = a.reverse ? n - 1 - i : i, at = base + place * a.inner;
      Step own;
      if (i < n) {
        // Reversed it is the transpose: the factor of a step is that of the element before. The first step needs none.
        const int64_t other = a.reverse ? at + a.inner : at;
        own = Step::of(load(a.x, at), a.factor.data && i > 0 ? load(a.factor, other) : 0.0f);
      }
      own = after_all<kTeam>(own, before);
      if (i < n) store(a.y, at, own.value());
      before = own;
      if constexpr (kTeam > 1) before = shuffle(own, kTeam - 1);
    }
  }
};

template <class Step>
void scanLines(const Context& cx, const scanArgs& a) {
  const int64_t lines = a.outer * a.inner;
  if (lines <= 0) return;
  if (a.inner == 1) launch_teams<ScanLines<Step, kWarp>, kWarp>(cx, lines, a);
  else launch_teams<ScanLines<Step, 1>, 1>(cx, lines, a);
}

}  // namespace

void scan(const Context& cx, const scanArgs& a) {
  switch (a.op) {
    case kLinearScan: return scanLines<Linear>(cx, a);
    case kLogSumExpScan: return scanLines<LogSum>(cx, a);
    default: unknown("scan", "operation", a.op);
  }
}

}  // namespace fw::cuda
