// Layer, root-mean-square, L2 and sum normalisation of rows.
#include "fold.cuh"
#include "norm_rows.cuh"

namespace fw::cuda {
namespace {

template <int kTeam>
struct Norm {
  static constexpr int kThreads = kLineThreads;
  using Args = normArgs;
  struct Shared {
    Sum levels[kLineWarps], squares[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t row = team_line<kTeam>(), n = x.n, at = row * n, group = row % x.groups * n;
    if (row >= x.rows) return;
    const int first = team_member<kTeam>();
    float mean = 0;
    if (x.kind == kLayer) {
      Sum level;
      for (int64_t i = first; i < n; i += kTeam) level.add(load(x.x, at + i));
      mean = gather<kTeam>(level, shared.levels, Added{}).total() / static_cast<float>(n);
    }
    Sum squares;
    for (int64_t i = first; i < n; i += kTeam) {
      const float d = load(x.x, at + i) - mean;
      squares.add(x.kind == kBySum ? d : d * d);
    }
    const float total = gather<kTeam>(squares, shared.squares, Added{}).total();
    const float rstd = reciprocal_of(x, total);
    for (int64_t i = first; i < n; i += kTeam) {
      float y = (load(x.x, at + i) - mean) * rstd;
      if (x.weight.data) y *= load(x.weight, group + i);
      if (x.bias.data) y += load(x.bias, group + i);
      store(x.y, at + i, y);
    }
    if (first == 0) {
      store(x.stats, 2 * row, mean);
      store(x.stats, 2 * row + 1, rstd);
    }
  }
};

// With z = (x - mean) rstd and g = weight dy: dx = rstd (g - [mean g] - z (z . g) / n), without / n for L2; rstd (g - z . g)
// by the sum.
template <int kTeam>
struct NormBackward {
  static constexpr int kThreads = kLineThreads;
  using Args = normBackwardArgs;
  struct Shared {
    Sum along[kLineWarps], levels[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t row = team_line<kTeam>(), n = x.n, at = row * n, group = row % x.groups * n;
    if (row >= x.rows) return;
    const int first = team_member<kTeam>();
    const float mean = load(x.stats, 2 * row), rstd = load(x.stats, 2 * row + 1);
    const auto normal = [&](int64_t i) { return (load(x.x, at + i) - mean) * rstd; };
    const auto slope = [&](int64_t i) {
      return x.weight.data ? load(x.dy, at + i) * load(x.weight, group + i) : load(x.dy, at + i);
    };
    Sum along, level;
    for (int64_t i = first; i < n; i += kTeam) {
      along.add(slope(i) * normal(i));
      level.add(slope(i));
    }
    float remove = gather<kTeam>(along, shared.along, Added{}).total(), lower = 0;
    if (x.kind == kBySum) lower = remove, remove = 0;
    else if (x.kind != kL2) remove /= static_cast<float>(n);
    if (x.kind == kLayer) lower = gather<kTeam>(level, shared.levels, Added{}).total() / static_cast<float>(n);
    for (int64_t i = first; i < n; i += kTeam) {
      const float dx = rstd * ((slope(i) - lower) - normal(i) * remove);
      store(x.dx, at + i, x.accumulate ? load(x.dx, at + i) + dx : dx);
    }
  }
};

// What the i-th row of a group adds to the gradients of weight and bias [groups, n].
struct GroupRows {
  normBackwardArgs x;
  bool of_weight;

  FW_DEVICE Sum operator()(int64_t output, int64_t i) const {
    const int64_t row = i * x.groups + output / x.n, at = row * x.n + output % x.n;
    if (row >= x.rows) return {};
    const float dy = load(x.dy, at);
    if (!of_weight) return {dy, 0.0f};
    return {dy * ((load(x.x, at) - load(x.stats, 2 * row)) * load(x.stats, 2 * row + 1)), 0.0f};
  }
};

// Gradients of weight and bias by strips of rows.
void norm_rows_back(const Context& cx, const normBackwardArgs& x) {
  with_norm_row(x.x.dtype, x.n, [&](const auto& row) {
    using Row = std::decay_t<decltype(row)>;
    const auto start = [&](auto bias) {
      using Kernel = NormRowsBack<Row, bias.value>;
      const int64_t strips = ceil_div(ceil_div(x.rows, x.groups), Kernel::kStrip), all = x.groups * x.n;
      const bool keeps = x.dweight.data || x.dbias.data;
      float* const sums = keeps ? cx.scratch_of<float>(strips * 2 * all) : nullptr;
      launch<Kernel>(cx, strips * x.groups, {x, sums});
      if (keeps) add_strips(cx, {sums, strips, all, 1, x.dweight, x.dbias});
    };
    if (x.dbias.data) start(std::true_type{});
    else start(std::false_type{});
  });
}

}  // namespace

void norm(const Context& cx, const normArgs& x) {
  require_known("norm", "kind", x.kind, kBySum + 1);
  if (!fits_norm_rows(x.n, x.x, x.weight, x.bias, x.y)) return launch_rows<Norm>(cx, x.rows, x.n, x);
  with_norm_row(x.x.dtype, x.n, [&](const auto& row) {
    using Kernel = NormRows<std::decay_t<decltype(row)>>;
    launch_teams<Kernel, Kernel::kTeam>(cx, x.rows, x);
  });
}

void normBackward(const Context& cx, const normBackwardArgs& x) {
  require_known("normBackward", "kind", x.kind, kBySum + 1);
  if (fits_norm_rows(x.n, x.x, x.weight, x.dy, x.dx)) return norm_rows_back(cx, x);
  launch_rows<NormBackward>(cx, x.rows, x.n, x);
  const int64_t rows = ceil_div(x.rows, x.groups);
  if (x.dweight.data) fold<1>(cx, GroupRows{x, true}, x.groups * x.n, rows, kSum, 1, x.dweight);
  if (x.dbias.data) fold<1>(cx, GroupRows{x, false}, x.groups * x.n, rows, kSum, 1, x.dbias);
}

}  // namespace fw::cuda
