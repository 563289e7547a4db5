// Softmax and log-softmax of rows.
#include "team.cuh"

namespace fw::cuda {
namespace {

template <int kTeam>
struct Softmax {
  static constexpr int kThreads = kLineThreads;
  using Args = softmaxArgs;
  struct Shared {
    float tops[kLineWarps];
    Sum totals[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t row = team_line<kTeam>(), begin = row * x.n, end = begin + x.n;
    if (row >= x.rows) return;
    const int64_t first = begin + team_member<kTeam>();
    float top = -INFINITY;
    for (int64_t i = first; i < end; i += kTeam) top = Larger{}(top, load(x.x, i));
    top = gather<kTeam>(top, shared.tops, Larger{});
    Sum total;
    for (int64_t i = first; i < end; i += kTeam) total.add(expf(load(x.x, i) - top));
    total = gather<kTeam>(total, shared.totals, Added{});
    const float scale = 1 / total.total(), shift = total.log();
    for (int64_t i = first; i < end; i += kTeam) {
      const float z = load(x.x, i) - top;
      store(x.y, i, x.log ? z - shift : expf(z) * scale);
    }
  }
};

template <int kTeam>
struct SoftmaxBackward {
  static constexpr int kThreads = kLineThreads;
  using Args = softmaxBackwardArgs;
  struct Shared {
    Sum totals[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t row = team_line<kTeam>(), begin = row * x.n, end = begin + x.n;
    if (row >= x.rows) return;
    const int64_t first = begin + team_member<kTeam>();
    Sum sum;
    for (int64_t i = first; i < end; i += kTeam) sum.add(x.log ? load(x.dy, i) : load(x.dy, i) * load(x.y, i));
    const float total = gather<kTeam>(sum, shared.totals, Added{}).total();
    for (int64_t i = first; i < end; i += kTeam) {
      const float y = load(x.y, i), dy = load(x.dy, i);
      store(x.dx, i, x.log ? dy - expf(y) * total : y * (dy - total));
    }
  }
};

}  // namespace

void softmax(const Context& cx, const softmaxArgs& x) { launch_rows<Softmax>(cx, x.rows, x.n, x); }
void softmaxBackward(const Context& cx, const softmaxBackwardArgs& x) {
  launch_rows<SoftmaxBackward>(cx, x.rows, x.n, x);
}

}  // namespace fw::cuda
