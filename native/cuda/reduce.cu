// Sums, extrema, their positions and running sums along one dimension of [outer, n, inner].
#include "fold.cuh"
#include "whole_lines.cuh"

namespace fw::cuda {
namespace {

// Element i of the line of output (o, j), counted from the end when reverse.
struct Line {
  In x;
  int64_t n, inner;
  bool reverse;

  FW_DEVICE int64_t at(int64_t output, int64_t i) const {
    return (output / inner * n + (reverse ? n - 1 - i : i)) * inner + output % inner;
  }
  FW_DEVICE Sum operator()(int64_t output, int64_t i) const { return {load(x, at(output, i)), 0.0f}; }
};

// An element and where it was found; the better one is larger (NaN the largest), and the first among equals.
struct Found {
  float value;
  int32_t at;
};
using cuda::shuffleXor;
FW_DEVICE Found shuffleXor(const Found& x, int mask) {
  const float at = shuffleXor(fromBits(static_cast<uint32_t>(x.at)), mask);
  return {shuffleXor(x.value, mask), static_cast<int32_t>(toBits(at))};
}
struct Better {
  FW_DEVICE Found operator()(const Found& a, const Found& b) const {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    const bool equal = a.value == b.value || (a_nan && b_nan);
    return (equal ? b.at < a.at : b_nan || (!a_nan && b.value > a.value)) ? b : a;
  }
};

template <int kTeam>
struct Argmax {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    Line line;
    int64_t outputs;
    Out y;
  };
  struct Shared {
    Found slots[kLineWarps];
  };

  static FW_DEVICE void run(const Args& x, Shared& shared) {
    const int64_t output = team_line<kTeam>(), n = x.line.n;
    if (output >= x.outputs) return;
    Found best{-INFINITY, INT32_MAX};
    for (int64_t i = team_member<kTeam>(); i < n; i += kTeam)
      best = Better{}(best, {x.line(output, i).value, static_cast<int32_t>(i)});
    best = gather<kTeam>(best, shared.slots, Better{});
    if (team_member<kTeam>() == 0) x.y.ints()[output] = n > 0 ? best.at : 0;
  }
};

// totals[chunks, outputs] become the sums of the chunks before each.
struct SumBefore {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    Sum* totals;
    int64_t outputs, chunks;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const int64_t output = team_line<1>();
    if (output >= x.outputs) return;
    Sum before;
    for (int64_t c = 0; c < x.chunks; c++) {
      const Sum own = x.totals[c * x.outputs + output];
      x.totals[c * x.outputs + output] = before;
      before.add(own);
    }
  }
};

// Running sums within chunks, each on top of what is before it; a team takes kTeam elements at a time.
template <int kTeam>
struct ScanChunks {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    Line line;
    int64_t outputs, chunk;
    const Sum* before;
    Out y;
  };
  struct Shared {};

  static FW_DEVICE void run(const Args& x, Shared&) {
    const int64_t item = team_line<kTeam>(), output = item % x.outputs, from = item / x.outputs * x.chunk;
    const int64_t to = from + x.chunk < x.line.n ? from + x.chunk : x.line.n;
    Sum before;
    if (x.before && from < to) before = x.before[item];
    for (int64_t first = from; first < to; first += kTeam) {
      const int64_t i = first + team_member<kTeam>();
      Sum own;
      if (i < to) own = x.line(output, i);
      for (int distance = 1; distance < kTeam; distance *= 2) {
        const Sum left = shuffle(own, lane() >= distance ? lane() - distance : 0);
        if (lane() >= distance) own.add(left);
      }
      Sum running = before;
      running.add(own);
      if (i < to) store(x.y, x.line.at(output, i), running.total());
      before = running;
      if constexpr (kTeam > 1) before = shuffle(running, kTeam - 1);
    }
  }
};

template <int kTeam>
void scan(const Context& cx, const Line& line, int64_t outputs, const Out& y) {
  using Totals = FoldChunks<Line, kTeam>;
  const int64_t chunks = Totals::chunks(line.n);
  Sum* totals = nullptr;
  if (chunks > 1) {
    totals = cx.scratch_of<Sum>(chunks * outputs);
    launch_teams<Totals, kTeam>(cx, outputs * chunks, {line, outputs, line.n, kSum, 1.0f, totals, {}});
    launch_teams<SumBefore, 1>(cx, outputs, {totals, outputs, chunks});
  }
  launch_teams<ScanChunks<kTeam>, kTeam>(cx, outputs * chunks, {line, outputs, Totals::kChunk, totals, y});
}

}  // namespace

void reduce(const Context& cx, const reduceArgs& x) {
  require_known("reduce", "operation", x.op, kProd + 1);
  require_alike("reduce", x.x.dtype, x.y.dtype);
  if (x.x.dtype == kInt32) return reduceWhole(cx, x);
  const Line line{x.x, x.n, x.inner, false};
  const int64_t outputs = x.outer * x.inner;
  const int op = static_cast<int>(x.op);
  if (x.inner != 1) fold<1>(cx, line, outputs, x.n, op, x.n, x.y);
  else if (x.n <= kShortLine) fold<kWarp>(cx, line, outputs, x.n, op, x.n, x.y);
  else fold<kLineThreads>(cx, line, outputs, x.n, op, x.n, x.y);
}

void argmax(const Context& cx, const argmaxArgs& x) {
  if (x.y.dtype != kInt32) unknown("argmax", "dtype of positions", x.y.dtype);
  if (x.x.dtype == kInt32) return argmaxWhole(cx, x);
  const Line line{x.x, x.n, x.inner, false};
  const int64_t outputs = x.outer * x.inner;
  if (x.inner != 1) launch_teams<Argmax<1>, 1>(cx, outputs, {line, outputs, x.y});
  else if (x.n <= kShortLine) launch_teams<Argmax<kWarp>, kWarp>(cx, outputs, {line, outputs, x.y});
  else launch_teams<Argmax<kLineThreads>, kLineThreads>(cx, outputs, {line, outputs, x.y});
}

void cumsum(const Context& cx, const cumsumArgs& x) {
  require_alike("cumsum", x.x.dtype, x.y.dtype);
  if (x.x.dtype == kInt32) return cumsumWhole(cx, x);
  const Line line{x.x, x.n, x.inner, x.reverse != 0};
  const int64_t outputs = x.outer * x.inner;
  if (outputs <= 0) return;
  if (x.inner != 1) scan<1>(cx, line, outputs, x.y);
  else scan<kWarp>(cx, line, outputs, x.y);
}

}  // namespace fw::cuda
