// Reductions and running sums of int32 along one dimension of [outer, n, inner]: sums wrap, so that their order does not
// matter. A line is a warp's where its elements are neighbours, else a thread's.
#pragma once
#include "../whole.h"
#include "team.cuh"

namespace fw::cuda {
namespace {

FW_DEVICE int32_t shuffleWhole(int32_t x, int from) {
  return static_cast<int32_t>(toBits(shuffle(fromBits(static_cast<uint32_t>(x)), from)));
}

// Line `output` of x[outer, n, inner].
struct WholeLine {
  const int32_t* x;
  int64_t n, inner, outputs;
  FW_DEVICE int64_t at(int64_t output, int64_t i) const { return (output / inner * n + i) * inner + output % inner; }
};

template <int kTeam>
struct FoldWhole {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    WholeLine line;
    int64_t op;
    int32_t* y;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t output = team_line<kTeam>();
    if (output >= a.line.outputs) return;
    const auto merge = [&](int32_t all, int32_t x) {
      return a.op == kSum ? wrappedSum(all, x) : a.op == kProd ? wrappedProduct(all, x) : (a.op == kMax ? x > all : x < all) ? x : all;
    };
    int32_t all = a.op == kSum ? 0 : a.op == kProd ? 1 : a.op == kMax ? INT32_MIN : INT32_MAX;
    for (int64_t i = team_member<kTeam>(); i < a.line.n; i += kTeam) all = merge(all, a.line.x[a.line.at(output, i)]);
    for (int distance = kTeam / 2; distance > 0; distance /= 2) all = merge(all, shuffleWhole(all, lane() ^ distance));
    if (team_member<kTeam>() == 0) a.y[output] = all;
  }
};

template <int kTeam>
struct ArgmaxWhole {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    WholeLine line;
    int32_t* y;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t output = team_line<kTeam>();
    if (output >= a.line.outputs) return;
    int32_t best = INT32_MIN, found = INT32_MAX;
    const auto take = [&](int32_t value, int32_t at) {
      if (value < best || (value == best && at >= found)) return;
      best = value;
      found = at;
    };
    for (int64_t i = team_member<kTeam>(); i < a.line.n; i += kTeam)
      take(a.line.x[a.line.at(output, i)], static_cast<int32_t>(i));
    for (int distance = kTeam / 2; distance > 0; distance /= 2) {
      const int32_t value = shuffleWhole(best, lane() ^ distance), at = shuffleWhole(found, lane() ^ distance);
      take(value, at);
    }
    if (team_member<kTeam>() == 0) a.y[output] = a.line.n > 0 ? found : 0;
  }
};

template <int kTeam>
struct CumsumWhole {
  static constexpr int kThreads = kLineThreads;
  struct Args {
    WholeLine line;
    bool reverse;
    int32_t* y;
  };
  struct Shared {};
  static FW_DEVICE void run(const Args& a, Shared&) {
    const int64_t output = team_line<kTeam>(), n = a.line.n;
    if (output >= a.line.outputs) return;
    int32_t before = 0;
    for (int64_t first = 0; first < n; first += kTeam) {
      const int64_t i = first + team_member<kTeam>(), at = a.line.at(output, a.reverse ? n - 1 - i : i);
      int32_t own = i < n ? a.line.x[at] : 0;
      for (int distance = 1; distance < kTeam; distance *= 2) {
        const int32_t left = shuffleWhole(own, lane() >= distance ? lane() - distance : 0);
        if (lane() >= distance) own = wrappedSum(own, left);
      }
      own = wrappedSum(own, before);
      if (i < n) a.y[at] = own;
      before = kTeam > 1 ? shuffleWhole(own, kTeam - 1) : own;
    }
  }
};

template <template <int> class Kernel, class... More>
void launchWhole(const Context& cx, const WholeLine& line, const More&... more) {
  if (line.outputs <= 0) return;
  if (line.inner == 1) launch_teams<Kernel<kWarp>, kWarp>(cx, line.outputs, {line, more...});
  else launch_teams<Kernel<1>, 1>(cx, line.outputs, {line, more...});
}

void reduceWhole(const Context& cx, const reduceArgs& a) {
  launchWhole<FoldWhole>(cx, {a.x.ints(), a.n, a.inner, a.outer * a.inner}, a.op, a.y.ints());
}

void argmaxWhole(const Context& cx, const argmaxArgs& a) {
  launchWhole<ArgmaxWhole>(cx, {a.x.ints(), a.n, a.inner, a.outer * a.inner}, a.y.ints());
}

void cumsumWhole(const Context& cx, const cumsumArgs& a) {
  launchWhole<CumsumWhole>(cx, {a.x.ints(), a.n, a.inner, a.outer * a.inner}, a.reverse != 0, a.y.ints());
}

}  // namespace
}  // namespace fw::cuda
